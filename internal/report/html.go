package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"

	"ssm-migrate/internal/fleet"
)

//go:embed assets/report.html
var pageText string

//go:embed assets/report.css
var pageStyle string

//go:embed assets/report.js
var pageScript string

var page = template.Must(template.New("report").Funcs(template.FuncMap{
	"count":  fleet.Count,
	"sign":   sign,
	"change": func(then, now int) string { return sign(now - then) },
}).Parse(pageText))

// HTML writes the report as one file that needs nothing else: no script or
// style from elsewhere, and no script at all to be read. Its content security
// policy lets nothing run or load but the style and script it came with.
func HTML(w io.Writer, in Input) error {
	err := page.Execute(w, struct {
		*view
		Style  template.CSS
		Script template.JS
		Policy string
	}{build(in), template.CSS(pageStyle), template.JS(pageScript), policy()})
	if err != nil {
		return fmt.Errorf("write HTML report: %w", err)
	}
	return nil
}

func sign(n int) string {
	if n == 0 {
		return "±0"
	}
	return fmt.Sprintf("%+d", n)
}

func policy() string {
	return fmt.Sprintf("default-src 'none'; style-src 'sha256-%s'; script-src 'sha256-%s'; base-uri 'none'; form-action 'none'", digest(pageStyle), digest(pageScript))
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}
