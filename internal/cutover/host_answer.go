package cutover

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

const (
	hostHeader = "migrate-host 1"
	hostEnd    = "done"

	maxHostRecords = 4096
	maxHostField   = 4096
)

// hostRecord is one line of a script's answer; its fields are one clean line each.
type hostRecord struct {
	tag    string
	fields []string
}

// field gives the i-th field; empty when it is not there.
func (r hostRecord) field(i int) string {
	if i >= len(r.fields) {
		return ""
	}
	return r.fields[i]
}

// number reads the i-th field; ok is false where it is no number.
func (r hostRecord) number(i int) (n int64, ok bool) {
	n, err := strconv.ParseInt(r.field(i), 10, 64)
	return n, err == nil
}

// hostAnswer is what a script said, whole.
type hostAnswer []hostRecord

func (a hostAnswer) all(tag string) []hostRecord {
	var out []hostRecord
	for _, r := range a {
		if r.tag == tag {
			out = append(out, r)
		}
	}
	return out
}

// first gives the first record with a tag; without any, an empty one.
func (a hostAnswer) first(tag string) (r hostRecord, ok bool) {
	for _, r := range a {
		if r.tag == tag {
			return r, true
		}
	}
	return hostRecord{}, false
}

// errNoAnswer says that a script did not answer in full: what it did is not known.
var errNoAnswer = errors.New("the script gave no complete answer")

// refusalError is a script's word that it did not do its work, and why.
type refusalError struct{ code, text string }

func (e *refusalError) Error() string { return e.text }

// Is makes changes of others known as such.
func (e *refusalError) Is(target error) bool { return target == ErrForeign && e.code == "foreign" }

// parseAnswer reads a script's output. What a login shell prints before the
// header is skipped. The error is errNoAnswer or a *refusalError.
func parseAnswer(stdout []byte) (hostAnswer, error) {
	_, text, found := strings.Cut("\n"+string(stdout), "\n"+hostHeader+"\n")
	if !found {
		return nil, errNoAnswer
	}
	var out hostAnswer
	for len(out) < maxHostRecords {
		line, rest, whole := strings.Cut(text, "\n")
		if !whole {
			break
		}
		text = rest
		fields := strings.Split(line, "\t")
		for i, f := range fields {
			fields[i] = fleet.OneLine(f, maxHostField)
		}
		if fields[0] == hostEnd && len(fields) == 1 {
			return out, out.refusal()
		}
		out = append(out, hostRecord{tag: fields[0], fields: fields[1:]})
	}
	return nil, errNoAnswer
}

func (a hostAnswer) refusal() error {
	if r, ok := a.first("error"); ok {
		return &refusalError{code: r.field(0), text: strings.Join(r.fields[min(1, len(r.fields)):], " ")}
	}
	return nil
}

// keyFile is one key file of a host as the scripts list it.
type keyFile struct {
	Path  string `json:"path"`
	State string `json:"state"` // "open", "quarantined", "original", "foreign", "missing", "merged"
	Owner string `json:"owner,omitempty"`
	Group string `json:"group,omitempty"`
	Mode  string `json:"mode,omitempty"`
	Time  string `json:"time,omitempty"` // of the last change, seconds since 1970
	Sum   string `json:"sum,omitempty"`  // SHA-256, hex
}

// keyFiles is what a host says of its key files.
type keyFiles struct {
	Files    []keyFile `json:"files,omitempty"` // saved ones and those with keys that do not stay
	More     int       `json:"more,omitempty"`  // further ones, not listed
	Read     int       `json:"read"`            // files that sshd reads
	Open     int       `json:"open"`            // of these, with keys that do not stay
	Saved    int       `json:"saved"`           // files with a before-image
	Closed   int       `json:"closed"`          // of these, as the quarantine left them
	Original int       `json:"original"`        // of these, as they were before
	Foreign  int       `json:"foreign"`         // of these, something else

	Usable bool   `json:"usable"`          // sshd accepts the recovery key
	Why    string `json:"why,omitempty"`   // why not
	Fired  int64  `json:"fired,omitempty"` // when the timer put files back, seconds since 1970
}

