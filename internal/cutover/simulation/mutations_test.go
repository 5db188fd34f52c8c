package simulation_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/tools/txtar"
)

// mutation is a deliberate defect: pieces of source that are replaced.
type mutation struct {
	name, what string
	test       string // that notices it
	seed       uint64 // one that is known to notice it; others are tried if it does not
	edits      []edit
}

type edit struct{ file, old, new string }

// mutations reads testdata/mutations: txtar files whose comment says in its
// first line what is broken, in its second "seed N", and may say in its third
// "test NAME" where another test than TestSimulate notices it, with pairs of files
// "PATH old" and "PATH new".
func mutations(t *testing.T) []mutation {
	t.Helper()
	files, err := filepath.Glob("testdata/mutations/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var out []mutation
	for _, f := range files {
		a, err := txtar.ParseFile(f)
		if err != nil {
			t.Fatal(err)
		}
		m := mutation{name: strings.TrimSuffix(filepath.Base(f), ".txtar"), seed: 1, test: "TestSimulate"}
		m.what, _, _ = strings.Cut(string(a.Comment), "\n")
		for line := range strings.Lines(string(a.Comment)) {
			if name, ok := strings.CutPrefix(line, "test "); ok {
				m.test = strings.TrimSpace(name)
			}
			seed, ok := strings.CutPrefix(line, "seed ")
			if !ok {
				continue
			}
			if m.seed, err = strconv.ParseUint(strings.TrimSpace(seed), 10, 64); err != nil {
				t.Fatalf("%s: %v", f, err)
			}
		}
		for i := 0; i+1 < len(a.Files); i += 2 {
			before, okOld := strings.CutSuffix(a.Files[i].Name, " old")
			after, okNew := strings.CutSuffix(a.Files[i+1].Name, " new")
			if !okOld || !okNew || before != after {
				t.Fatalf("%s: want pairs of files PATH old, PATH new", f)
			}
			m.edits = append(m.edits, edit{file: before, old: string(a.Files[i].Data), new: string(a.Files[i+1].Data)})
		}
		if m.what == "" || len(m.edits) == 0 || len(a.Files)%2 != 0 {
			t.Fatalf("%s: want a comment and pairs of files", f)
		}
		out = append(out, m)
	}
	return out
}

// TestMutationsAreCaught, without -seeds for a third of the mutations, builds the simulation with one deliberate defect in
// the sources at a time and wants it to fail: a simulation that would not
// notice them proves nothing.
func TestMutationsAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs other programs only")
	}
	all := mutations(t)
	if len(all) < 10 {
		t.Fatalf("%d mutations, want 10 at least", len(all))
	}
	for _, m := range all {
		m.apply(t, t.TempDir())
	}
	if *seeds == 0 { // the others are for make simulate: each is a program to build
		var some []mutation
		for m := range slices.Chunk(all, 3) {
			some = append(some, m[0])
		}
		all = some
	}
	places := make(chan struct{}, 2)
	var mu sync.Mutex
	caught := 0
	t.Run("all", func(t *testing.T) {
		for _, m := range all {
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				places <- struct{}{}
				defer func() { <-places }()
				how := m.run(t)
				t.Logf("%s: %s", m.what, how)
				mu.Lock()
				caught++
				mu.Unlock()
			})
		}
	})
	t.Logf("mutations caught %d/%d", caught, len(all))
	tell(t, "mutations caught %d/%d", caught, len(all))
}

// apply writes the sources with the mutation into a folder, and an overlay for the
// go command, which is to run in root.
func (m mutation) apply(t *testing.T, dir string) (overlay, root string) {
	t.Helper()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	replaced := map[string]string{}
	for i, e := range m.edits {
		file := filepath.Join(root, e.file)
		mutant, ok := replaced[file]
		if !ok {
			mutant = file
		}
		source, err := os.ReadFile(mutant)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(source), e.old); n != 1 {
			t.Fatalf("%s has the text of edit %d %d times, want once: bring the mutation up to date", e.file, i+1, n)
		}
		replaced[file] = filepath.Join(dir, fmt.Sprintf("mutant%d%s", i, filepath.Ext(file)))
		if err := os.WriteFile(replaced[file], []byte(strings.Replace(string(source), e.old, e.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay = filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return overlay, root
}

// run fails the test unless the simulation fails with the mutation in it. It
// gives the first failure.
func (m mutation) run(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	overlay, root := m.apply(t, dir)
	binary := filepath.Join(dir, "mutant.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-ldflags", "-s -w", "-tags", "sqlite_omit_load_extension", "-overlay", overlay, "-o", binary, "./internal/cutover/simulation")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build with the mutation: %v\n%s", err, out)
	}
	out, caught := m.try(t, binary, m.seed, 1)
	if !caught {
		if out, caught = m.try(t, binary, *firstSeed, mutationSeeds); !caught {
			t.Fatalf("%s: %d simulated migrations did not notice", m.what, mutationSeeds)
		}
	}
	for line := range strings.Lines(string(out)) {
		if _, failure, ok := strings.Cut(line, failureMark); ok {
			return strings.TrimSpace(failure)
		}
	}
	t.Fatalf("the simulation ended without a failure of its own:\n%s", out)
	return ""
}

// try runs the simulation with the mutation in it, and reports whether it failed.
func (m mutation) try(t *testing.T, binary string, first uint64, n int) (out []byte, failed bool) {
	out, err := exec.CommandContext(t.Context(), binary, "-test.run", "^"+m.test+"$", "-seeds", fmt.Sprint(n), "-first", fmt.Sprint(first)).CombinedOutput()
	return out, err != nil
}

// mutationSeeds is how many migrations a mutation may survive at most.
const mutationSeeds = 60
