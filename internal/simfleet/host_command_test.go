package simfleet_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ssm-migrate/internal/simfleet"
)

// commandWorld is a world in a bubble whose clock is the bubble's, with the world
// advancing by itself.
type commandWorld struct {
	*simfleet.World
	hosts *simfleet.Hosts
	aws   *simfleet.AWS
}

func withCommands(t *testing.T, f func(t *testing.T, b *commandWorld)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w, err := simfleet.Generate(simfleet.Options{Instances: 60, Seed: 7, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		h := simfleet.NewHosts(w, simfleet.HostOptions{TimeScale: 1, ExecTimeout: time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { w.Run(ctx); close(ended) }()
		f(t, &commandWorld{World: w, hosts: h, aws: simfleet.ServeAWS(w, simfleet.AWSOptions{NoThrottle: true, Hosts: h})})
		h.Close()
		cancel()
		<-ended
	})
}

// call makes one request for an instance's account and Region. It gives the
// answer, or the error's code.
func (b *commandWorld) call(t *testing.T, in *simfleet.Instance, action string, request any) (answer map[string]any, code string) {
	t.Helper()
	body, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/", strings.NewReader(string(body)))
	r.Header.Set("X-Amz-Target", "AmazonSSM."+action)
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+simfleet.AccessKey(in.Region.Account.ID)+"/20261121/"+in.Region.Name+"/ssm/aws4_request, Signature=0")
	rec := httptest.NewRecorder()
	b.aws.ServeHTTP(rec, r)
	if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%s: %v in %s", action, err, rec.Body)
	}
	if rec.Code != 200 {
		code, _ = answer["__type"].(string)
	}
	return answer, code
}

type request map[string]any

// send sends a script and gives the command's ID.
func (b *commandWorld) send(t *testing.T, in *simfleet.Instance, script string, more request) string {
	t.Helper()
	r := request{"InstanceIds": []string{in.Host.ID}, "DocumentName": "AWS-RunShellScript", "Parameters": map[string][]string{"commands": strings.Split(script, "\n"), "executionTimeout": {"600"}}}
	for k, v := range more {
		r[k] = v
	}
	answer, code := b.call(t, in, "SendCommand", r)
	if code != "" {
		t.Fatalf("SendCommand: %s %v", code, answer)
	}
	id, _ := answer["Command"].(map[string]any)["CommandId"].(string)
	return id
}

// result polls until the invocation has ended, or for the time given.
func (b *commandWorld) result(t *testing.T, in *simfleet.Instance, id string, patience time.Duration) map[string]any {
	t.Helper()
	for start := time.Now(); ; time.Sleep(2 * time.Second) {
		answer, code := b.call(t, in, "GetCommandInvocation", request{"CommandId": id, "InstanceId": in.Host.ID})
		if code == "" && answer["Status"] != "Pending" && answer["Status"] != "InProgress" && answer["Status"] != "Cancelling" || time.Since(start) > patience {
			return answer
		}
	}
}

func (b *commandWorld) online(t *testing.T) *simfleet.Instance {
	t.Helper()
	return findInstance(t, b.World, "Debian host that is online", func(in *simfleet.Instance) bool {
		return in.OS.Family != "windows" && in.Fault == "" && in.Agent.Enabled && b.CommandReason(in) == ""
	})
}

