package awsapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

var _ cutover.Hosts = (*awsapi.Commands)(nil)

// systemsManager is a Run Command service that answers as a test wants.
type systemsManager struct {
	mu     sync.Mutex
	sent   [][]string     // guarded by mu; instances of each command
	params []string       // guarded by mu; the "commands" of each
	looks  map[string]int // guarded by mu; ListCommandInvocations by command

	bad     map[string]bool                       // instances that a whole call is refused for
	offline map[string]bool                       // listed as ConnectionLost
	deny    string                                // action that is denied
	status  func(id string, look int) string      // detailed state; "": not listed yet
	result  func(id string) (int, string, string) // code, standard output, error code in place of an answer
}

func (s *systemsManager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if r.Header.Get("X-Amz-Target") == "" {
		sendXML(w, 200, callerIdentity)
		return
	}
	_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	fail := func(code, message string) {
		sendJSON(w, 400, fmt.Sprintf(`{"__type":%q,"message":%q}`, code, message))
	}
	if action == s.deny {
		fail("AccessDeniedException", "User: x is not authorized to perform: ssm:"+action)
		return
	}
	var in struct {
		Filters               []struct{ Values []string }
		InstanceIds           []string
		Parameters            map[string][]string
		CommandId, InstanceId string
	}
	if err := json.Unmarshal(body, &in); err != nil {
		fail("ValidationException", err.Error())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch action {
	case "DescribeInstanceInformation":
		var list []string
		for _, id := range in.Filters[0].Values {
			ping := "Online"
			if s.offline[id] {
				ping = "ConnectionLost"
			}
			if id != "i-unlisted" {
				list = append(list, fmt.Sprintf(`{"InstanceId":%q,"PingStatus":%q}`, id, ping))
			}
		}
		sendJSON(w, 200, `{"InstanceInformationList":[`+strings.Join(list, ",")+`]}`)
	case "SendCommand":
		if slices.ContainsFunc(in.InstanceIds, func(id string) bool { return s.bad[id] }) {
			fail("InvalidInstanceId", "")
			return
		}
		s.sent = append(s.sent, in.InstanceIds)
		s.params = append(s.params, in.Parameters["commands"][0])
		sendJSON(w, 200, fmt.Sprintf(`{"Command":{"CommandId":"%d"}}`, len(s.sent)-1))
	case "ListCommandInvocations":
		var n int
		_, _ = fmt.Sscan(in.CommandId, &n)
		s.looks[in.CommandId]++
		var list []string
		for _, id := range s.sent[n] {
			if state := s.status(id, s.looks[in.CommandId]); state != "" {
				list = append(list, fmt.Sprintf(`{"CommandId":%q,"InstanceId":%q,"StatusDetails":%q}`, in.CommandId, id, state))
			}
		}
		sendJSON(w, 200, `{"CommandInvocations":[`+strings.Join(list, ",")+`]}`)
	case "GetCommandInvocation":
		code, out, wrong := s.result(in.InstanceId)
		if wrong != "" {
			fail(wrong, "")
			return
		}
		text, _ := json.Marshal(out)
		sendJSON(w, 200, fmt.Sprintf(`{"CommandId":%q,"InstanceId":%q,"ResponseCode":%d,"StandardOutputContent":%s}`, in.CommandId, in.InstanceId, code, text))
	}
}

func newSystemsManager(t *testing.T) (*systemsManager, *awsapi.Commands) {
	t.Helper()
	s := &systemsManager{
		looks:  map[string]int{},
		status: func(string, int) string { return "Success" },
		result: func(id string) (int, string, string) { return 0, "out of " + id, "" },
	}
	a, err := awsapi.Open(t.Context(), awsapi.Access{}, awsapi.Options{Transport: &inProcess{handler: s, lose: -1}})
	if err != nil {
		t.Fatal(err)
	}
	return s, awsapi.NewCommands(awsapi.NewChanger(a))
}

// withSystemsManager runs f in virtual time.
func withSystemsManager(t *testing.T, f func(*testing.T, *systemsManager, *awsapi.Commands)) {
	t.Helper()
	isolate(t, "https://aws.invalid")
	synctest.Test(t, func(t *testing.T) {
		s, c := newSystemsManager(t)
		f(t, s, c)
	})
}

func instance(id string) fleet.Host {
	return fleet.Host{ID: id, Account: "111122223333", Region: "eu-west-1", State: "running"}
}

func TestScriptsOfOneKindGoOutTogether(t *testing.T) {
	withSystemsManager(t, func(t *testing.T, s *systemsManager, c *awsapi.Commands) {
		s.bad, s.offline = map[string]bool{"i-070": true}, map[string]bool{"i-071": true}
		// Listed only at the second look.
		s.status = func(_ string, look int) string {
			if look == 1 {
				return ""
			}
			return "Success"
		}
		results := make([]fleet.ScriptResult, 120)
		var all sync.WaitGroup
		for i := range results {
			all.Go(func() {
				results[i] = c.Run(t.Context(), instance(fmt.Sprintf("i-%03d", i)), fleet.WaySessionManager, fleet.Script{Name: "x", Text: "echo"})
			})
		}
		all.Wait()
		for i, r := range results {
			id := fmt.Sprintf("i-%03d", i)
			switch {
			case i == 70 && (r.Started != fleet.TruthNo || !strings.Contains(r.Reason, "cannot send to the instance")),
				i == 71 && (r.Started != fleet.TruthNo || !strings.Contains(r.Reason, "ConnectionLost")),
				i != 70 && i != 71 && (r.Started != fleet.TruthYes || !r.Ended || string(r.Stdout) != "out of "+id):
				t.Errorf("%s: %+v", id, r)
			}
		}
		total := 0
		for _, ids := range s.sent {
			total += len(ids)
			if len(ids) > 50 || !slices.IsSorted(ids) {
				t.Errorf("sent to %v", ids)
			}
		}
		// One bad instance of 50 costs a few calls more, not one for each.
		if total != 118 || len(s.sent) > 12 {
			t.Errorf("%d instances in %d calls", total, len(s.sent))
		}
	})
}

func TestResultsOfCommandsAreTruthful(t *testing.T) {
	denied := func(text string) func(*systemsManager) {
		return func(s *systemsManager) { s.deny = text }
	}
	state := func(state string, code int, out string) func(*systemsManager) {
		return func(s *systemsManager) {
			s.status = func(string, int) string { return state }
			s.result = func(string) (int, string, string) { return code, out, "" }
		}
	}
	for _, tt := range []struct {
		name    string
		set     func(*systemsManager)
		started fleet.Truth
		ended   bool
		exit    int
		cut     bool
		reason  string
	}{
		{"fine", state("Success", 0, "x"), fleet.TruthYes, true, 0, false, ""},
		{"fails", state("Failed", 3, "x"), fleet.TruthYes, true, 3, false, ""},
		{"not started", state("Failed", -1, ""), fleet.TruthNo, false, 0, false, "could not start"},
		{"undeliverable", state("Undeliverable", -1, ""), fleet.TruthNo, false, 0, false, "the agent is not there"},
		{"delivery timed out", state("Delivery Timed Out", -1, ""), fleet.TruthNo, false, 0, false, "not delivered in time"},
		{"execution timed out", state("ExecutionTimedOut", -1, ""), fleet.TruthYes, false, 0, false, "ExecutionTimedOut"},
		{"cancelled", state("Cancelled", -1, ""), fleet.TruthUnknown, false, 0, false, "Cancelled"},
		{"withdrawn", state("Terminated", -1, ""), fleet.TruthNo, false, 0, false, "withdrawn"},
		{"long", state("Success", 0, strings.Repeat("x", 24000)), fleet.TruthYes, true, 0, true, ""},
		{"may not send", denied("SendCommand"), fleet.TruthNo, false, 0, false, "allow ssm:SendCommand on the document AWS-RunShellScript"},
		{"may not read results", denied("GetCommandInvocation"), fleet.TruthUnknown, false, 0, false, "allow ssm:GetCommandInvocation"},
		{"may not list nodes", denied("DescribeInstanceInformation"), fleet.TruthYes, true, 0, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			withSystemsManager(t, func(t *testing.T, s *systemsManager, c *awsapi.Commands) {
				tt.set(s)
				r := c.Run(t.Context(), instance("i-1"), fleet.WaySessionManager, fleet.Script{Name: "x", Text: "echo"})
				if r.Started != tt.started || r.Ended != tt.ended || r.Exit != tt.exit || r.Cut != tt.cut || !strings.Contains(r.Reason, tt.reason) {
					t.Errorf("got %+v", r)
				}
			})
		})
	}
}