var errOddAnswer = errors.New("the script's answer is not as it should be")

// keyFilesOf reads a list of key files.
func keyFilesOf(a hostAnswer) (keyFiles, error) {
	var k keyFiles
	counts, ok := a.first("count")
	into := []*int{&k.Read, &k.Open, &k.Saved, &k.Closed, &k.Original, &k.Foreign}
	for i, n := range into {
		v, is := counts.number(i)
		if !ok || !is || v < 0 || v > 1<<20 {
			return keyFiles{}, errOddAnswer
		}
		*n = int(v)
	}
	if k.Closed+k.Original+k.Foreign != k.Saved {
		return keyFiles{}, errOddAnswer
	}
	for _, r := range a.all("file") {
		if len(r.fields) < 7 {
			return keyFiles{}, errOddAnswer
		}
		k.Files = append(k.Files, keyFile{
			State: r.field(0), Owner: r.field(1), Group: r.field(2), Mode: r.field(3), Time: r.field(4), Sum: r.field(5), Path: strings.Join(r.fields[6:], " "),
		})
	}
	if r, ok := a.first("more"); ok {
		n, _ := r.number(0)
		k.More = int(max(n, 0))
	}
	if r, ok := a.first("recovery"); ok {
		k.Usable, k.Why = r.field(0) == "yes", ""
		if !k.Usable {
			k.Why = r.field(1)
		}
	}
	k.Fired = firedAt(a)
	return k, nil
}

// firedAt is when the timer went off; 0: it did not.
func firedAt(a hostAnswer) int64 {
	r, ok := a.first("fired")
	if !ok {
		return 0
	}
	at, _, _ := strings.Cut(r.field(0), " ")
	n, err := strconv.ParseInt(at, 10, 64)
	if err != nil || n <= 0 {
		return 1 // it did, at a time that cannot be read
	}
	return n
}

// hostTimer is what a host says of the timer that puts its key files back.
type hostTimer struct {
	Listed int    `json:"listed"`        // timers that would count if they went off
	How    string `json:"how,omitempty"` // "systemd", "at", "sh": of the one that goes off first
	Due    int64  `json:"due,omitempty"` // seconds since 1970 by the host's clock; 0: none will go off
	Now    int64  `json:"now"`           // the host's clock
	Fired  int64  `json:"fired,omitempty"`
}

func hostTimerOf(a hostAnswer) (hostTimer, error) {
	var t hostTimer
	now, _ := a.first("now")
	var ok bool
	if t.Now, ok = now.number(0); !ok {
		return t, errOddAnswer
	}
	for _, r := range a.all("timer") {
		due, ok := r.number(0)
		if !ok || due <= 0 {
			return t, errOddAnswer
		}
		t.Listed++
		if r.field(2) == "live" && (t.Due == 0 || due < t.Due) {
			t.Due, t.How = due, r.field(1)
		}
	}
	t.Fired = firedAt(a)
	return t, nil
}

// left is how long the timer still waits; 0 without one.
func (t hostTimer) left() time.Duration {
	if t.Due == 0 {
		return 0
	}
	return time.Duration(min(max(t.Due-t.Now, 0), 1<<31)) * time.Second
}

// clock writes a host's time for people.
func clock(seconds int64) string {
	return time.Unix(seconds, 0).UTC().Format(time.RFC3339)
}

// hostKey is what a host says of the recovery key in one account.
type hostKey struct {
	State    string `json:"state"`           // "present", "absent", "later": a later generation, "other": the key, but in another line
	Later    int    `json:"later,omitempty"` // lines that hold a later generation
	Lines    int    `json:"lines"`           // that hold the key
	Sum      string `json:"sum"`             // SHA-256 of the file; "-": there is none
	Folder   string `json:"folder"`          // "yes", "no": the file's folder is there
	Accepted bool   `json:"accepted"`
	Why      string `json:"why,omitempty"` // why sshd would ignore the file
	Path     string `json:"path"`
}

