package readiness

import (
	"fmt"
	"strings"
)

// CatalogueMarkdown writes the catalogue as documentation: file names to their
// texts, one page for each finding and README.md as the index.
func CatalogueMarkdown() map[string]string {
	out := map[string]string{}
	var index strings.Builder
	index.WriteString(`# Findings

What ` + "`migrate readiness`" + ` can find, causes before symptoms. These pages are generated from
the catalogue in internal/readiness.

| Severity | What it means for the verdict |
| --- | --- |
| blocks | Session Manager cannot work until it is fixed: the host is *blocked* |
| unknown | a deciding fact is missing: the host is *unknown*, unless something else blocks it |
| risk | Session Manager works, but something is unsafe or will hurt the move |
| note | worth knowing |

A host without any finding of the first two kinds is *ready*. The cause that a verdict names is the
first deciding finding in the order below, but what hurts only sessions comes after all that keeps the
agent off; where Systems Manager did not answer, that comes first. A verdict speaks of what was seen:
where nobody logged in to a host, a full disk or spent inotify instances are not, and
[ssh-not-scanned](ssh-not-scanned.md) says so.

| Finding | Area | Severity | Title |
| --- | --- | --- | --- |
`)
	for _, e := range Catalogue() {
		fmt.Fprintf(&index, "| [%s](%s.md) | %s | %s | %s |\n", e.Code, e.Code, e.Area, e.Severity, e.Title)
		out[e.Code+".md"] = e.page()
	}
	out["README.md"] = index.String()
	return out
}

func (e Entry) page() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n`%s` · area: %s · severity: %s\n", e.Title, e.Code, e.Area, e.Severity)
	for _, s := range []struct{ head, text string }{
		{"What it means", e.Means},
		{"How it is detected", e.Detected},
		{"How to fix it", sentence(e.Fix)},
		{"How to take the fix back", sentence(e.Undo)},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", s.head, s.text)
	}
	b.WriteString("\n## Sources\n\n")
	for _, s := range e.Sources {
		fmt.Fprintf(&b, "- %s\n", s)
	}
	return b.String()
}

// sentence writes a fix, which stands in lower case in tables, as a sentence.
func sentence(s string) string {
	if s == "" {
		return s
	}
	if first, _, _ := strings.Cut(s, " "); first != "systemctl" {
		s = strings.ToUpper(s[:1]) + s[1:]
	}
	return s + "."
}