func TestRunCommand(t *testing.T) {
	withCommands(t, func(t *testing.T, b *commandWorld) {
		in := b.online(t)
		id := b.send(t, in, "id -u\necho $0 >/dev/null\nsleep 30\npwd\necho oops >&2\nexit 3", nil)
		if _, code := b.call(t, in, "GetCommandInvocation", request{"CommandId": id, "InstanceId": in.Host.ID}); code != "InvocationDoesNotExist" {
			t.Errorf("right after SendCommand: %q", code)
		}
		time.Sleep(10 * time.Second)
		answer, _ := b.call(t, in, "GetCommandInvocation", request{"CommandId": id, "InstanceId": in.Host.ID})
		if answer["Status"] != "InProgress" || answer["ResponseCode"] != -1.0 || answer["StandardOutputContent"] != "" {
			t.Errorf("while it runs: %v", answer)
		}
		answer = b.result(t, in, id, time.Minute)
		if answer["Status"] != "Failed" || answer["ResponseCode"] != 3.0 || !strings.HasPrefix(answer["StandardOutputContent"].(string), "0\n/") ||
			answer["StandardErrorContent"] != "oops\nfailed to run commands: exit status 3" {
			t.Errorf("at its end: %v", answer)
		}
		id = b.send(t, in, `i=0; while [ $i -lt 2000 ]; do echo "a line of text with ä in it"; i=$((i+1)); done; touch /root/was-here`, request{"Comment": "much"})
		answer = b.result(t, in, id, time.Minute)
		if n := len([]rune(answer["StandardOutputContent"].(string))); answer["Status"] != "Success" || n != 24000 {
			t.Errorf("much output: %v, %d characters", answer["Status"], n)
		}
		list, _ := b.call(t, in, "ListCommandInvocations", request{"CommandId": id, "Details": true})
		plugins := list["CommandInvocations"].([]any)[0].(map[string]any)["CommandPlugins"].([]any)
		if n := len([]rune(plugins[0].(map[string]any)["Output"].(string))); n != 2500 {
			t.Errorf("the list shows %d characters", n)
		}
		if out, _, _ := shell(t, b.hosts, in, "root", "ls /root/was-here"); out != "/root/was-here\n" {
			t.Error("the script left nothing on the machine")
		}
		list, _ = b.call(t, in, "ListCommands", request{"Filters": []map[string]string{{"key": "Status", "value": "Failed"}}})
		if n := len(list["Commands"].([]any)); n != 1 {
			t.Errorf("%d failed commands", n)
		}
	})
}

func TestRunCommandRefuses(t *testing.T) {
	withCommands(t, func(t *testing.T, b *commandWorld) {
		in := b.online(t)
		offline := findInstance(t, b.World, "host of the account that is offline", func(o *simfleet.Instance) bool { return o.Region == in.Region && !b.Online(o) })
		good := map[string][]string{"commands": {"true"}}
		for _, c := range []struct {
			want string
			r    request
		}{
			{"InvalidInstanceId", request{"InstanceIds": []string{in.Host.ID, offline.Host.ID}, "DocumentName": "AWS-RunShellScript", "Parameters": good}},
			{"InvalidInstanceId", request{"InstanceIds": []string{"i-0123456789abcdef0"}, "DocumentName": "AWS-RunShellScript", "Parameters": good}},
			{"InvalidDocument", request{"InstanceIds": []string{in.Host.ID}, "DocumentName": "AWS-StartSSHSession"}},
			{"InvalidParameters", request{"InstanceIds": []string{in.Host.ID}, "DocumentName": "AWS-RunShellScript"}},
			{"InvalidParameters", request{"InstanceIds": []string{in.Host.ID}, "DocumentName": "AWS-RunShellScript", "Parameters": map[string][]string{"commands": {"true"}, "x": {"y"}}}},
			{"DuplicateInstanceId", request{"InstanceIds": []string{in.Host.ID, in.Host.ID}, "DocumentName": "AWS-RunShellScript", "Parameters": good}},
			{"ValidationException", request{"InstanceIds": []string{in.Host.ID}, "DocumentName": "AWS-RunShellScript", "Parameters": good, "TimeoutSeconds": 5}},
		} {
			if _, code := b.call(t, in, "SendCommand", c.r); code != c.want {
				t.Errorf("%v: %q, want %s", c.r, code, c.want)
			}
		}
		if list, _ := b.call(t, in, "ListCommands", request{}); len(list["Commands"].([]any)) != 0 {
			t.Errorf("a refused command is listed: %v", list)
		}
	})
}

