package awsapi

import (
	"fmt"
	"strings"
	"testing"
)

// TestAnswerWithoutEndIsCut: what a host claims does not decide how much is fetched.
func TestAnswerWithoutEndIsCut(t *testing.T) {
	part := strings.Repeat("AAAA", partSize/4)
	a, err := readAnswer(fmt.Appendf(nil, "migrate-answer 1\tplain\t99999999999\t/run/migrate-probe.x\n%s", part))
	if err != nil {
		t.Fatal(err)
	}
	var scripts []string
	err = a.fetch(func(script string) ([]byte, error) {
		scripts = append(scripts, script)
		return []byte(part), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	text, cut, err := a.unpack()
	if err != nil || !cut || len(text) != mostParts*partSize/4*3 {
		t.Errorf("%d bytes, cut %v, error %v", len(text), cut, err)
	}
	if n := len(scripts); n != mostParts-1 || !strings.Contains(scripts[n-1], "rm -rf '/run/migrate-probe.x'") {
		t.Errorf("%d scripts, the last is %q", n, scripts[n-1])
	}
}
