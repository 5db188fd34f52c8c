package fleet

import (
	"cmp"
	"strings"
	"time"
)

// HostRef names one instance.
type HostRef struct {
	Account string `json:"account"`
	Region  string `json:"region"`
	ID      string `json:"id"`
}

// Ref names the host.
func (h Host) Ref() HostRef { return HostRef{Account: h.Account, Region: h.Region, ID: h.ID} }

// Place is where the host is.
func (r HostRef) Place() Place { return Place{Account: r.Account, Region: r.Region} }

// String is "account/region/id".
func (r HostRef) String() string { return r.Account + "/" + r.Region + "/" + r.ID }

// Compare orders references by account, Region and ID.
func (r HostRef) Compare(o HostRef) int {
	return cmp.Or(strings.Compare(r.Account, o.Account), strings.Compare(r.Region, o.Region), strings.Compare(r.ID, o.ID))
}

// Place is one account in one Region. IAM is global: its changes leave Region empty.
type Place struct {
	Account string `json:"account"`
	Region  string `json:"region,omitempty"`
}

// Way is an access path into an instance. Two ways are independent of each
// other only if they are different ones.
type Way string

// The ways.
const (
	WaySessionManager Way = "session-manager" // a session, or a script by Run Command
	WaySSH            Way = "ssh"             // as people come in today: directly or by the bastions of today
	WayRecovery       Way = "recovery"        // the recovery key by the recovery bastion
	// WayConnectEndpoint is the recovery key by an EC2 Instance Connect Endpoint,
	// which needs no instance to be launched.
	WayConnectEndpoint Way = "instance-connect-endpoint"
)

// Proof is one attempt to use a way. Nothing but such an attempt proves it.
type Proof struct {
	Host HostRef `json:"host"`
	Way  Way     `json:"way"`
	// Kind is how the way was used: a session type ("shell",
	// "interactive-command", "port", "ssh") or "login".
	Kind string `json:"kind"`
	// Works: yes, it was used from end to end; no, the far side refused it for
	// a reason of its own; unknown, what went wrong says nothing about the way
	// (throttled, no network here, interrupted).
	Works  Truth  `json:"works"`
	Reason string `json:"reason,omitempty"` // why Works is not yes, in one line

	At        time.Time     `json:"at"`                  // when the attempt ended
	RoundTrip time.Duration `json:"roundTrip,omitempty"` // from the start of the session to the command's answer
	By        string        `json:"by"`                  // IAM principal ARN, or login user of SSH
	RunAs     string        `json:"runAs,omitempty"`     // OS account in which the command ran
	Session   string        `json:"session,omitempty"`   // Session Manager's session ID

	// Log says whether the session's log arrived where the preferences want
	// it; LogObject names it. Unknown with an empty LogObject: none is wanted,
	// or it was not looked for.
	Log       Truth  `json:"log"`
	LogObject string `json:"logObject,omitempty"`
}

// Fresh reports whether the way worked no longer ago than age.
func (p Proof) Fresh(now time.Time, age time.Duration) bool {
	return p.Works == TruthYes && !p.At.After(now.Add(time.Minute)) && now.Sub(p.At) <= age
}

// Script is what runs on a host: text for a POSIX sh as root.
type Script struct {
	Name string // for logs: "quarantine-keys"
	Text string
	// Timeout bounds the run on the host; 0: 60 s.
	Timeout time.Duration
	// Reads: it changes nothing, so it may be run again while an earlier run may
	// still be under way.
	Reads bool
}

// ScriptResult is what became of a script on a host.
type ScriptResult struct {
	// Started: yes, it ran, to its end if Ended is set; no, it certainly did not;
	// unknown, the answer was lost.
	Started Truth
	Ended   bool // Exit is what the script returned
	Exit    int
	Stdout  []byte // hostile until parsed; cut off at the transport's limit (Run Command: 24,000 characters)
	Stderr  []byte
	Cut     bool // output was cut off
	Way     Way
	User    string // login user of SSH
	Reason  string // why it did not start or end, in one line
}