// TestRunCommandCutOff checks what becomes of a command when something happens
// to the agent or the machine in its middle.
func TestRunCommandCutOff(t *testing.T) {
	for _, c := range []struct {
		name, script     string
		happens          func(b *commandWorld, in *simfleet.Instance)
		status, details  string
		code             float64
		output, patience string
	}{
		{name: "the agent restarts", script: "systemctl restart amazon-ssm-agent 2>/dev/null || systemctl restart snap.amazon-ssm-agent.amazon-ssm-agent\nsleep 5\necho end", status: "Success", details: "Success", output: "end\n"},
		{name: "reboot", script: "sleep 60\necho end", happens: func(b *commandWorld, in *simfleet.Instance) { b.Reboot(in) }, status: "Failed", details: "Failed", code: 1},
		{name: "too long", script: "sleep 700", status: "TimedOut", details: "Execution Timed Out", code: -1},
		{name: "the channel dies first", script: "sleep 5", happens: func(_ *commandWorld, in *simfleet.Instance) { in.Agent.Running = false }, status: "TimedOut", details: "Delivery Timed Out", code: -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			withCommands(t, func(t *testing.T, b *commandWorld) {
				in := b.online(t)
				id := b.send(t, in, c.script, request{"TimeoutSeconds": 60})
				if c.name != "the channel dies first" {
					time.Sleep(10 * time.Second)
				}
				if c.happens != nil {
					b.Mu.Lock()
					c.happens(b, in)
					b.Mu.Unlock()
				}
				answer := b.result(t, in, id, time.Hour)
				if answer["Status"] != c.status || answer["StatusDetails"] != c.details || answer["ResponseCode"] != c.code || answer["StandardOutputContent"] != c.output {
					t.Errorf("%v", answer)
				}
			})
		})
	}
}

func TestCancelCommand(t *testing.T) {
	withCommands(t, func(t *testing.T, b *commandWorld) {
		in := b.online(t)
		id := b.send(t, in, "sleep 300\ntouch /root/end", nil)
		time.Sleep(10 * time.Second)
		if _, code := b.call(t, in, "CancelCommand", request{"CommandId": id}); code != "" {
			t.Fatal(code)
		}
		if answer := b.result(t, in, id, 20*time.Second); answer["Status"] != "Cancelled" {
			t.Errorf("%v", answer)
		}
		time.Sleep(10 * time.Minute)
		if out, _, _ := shell(t, b.hosts, in, "root", "ls /root"); strings.Contains(out, "end") {
			t.Error("the script went on")
		}
	})
}

// TestRunCommandByTargets runs on many nodes with few at once, and stops after
// the failures that the command allows.
func TestRunCommandByTargets(t *testing.T) {
	withCommands(t, func(t *testing.T, b *commandWorld) {
		in := b.online(t)
		r := request{"InstanceIds": nil, "Targets": []map[string]any{{"Key": "InstanceIds", "Values": []string{"*"}}}, "MaxConcurrency": "1", "MaxErrors": "1", "TimeoutSeconds": 30}
		id := b.send(t, in, "exit 1", r)
		time.Sleep(3 * time.Hour)
		list, _ := b.call(t, in, "ListCommandInvocations", request{"CommandId": id})
		count := map[any]int{}
		for _, v := range list["CommandInvocations"].([]any) {
			count[v.(map[string]any)["StatusDetails"]]++
		}
		if count["Failed"] != 2 || count["Terminated"] == 0 {
			t.Errorf("invocations: %v", count)
		}
		list, _ = b.call(t, in, "ListCommands", request{"CommandId": id})
		if cmd := list["Commands"].([]any)[0].(map[string]any); cmd["Status"] != "Failed" {
			t.Errorf("command: %v", cmd["Status"])
		}
	})
}
