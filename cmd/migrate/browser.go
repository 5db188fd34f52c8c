package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// browsers are the names under which Chromium and Chrome are installed, on
// Linux by their packages and on macOS by their applications.
var browsers = []string{
	"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
	"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium",
}

// findBrowser finds a browser that prints.
func findBrowser() (string, error) {
	for _, name := range browsers {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("a PDF is printed by Chromium or Chrome, and neither is installed (apt-get install chromium): install one, or write an .html and print it from any browser")
}

// printTime is how long a browser may print a page.
const printTime = 2 * time.Minute

// printPDF writes a page as PDF.
func printPDF(ctx context.Context, w io.Writer, page []byte) error {
	browser, err := findBrowser()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "migrate-print-")
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	from, to := filepath.Join(dir, "page.html"), filepath.Join(dir, "page.pdf")
	if err := os.WriteFile(from, page, 0o600); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	args := []string{"--headless", "--disable-gpu", "--no-first-run", "--user-data-dir=" + filepath.Join(dir, "profile"), "--no-pdf-header-footer", "--print-to-pdf=" + to}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // Chromium does not start for root with it
	}
	ctx, cancel := context.WithTimeout(ctx, printTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, browser, append(args, (&url.URL{Scheme: "file", Path: from}).String())...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &said, &said, time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("print by %s: %w: %s", browser, err, oneLine(said.String()))
	}
	text, err := os.ReadFile(to)
	if err != nil || !bytes.HasPrefix(text, []byte("%PDF-")) {
		return fmt.Errorf("print by %s: no PDF came of it: %s", browser, oneLine(said.String()))
	}
	_, err = w.Write(text)
	return err
}