func hostKeyOf(a hostAnswer) (hostKey, error) {
	r, ok := a.first("key")
	n, isNumber := r.number(1)
	p, hasPath := a.first("path")
	if !ok || !isNumber || n < 0 || !hasPath || len(r.fields) < 6 {
		return hostKey{}, errOddAnswer
	}
	k := hostKey{State: r.field(0), Lines: int(min(n, 1<<20)), Accepted: r.field(2) == "yes", Sum: r.field(3), Folder: r.field(4), Path: strings.Join(p.fields, " ")}
	if !k.Accepted {
		k.Why = strings.Join(r.fields[5:], " ")
	}
	if l, ok := a.first("later"); ok {
		n, _ := l.number(0)
		k.Later = int(min(max(n, 0), 1<<20))
	}
	if (k.State == "absent") != (k.Lines+k.Later == 0) {
		return hostKey{}, errOddAnswer
	}
	return k, nil
}

// hostRetired is what a host says of old recovery keys.
type hostRetired struct {
	Live     int      `json:"live"`            // files that sshd reads and that have one
	Saved    int      `json:"saved"`           // files that a rollback would put back and that have one
	Accepted bool     `json:"accepted"`        // sshd takes the new key
	Why      string   `json:"why,omitempty"`   // why not
	Lines    []string `json:"lines,omitempty"` // of the account's file, with old keys
	Path     string   `json:"path"`
}

func hostRetiredOf(a hostAnswer) (hostRetired, error) {
	r, ok := a.first("retired")
	live, liveOK := r.number(0)
	saved, savedOK := r.number(1)
	p, hasPath := a.first("path")
	if !ok || !liveOK || !savedOK || live < 0 || saved < 0 || !hasPath {
		return hostRetired{}, errOddAnswer
	}
	out := hostRetired{Live: int(min(live, 1<<20)), Saved: int(min(saved, 1<<20)), Accepted: r.field(2) == "yes", Path: strings.Join(p.fields, " ")}
	if !out.Accepted {
		out.Why = strings.Join(r.fields[min(3, len(r.fields)):], " ")
	}
	for _, o := range a.all("old") {
		out.Lines = append(out.Lines, strings.Join(o.fields, " "))
	}
	return out, nil
}

// hostAgent is what a host says of its SSM Agent.
type hostAgent struct {
	Form    string      `json:"form,omitempty"`    // "rpm", "deb", "snap", "file"; empty: none
	Version string      `json:"version,omitempty"` // empty: none, or not known
	Running fleet.Truth `json:"running"`
	Enabled fleet.Truth `json:"enabled"`
	Masked  string      `json:"masked,omitempty"` // "yes", "runtime": until the next boot; else it is not
	Result  string      `json:"result,omitempty"` // of the last work on it: "JOB.running", "JOB.done", "JOB.failed WHY"
}

func hostAgentOf(a hostAnswer) (hostAgent, error) {
	r, ok := a.first("agent")
	if !ok || len(r.fields) < 4 {
		return hostAgent{}, errOddAnswer
	}
	out := hostAgent{Form: strings.TrimPrefix(r.field(0), "-"), Version: strings.TrimPrefix(r.field(1), "-")}
	for i, into := range []*fleet.Truth{&out.Running, &out.Enabled} {
		if err := into.UnmarshalText([]byte(r.field(2 + i))); err != nil {
			return hostAgent{}, fmt.Errorf("%w: %w", errOddAnswer, err)
		}
	}
	if len(r.fields) > 4 && (r.field(4) == "yes" || r.field(4) == "runtime") {
		out.Masked = r.field(4)
	}
	if r, ok := a.first("result"); ok {
		out.Result = strings.TrimSpace(strings.Join(r.fields, " "))
	}
	return out, nil
}
