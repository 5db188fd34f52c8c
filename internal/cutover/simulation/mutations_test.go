package simulation_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/tools/txtar"
)

// mutation is one deliberate defect: a piece of source that is replaced.
type mutation struct {
	name, what string
	file       string // from the repository's root
	old, new   string
}

// mutations reads testdata/mutations: txtar files whose comment says on its
// first line what is broken and on its second in which file.
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
		lines := strings.Split(strings.TrimSpace(string(a.Comment)), "\n")
		if len(lines) != 2 || len(a.Files) != 2 || a.Files[0].Name != "old" || a.Files[1].Name != "new" {
			t.Fatalf("%s: want two lines of comment and the files old and new", f)
		}
		out = append(out, mutation{
			name: strings.TrimSuffix(filepath.Base(f), ".txtar"), what: lines[0], file: strings.TrimSpace(lines[1]),
			old: string(a.Files[0].Data), new: string(a.Files[1].Data),
		})
	}
	return out
}

// TestMutationsAreCaught builds the simulation with one deliberate defect in
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

// run fails the test unless the simulation fails with the mutation in it. It
// gives the first failure.
func (m mutation) run(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, m.file)
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		t.Fatalf("%s has the text of the mutation %d times, want once: bring the mutation up to date", m.file, n)
	}
	dir := t.TempDir()
	mutant := filepath.Join(dir, "mutant.go")
	overlay := filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{file: mutant}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{mutant: strings.Replace(string(source), m.old, m.new, 1), overlay: string(text)} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary := filepath.Join(dir, "mutant.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-tags", "sqlite_omit_load_extension", "-overlay", overlay, "-o", binary, "./internal/cutover/simulation")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build with the mutation: %v\n%s", err, out)
	}
	try := exec.CommandContext(t.Context(), binary, "-test.run", "^TestSimulate$", "-seeds", fmt.Sprint(mutationSeeds), "-first", fmt.Sprint(*firstSeed))
	out, err := try.CombinedOutput()
	if err == nil {
		t.Fatalf("%s: %d simulated migrations did not notice", m.what, mutationSeeds)
	}
	for line := range strings.Lines(string(out)) {
		if _, failure, ok := strings.Cut(line, failureMark); ok {
			return strings.TrimSpace(failure)
		}
	}
	t.Fatalf("the simulation ended without a failure of its own: %v\n%s", err, out)
	return ""
}

// mutationSeeds is how many migrations a mutation may survive at most.
const mutationSeeds = 60