func TestNothingIsSentThatSystemsManagerWouldChange(t *testing.T) {
	withSystemsManager(t, func(t *testing.T, s *systemsManager, c *awsapi.Commands) {
		windows := instance("i-1")
		windows.Platform = "Windows"
		for name, r := range map[string]fleet.ScriptResult{
			"parameter": c.Run(t.Context(), instance("i-1"), fleet.WaySessionManager, fleet.Script{Text: "echo {{ssm:x}}"}),
			"windows":   c.Run(t.Context(), windows, fleet.WaySessionManager, fleet.Script{Text: "echo"}),
			"unlisted":  c.Run(t.Context(), instance("i-unlisted"), fleet.WaySessionManager, fleet.Script{Text: "echo"}),
			"other way": c.Run(t.Context(), instance("i-1"), fleet.WaySSH, fleet.Script{Text: "echo"}),
		} {
			if r.Started != fleet.TruthNo || r.Reason == "" {
				t.Errorf("%s: %+v", name, r)
			}
		}
		if len(s.sent) != 0 {
			t.Errorf("sent: %v", s.sent)
		}
	})
}

func TestCommandIsGivenUpWithItsCaller(t *testing.T) {
	withSystemsManager(t, func(t *testing.T, s *systemsManager, c *awsapi.Commands) {
		s.status = func(string, int) string { return "InProgress" }
		ctx, cancel := context.WithTimeout(t.Context(), 1200*time.Millisecond)
		defer cancel()
		var all sync.WaitGroup
		for i := range 3 {
			all.Go(func() {
				r := c.Run(ctx, instance(fmt.Sprint("i-", i)), fleet.WaySessionManager, fleet.Script{Name: "x", Text: "echo"})
				if r.Ended || r.Started == fleet.TruthNo || r.Reason == "" {
					t.Errorf("got %+v", r)
				}
			})
		}
		all.Wait()
	})
}

