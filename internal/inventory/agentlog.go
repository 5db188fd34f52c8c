package inventory

import (
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// logSigns says which words of amazon-ssm-agent's log mean what, the more telling
// first. The words are those of the agent's source (credentialrefresher.go,
// hibernation.go, mgsinteractor.go) and of Go's and the SDK's errors.
var logSigns = []struct {
	kind  string
	words []string
}{
	{"disk full", []string{"no space left on device"}},
	{"read-only", []string{"read-only file system"}},
	{"inotify", []string{"inotify"}},
	{"too many files", []string{"too many open files"}},
	{"x509", []string{"x509:"}},
	{"clock", []string{"signature expired", "signature not yet current", "requestexpired", "invalidsignatureexception"}},
	{"proxy", []string{"proxyconnect", "proxy authentication required"}},
	{"sleeping", []string{"sleeping for"}},
	{"hibernating", []string{"ssm agent hibernate", "ssm agent worker hibernate", "hibernate mode"}},
	{"access denied", []string{"accessdenied"}},
	{"no credentials", []string{"nocredentialproviders", "ec2rolerequesterror", "no valid credentials could be retrieved"}},
	{"noexec", []string{"permission denied"}},
	{"request error", []string{"requesterror"}},
}

// recoveries are lines after which earlier signs of the kinds no longer hold.
var recoveries = []struct {
	words string
	over  []string
}{
	{"credentials ready", []string{"sleeping", "hibernating", "no credentials", "clock", "x509", "proxy", "request error"}},
	{"set up control channel successfully", []string{"sleeping", "hibernating", "no credentials", "access denied", "clock", "x509", "proxy", "request error"}},
}

// maxSignText bounds a log line that is kept.
const maxSignText = 500

// readAgentLog gives, of each kind, the newest sign that still holds, in order
// of time.
func readAgentLog(logs [][]string, clock time.Time) []fleet.LogSign {
	newest := map[string]fleet.LogSign{}
	over := map[string]time.Time{}
	for _, lines := range logs {
		for _, line := range lines {
			at, text := agentLogLine(line, clock)
			small := strings.ToLower(text)
			for _, r := range recoveries {
				if strings.Contains(small, r.words) {
					for _, kind := range r.over {
						if at.After(over[kind]) {
							over[kind] = at
						}
					}
				}
			}
			kind := signKind(small)
			if kind == "" {
				continue
			}
			if old, seen := newest[kind]; !seen || !at.Before(old.At) {
				newest[kind] = fleet.LogSign{Kind: kind, At: at, Text: clean(text[:min(len(text), maxSignText)])}
			}
		}
	}
	signs := []fleet.LogSign{}
	for kind, s := range newest {
		if !over[kind].IsZero() && !s.At.After(over[kind]) {
			continue
		}
		signs = append(signs, s)
	}
	slices.SortFunc(signs, func(a, b fleet.LogSign) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return strings.Compare(a.Kind, b.Kind)
	})
	return signs
}

func signKind(small string) string {
	for _, s := range logSigns {
		for _, w := range s.words {
			if strings.Contains(small, w) {
				return s.kind
			}
		}
	}
	return ""
}

// agentLogLine cuts the time off a line such as
// "2026-11-21 09:47:59.1234 INFO [CredentialRefresher] ...", which is the
// host's local time (seelog.xml of amazon-ssm-agent). Older agents write no
// fraction.
func agentLogLine(line string, clock time.Time) (time.Time, string) {
	day, rest := word(line)
	hour, text := word(rest)
	at, err := time.ParseInLocation("2006-01-02 15:04:05", day+" "+hour, clock.Location())
	if err != nil {
		return time.Time{}, line
	}
	if t, ok := sane(at); ok {
		return t, text
	}
	return time.Time{}, line
}
