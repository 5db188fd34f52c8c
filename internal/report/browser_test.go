package report_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/report"
)

// TestHTMLInABrowser loads the report of 300 hosts in Chromium under its own
// security policy, and works with it as a reader does.
func TestHTMLInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser shows the race detector nothing")
	}
	in := realistic(t, 300)
	page := render(t, report.HTML, in)
	dom, console := browse(t, page)
	if console != "" {
		t.Errorf("the console says:\n%s", console)
	}
	if want := "300 of 300"; !strings.Contains(dom, want) {
		t.Fatalf("the script did not run: the page does not say %q", want)
	}
	// The reader filters by the first issue, opens what is left, and sorts.
	dom, console = browse(t, scripted(t, page, `
const say = (name, value) => { document.body.dataset[name] = value; };
const q = document.querySelector("#q"), shown = () => [...document.querySelectorAll(".h")].filter(h => !h.hidden);
const type = text => { q.value = text; q.dispatchEvent(new Event("input", {bubbles: true})); };
const filter = text => { type(text); say("n" + text.toLowerCase().replace(/[^a-z0-9]/g, ""), shown().length); };
filter("F1"); filter("E1"); filter("P1"); filter("no such host"); filter("");
document.querySelector(".show").click();
say("linked", q.value + " " + shown().length);
document.querySelector("#all").click();
setTimeout(() => {
  say("opened", shown().filter(h => h.open).length);
  say("filled", shown().filter(h => /Fix:/.test(h.textContent)).length);
  say("references", document.querySelectorAll(".h[open] .ev>li>a:first-child").length);
  document.querySelectorAll(".head .s")[1].click();
  type("");
  const names = shown().map(h => h.querySelector("b").textContent);
  say("sorted", names.every((n, i) => i === 0 || names[i - 1].localeCompare(n, "en", {numeric: true}) <= 0));
}, 200);`))
	if console != "" {
		t.Errorf("the console says:\n%s", console)
	}
	said := map[string]string{}
	body := regexp.MustCompile(`<body[^>]*>`).FindString(dom)
	for _, m := range regexp.MustCompile(`data-(\w+)="([^"]*)"`).FindAllStringSubmatch(body, -1) {
		said[m[1]] = m[2]
	}
	first := regexp.MustCompile(`id=F1>.*?\n.*?(\d+) hosts?:`).FindStringSubmatch(page)
	if first == nil {
		t.Fatal("F1 has no hosts")
	}
	path := regexp.MustCompile(`id=P1>.*?(\d+) hosts?:`).FindStringSubmatch(page)
	told := regexp.MustCompile(`id=E1>.*?on (\d+) hosts?<`).FindStringSubmatch(page)
	if path == nil || told == nil {
		t.Fatal("no path, or nothing that several hosts say")
	}
	for what, want := range map[string]string{
		"nf1": first[1], "np1": path[1], "ne1": told[1], "nnosuchhost": "0", "n": "300", "linked": "F1 " + first[1],
		"opened": first[1], "filled": first[1], "references": "0", "sorted": "true",
	} {
		if said[what] != want {
			t.Errorf("%s: the page says %q, want %q", what, said[what], want)
		}
	}
}

// scripted adds a script to the page, and to the policy.
func scripted(t *testing.T, page, script string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(script))
	own := base64.StdEncoding.EncodeToString(sum[:])
	with := strings.Replace(page, "script-src ", "script-src &#39;sha256-"+own+"&#39; ", 1)
	with = strings.Replace(with, "</body>", "<script>"+script+"</script></body>", 1)
	if len(with) < len(page)+len(script)+len(own) {
		t.Fatal("the page has no place for a script")
	}
	return with
}

// browse gives the page's tree after its scripts, and what they and the policy
// wrote to the console.
func browse(t *testing.T, page string) (dom, console string) {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is missing: apt-get install chromium")
	}
	file := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(), "--enable-logging=stderr", "--v=0",
		"--virtual-time-budget=5000", "--dump-dom", "file://"+file)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		t.Fatalf("chromium: %v\n%s", err, log.String())
	}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "CONSOLE") {
			console += line
		}
	}
	return out.String(), console
}