// Quick agents are not waited for longer than slow ones need, and slow ones are
// not asked after more often.
func TestLooksKeepStepWithTheAgents(t *testing.T) {
	withSystemsManager(t, func(t *testing.T, s *systemsManager, c *awsapi.Commands) {
		var end time.Time
		looks := 0
		s.status = func(string, int) string {
			looks++
			if time.Now().Before(end) {
				return "InProgress"
			}
			return "Success"
		}
		for _, tt := range []struct {
			takes, within time.Duration
			looks         int
		}{
			{0, 600 * time.Millisecond, 1}, // nothing is known yet
			{0, 300 * time.Millisecond, 1},
			{0, 160 * time.Millisecond, 1},
			{20 * time.Second, 25 * time.Second, 14},
			{2 * time.Second, 3 * time.Second, 3},
			{2 * time.Second, 3 * time.Second, 3},
		} {
			began := time.Now()
			end, looks = began.Add(tt.takes), 0
			r := c.Run(t.Context(), instance("i-1"), fleet.WaySessionManager, fleet.Script{Name: "x", Text: "echo"})
			if took := time.Since(began); !r.Ended || took > tt.within || looks > tt.looks {
				t.Errorf("a command of %v: %v, %d looks; want %v and %d at most", tt.takes, took, looks, tt.within, tt.looks)
			}
		}
	})
}

// The same against the simulated service and its machines.
func TestCommandsRunOnSimulatedInstances(t *testing.T) {
	w, err := simfleet.Generate(simfleet.Options{Instances: 40, Seed: 7, Healthy: true})
	if err != nil {
		t.Fatal(err)
	}
	hosts := simfleet.NewHosts(w, simfleet.HostOptions{TimeScale: -1})
	defer hosts.Close()
	isolate(t, newServer(t, simfleet.ServeAWS(w, simfleet.AWSOptions{NoThrottle: true, Hosts: hosts})))
	t.Setenv("AWS_ACCESS_KEY_ID", simfleet.AccessKey(w.Accounts[0].ID))
	a, err := awsapi.Open(t.Context(), awsapi.Access{}, awsapi.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := awsapi.NewCommands(awsapi.NewChanger(a))
	var all sync.WaitGroup
	tried := 0
	for in := range w.Instances() {
		if in.OS.Family == "windows" || in.Region.Account != w.Accounts[0] {
			continue
		}
		tried++
		w.Mu.RLock()
		why := w.CommandReason(in)
		w.Mu.RUnlock()
		all.Go(func() {
			r := c.Run(t.Context(), in.Host, fleet.WaySessionManager, fleet.Script{Name: "x", Text: "id -u; exit 5", Timeout: time.Minute})
			if ran := r.Started == fleet.TruthYes && r.Exit == 5 && strings.TrimSpace(string(r.Stdout)) == "0"; ran != (why == "") {
				t.Errorf("%s (%s): %+v", in.Host.ID, why, r)
			}
		})
	}
	all.Wait()
	if tried < 10 {
		t.Errorf("only %d instances", tried)
	}
}
