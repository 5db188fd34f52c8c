package report_test

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"ssm-migrate/internal/report"
)

func howto() report.Howto {
	return report.Howto{
		Made: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Version: "test", Snapshot: 3, Bucket: "copies", LoggedKnown: true,
		Hosts: []report.HowtoHost{
			{Call: "web-1", SSH: "web-1", ID: "i-00000000000000001", Region: "eu-west-1"},
			{Call: "i-00000000000000002", SSH: "twin.i-00000000000000002", ID: "i-00000000000000002", Region: "eu-west-1"},
		},
		More: 7, Users: []string{"ssm-user"}, Logged: []string{"the S3 bucket logs"},
	}
}

func rendered(t *testing.T, h report.Howto) (md, html string) {
	t.Helper()
	var a, b strings.Builder
	if err := report.HowtoMarkdown(&a, h); err != nil {
		t.Fatal(err)
	}
	if err := report.HowtoHTML(&b, h); err != nil {
		t.Fatal(err)
	}
	return a.String(), b.String()
}

func TestHowtoNamesThisFleet(t *testing.T) {
	md, html := rendered(t, howto())
	for _, want := range []string{
		"migrate connect web-1\n", "aws ssm start-session --region eu-west-1 --target i-00000000000000001", "migrate cp -r web-1:/etc/nginx i-00000000000000002:/root/nginx",
		"-L 8080:localhost:8080", "ansible_aws_ssm_bucket_name=copies", "ssh://web-1/srv/repository.git", "twin.i-00000000000000002", "And 7 more", "the S3 bucket logs", "ssm-user",
	} {
		if !strings.Contains(md, want) {
			t.Errorf("the page lacks %q:\n%s", want, md)
		}
	}
	for _, want := range []string{"<h1", "migrate connect web-1", "default-src &#39;none&#39;"} {
		if !strings.Contains(html, want) {
			t.Errorf("the HTML lacks %q", want)
		}
	}
	empty, _ := rendered(t, report.Howto{})
	if !strings.Contains(empty, "migrate connect HOST") || !strings.Contains(empty, "--bucket NAME") {
		t.Errorf("without hosts and bucket:\n%s", empty)
	}
}

// What the commands say is what a shell reads, whatever is configured.
func TestHowtoQuotesWhatIsForeign(t *testing.T) {
	h := howto()
	h.Bucket, h.Logged = "b$(touch owned)'\n```\n<script>", []string{"<script>alert(1)</script>**x**`"}
	md, html := rendered(t, h)
	if strings.Contains(html, "<script>") || strings.Contains(md, "\n<script>") {
		t.Errorf("markup gets through:\n%s", md)
	}
	for i, fence := 0, ""; ; i++ {
		at := strings.Index(md, "```")
		if at < 0 {
			if i == 0 {
				t.Error("the page has no commands")
			}
			return
		}
		end := strings.IndexByte(md[at:], '\n')
		fence = strings.TrimSuffix(md[at:at+end], "bash")
		code, rest, ok := strings.Cut(md[at+end+1:], "\n"+fence+"\n")
		if !ok {
			t.Fatalf("an open fence: %.200s", md[at:])
		}
		if out, err := exec.Command("bash", "-n", "-c", code).CombinedOutput(); err != nil {
			t.Errorf("bash does not read %q: %s", code, out)
		}
		if strings.Contains(code, "$(touch owned)") && !strings.Contains(code, `'b$(touch owned)`) && !strings.Contains(code, `$'b$(touch owned)`) {
			t.Errorf("not quoted: %q", code)
		}
		md = rest
	}
}
