package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// makeRoot makes and opens a folder for files of a mode. Nothing is written outside
// of it through what it gives: a link that leads out is not followed.
func makeRoot(folder string, mode fs.FileMode) (*os.Root, error) {
	if err := os.MkdirAll(folder, searchable(mode)); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("open folder: %w", err)
	}
	return root, nil
}

// writeBelow writes a file, and makes the folders that it lies in.
func writeBelow(root *os.Root, name, text string, mode fs.FileMode) error {
	name = filepath.FromSlash(name)
	if err := root.MkdirAll(filepath.Dir(name), searchable(mode)); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	if err := root.WriteFile(name, []byte(text), mode); err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	return nil
}

// searchable is the mode of a folder whose files have this one: who may read
// them may look for them.
func searchable(mode fs.FileMode) fs.FileMode { return mode | mode&0o444>>2 }
