package simfleet_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

// plainPreferences are preferences of which nothing keeps a session from
// opening; inputs change them.
func plainPreferences(t *testing.T, inputs map[string]any) string {
	t.Helper()
	in := map[string]any{"s3BucketName": "", "s3EncryptionEnabled": false, "cloudWatchLogGroupName": "", "cloudWatchEncryptionEnabled": false, "kmsKeyId": "", "runAsEnabled": false, "idleSessionTimeout": "20"}
	for k, v := range inputs {
		in[k] = v
	}
	b, err := json.Marshal(map[string]any{"schemaVersion": "1.0", "sessionType": "Standard_Stream", "inputs": in})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func healthySessions(t *testing.T, inputs map[string]any, o simfleet.AWSOptions) *sessionWorld {
	t.Helper()
	w := generate(t, simfleet.Options{Healthy: true, Instances: 12})
	if inputs != nil {
		w.Accounts[0].Regions[0].Preferences = plainPreferences(t, inputs)
	}
	return serveSessions(t, w, o)
}

// prefer changes the Region's preferences.
func (s *sessionWorld) prefer(t *testing.T, inputs map[string]any) {
	t.Helper()
	s.w.Mu.Lock()
	defer s.w.Mu.Unlock()
	s.rg.Preferences = plainPreferences(t, inputs)
}

func anyHost(*simfleet.Instance) bool { return true }

func TestShell(t *testing.T) {
	s := healthySessions(t, map[string]any{}, simfleet.AWSOptions{})
	debian := func(in *simfleet.Instance) bool { return in.OS.Family == "debian" || in.OS.Family == "ubuntu" }
	p := s.operator().open(t, s.sound(t, debian).Host.ID, "", nil)
	// What is typed ahead is echoed before the prompt.
	prompted := func(keys string) {
		p.wait("the prompt", func() bool { return strings.HasSuffix(p.out.String(), "$ ") })
		p.typed(keys)
	}
	prompted("echo one; false\r")
	p.prints("$ echo one; false\r\none\r\n$ ")
	prompted("echo status $?\n")
	p.prints("status 1\r\n")
	prompted("f() {\necho in f\n}\nf\n")
	p.prints("\r\n> > $ in f\r\n$ ")
	prompted("cat <<E\nhere $HOME\nE\n")
	p.prints("> > here /home/ssm-user\r\n$ ")
	prompted("stty -echo; echo quiet now\n")
	p.prints("\r\nquiet now\r\n")
	prompted("echo silent; stty echo; echo loud again\n")
	p.prints("$ silent\r\nloud again\r\n")
	prompted("echo wrongx\x7f\r")
	p.prints("echo wrongx\b \b\r\nwrong\r\n")
	p.send(3, []byte(`{"cols":132,"rows":43}`))
	prompted("stty size\r")
	p.prints("\r\n43 132\r\n")
	prompted("sleep 1000000\r")
	p.prints("sleep 1000000\r\n")
	p.typed("\x03")
	p.prints("^C\r\n$ ")
	prompted("unfinished\x03")
	p.prints("unfinished^C\r\n$ ")
	prompted("fi\n")
	p.prints("sh: ")
	prompted(strings.Repeat("x", 5000))
	p.wait("the bell", func() bool { return strings.Contains(p.out.String(), "\a") })
	p.typed("\x15sudo id -un\r")
	p.prints("\r\nroot\r\n")
	p.typed("\x04")
	if out := p.ends(); out != "" {
		t.Errorf("the end says %q", out)
	}
	if p.agent != "" {
		t.Error("a plain shell makes a handshake")
	}
}

func TestDataChannelSurvivesLosses(t *testing.T) {
	for name, faults := range map[string]*simfleet.FrameFaults{
		"drop": {
			ToClient: every(3, simfleet.FrameDrop), ToAgent: every(4, simfleet.FrameDrop)},
		"twice":   {ToClient: every(2, simfleet.FrameTwice), ToAgent: every(2, simfleet.FrameTwice)},
		"reorder": {ToClient: every(2, simfleet.FrameLater), ToAgent: every(3, simfleet.FrameLater)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := healthySessions(t, nil, simfleet.AWSOptions{Frames: faults})
			p := s.operator().open(t, s.sound(t, anyHost).Host.ID, "", nil)
			p.prints("$ ")
			// What is typed ahead is echoed in the middle of what a command prints.
			p.typed("stty -echo; echo quiet now\r")
			p.prints("\r\nquiet now\r\n")
			want := ""
			for i := range 6 {
				p.typed(fmt.Sprintf("echo a%d", i))
				p.typed(fmt.Sprintf("b%d\r", i))
				want += fmt.Sprintf("a%db%d;", i, i)
			}
			p.typed("i=0; while [ $i -lt 120 ]; do echo line $i of many that fill several messages; i=$((i+1)); done; echo done\r")
			p.prints("\r\ndone\r\n")
			got := ""
			n := 0
			for line := range strings.SplitSeq(p.printed(), "\r\n") {
				line = line[strings.LastIndex(line, "$ ")+1:]
				line = strings.TrimPrefix(line, " ")
				if strings.HasPrefix(line, "a") {
					got += line + ";"
				}
				if strings.HasPrefix(line, fmt.Sprintf("line %d of", n)) {
					n++
				}
			}
			if got != want || n != 120 {
				t.Errorf("got %q and %d lines, want %q and 120", got, n, want)
			}
			p.typed("exit\r")
			p.ends()
		})
	}
}

func every(n int, f simfleet.FrameFault) func(int, string) simfleet.FrameFault {
	return func(i int, _ string) simfleet.FrameFault {
		if i%n == n-1 {
			return f
		}
		return simfleet.FramePasses
	}
}

func TestResumeSession(t *testing.T) {
	outputs := 0
	cut := func(_ int, kind string) simfleet.FrameFault {
		if kind == "output_stream_data" {
			if outputs++; outputs == 2 {
				return simfleet.FrameCut
			}
		}
		return simfleet.FramePasses
	}
	s := healthySessions(t, map[string]any{}, simfleet.AWSOptions{Frames: &simfleet.FrameFaults{ToClient: cut}})
	c := s.operator()
	p := c.open(t, s.sound(t, anyHost).Host.ID, "", nil)
	p.prints("$ ")
	p.typed("x=kept; echo first\r")
	p.wait("the break", func() bool { return p.broken == 1 })
	var resumed started
	if refusal := c.call(t, "ssm", "AmazonSSM.ResumeSession", map[string]string{"SessionId": p.s.SessionID}, &resumed); refusal != "" || resumed.TokenValue == "" || resumed.TokenValue == p.s.TokenValue {
		t.Fatalf("%s %+v", refusal, resumed)
	}
	p.connect(resumed.TokenValue)
	p.prints("first\r\n")
	p.typed("echo $x\r")
	p.prints("kept\r\n")
	if n := strings.Count(p.printed(), "first\r\n"); n != 2 { // the echo and the output
		t.Errorf("%d times first: %q", n, p.printed())
	}
	p.typed("exit\r")
	p.ends()
	if refusal := c.call(t, "ssm", "AmazonSSM.ResumeSession", map[string]string{"SessionId": p.s.SessionID}, &resumed); refusal != "" {
		t.Error(refusal)
	}
	resumed = started{}
	if _ = c.call(t, "ssm", "AmazonSSM.ResumeSession", map[string]string{"SessionId": p.s.SessionID}, &resumed); resumed.TokenValue != "" {
		t.Error("a session that is over has a token")
	}
	if refusal := c.call(t, "ssm", "AmazonSSM.TerminateSession", map[string]string{"SessionId": "none"}, &resumed); !strings.HasPrefix(refusal, "DoesNotExistException: ") {
		t.Error(refusal)
	}
}

func TestStartSessionRefuses(t *testing.T) {
	s := healthySessions(t, nil, simfleet.AWSOptions{})
	web := s.sound(t, func(in *simfleet.Instance) bool { return in.Host.Tags["team"] == "web" })
	platform := s.sound(t, func(in *simfleet.Instance) bool { return in.Host.Tags["team"] == "platform" })
	port := func(v ...string) map[string][]string { return map[string][]string{"portNumber": v} }
	for name, c := range map[string]struct {
		by         string
		target     string
		document   string
		parameters map[string][]string
		want       string
	}{
		"another team's host":    {"alice", platform.Host.ID, "", nil, "AccessDeniedException: User: arn:aws:iam::" + s.w.Accounts[0].ID + ":user/alice is not authorized to perform: ssm:StartSession on resource: arn:aws:ec2:"},
		"a document not granted": {"alice", web.Host.ID, "AWS-StartSSHSession", nil, "document/AWS-StartSSHSession because"},
		"no such host":           {"", "i-0123456789abcdef0", "", nil, "TargetNotConnected: i-0123456789abcdef0 is not connected."},
		"no such document":       {"", web.Host.ID, "Corp-None", nil, "InvalidDocument: Document with name Corp-None does not exist."},
		"a command document":     {"", web.Host.ID, "AWS-RunShellScript", nil, "InvalidDocument: Document type: 'Command' is not supported."},
		"a port out of range":    {"", web.Host.ID, "AWS-StartSSHSession", port("70000"), `InvalidParameters: Parameter "portNumber" does not match`},
		"two values":             {"", web.Host.ID, "AWS-StartSSHSession", port("22", "23"), `InvalidParameters: Parameter "portNumber" takes one`},
		"an unknown parameter":   {"", web.Host.ID, "AWS-StartSSHSession", map[string][]string{"host": {"x"}}, `InvalidParameters: Parameter "host" is not defined`},
		"a missing parameter":    {"", web.Host.ID, "AWS-StartNonInteractiveCommand", nil, `InvalidParameters: Parameter "command" is required`},
		"no target":              {"", "", "", nil, "ValidationException: "},
	} {
		t.Run(name, func(t *testing.T) {
			got, refusal := s.as(cmp.Or(c.by, "operator")).start(t, c.target, c.document, c.parameters)
			if !strings.Contains(refusal, c.want) || got.TokenValue != "" {
				t.Errorf("got %q, want %q", refusal, c.want)
			}
		})
	}
	if _, refusal := s.as("alice").start(t, web.Host.ID, "", nil); refusal != "" {
		t.Errorf("alice may have a shell on %s: %s", web.Host.ID, refusal)
	}
}

// TestSessionTroubles checks what people see of a session that starts and does
// not work.
func TestSessionTroubles(t *testing.T) {
	for name, c := range map[string]struct {
		inputs map[string]any // nil: the healthy world's
		by     string
		change func(rg *simfleet.Region)
		want   string
	}{
		"no right to the key, operator": {by: "operator-without-key", want: "----------ERROR-------\nEncountered error while initiating handshake. KMSEncryption failed on client with status 2 error: AccessDeniedException: "},
		"no right to the key, host": {change: func(rg *simfleet.Region) {
			for _, k := range rg.Keys {
				k.Policy = fleet.Known(`{"Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"kms:GenerateDataKey","Resource":"*"}]}`, "", noon)
			}
		}, want: "Fetching data key failed: Unable to retrieve data key, Error when decrypting data key AccessDeniedException: "},
		"key disabled": {change: func(rg *simfleet.Region) {
			for _, k := range rg.Keys {
				k.State = "Disabled"
			}
		}, want: "KMSEncryption failed on client with status 2 error: DisabledException: "},
		"log group not encrypted": {change: func(rg *simfleet.Region) {
			for _, g := range rg.LogGroups {
				g.Key = ""
			}
		}, want: "We couldn't start the session because encryption is not set up on the selected CloudWatch Logs log group."},
		"bucket gone": {inputs: map[string]any{"s3BucketName": "gone", "s3EncryptionEnabled": true}, want: "Couldn't start the session because we are unable to validate encryption on Amazon S3 bucket."},
		"no such user": {inputs: map[string]any{"runAsEnabled": true, "runAsDefaultUser": "nobody-here"},
			want: "----------ERROR-------\nUnable to start command: failed to start pty since RunAs user nobody-here does not exist\n"},
		"root":           {inputs: map[string]any{"runAsEnabled": true, "runAsDefaultUser": "root"}, want: "Unable to start command: invalid uid and gid"},
		"no user at all": {inputs: map[string]any{"runAsEnabled": true}, want: "please set the RunAs default user"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := healthySessions(t, nil, simfleet.AWSOptions{})
			a := s.w.Accounts[0]
			a.Users = append(a.Users, &fleet.IAMUser{Name: "operator-without-key", ARN: "arn:aws:iam::" + a.ID + ":user/operator-without-key",
				Inline: map[string]string{"p": `{"Statement":[{"Effect":"Allow","Action":["ssm:*","ssmmessages:*"],"Resource":"*"}]}`}})
			in := s.sound(t, anyHost)
			if c.inputs != nil {
				s.prefer(t, c.inputs)
			}
			if c.change != nil {
				c.change(in.Region)
			}
			p := s.as(cmp.Or(c.by, "operator")).open(t, in.Host.ID, "", nil)
			if out := p.ends(); !strings.Contains(out, c.want) {
				t.Errorf("the end says %q, want %q", out, c.want)
			}
		})
	}
}

func TestSessionLogs(t *testing.T) {
	s := healthySessions(t, nil, simfleet.AWSOptions{})
	c := s.operator()
	in := s.sound(t, anyHost)
	p := c.open(t, in.Host.ID, "", nil)
	p.prints("$ ")
	if p.typed("echo in the log\r"); p.greet != "This session is encrypted using AWS KMS." {
		t.Errorf("the handshake ends with %q", p.greet)
	}
	p.prints("\r\nin the log\r\n")
	p.typed("exit\r")
	p.ends()
	var streams struct {
		LogStreams []struct {
			Name string `json:"logStreamName"`
		}
	}
	group := map[string]string{"logGroupName": "/ssm/sessions", "logStreamNamePrefix": p.s.SessionID}
	if refusal := c.call(t, "logs", "Logs_20140328.DescribeLogStreams", group, &streams); refusal != "" || len(streams.LogStreams) != 1 {
		t.Fatalf("%s %+v", refusal, streams)
	}
	var events struct{ Events []struct{ Message string } }
	if refusal := c.call(t, "logs", "Logs_20140328.GetLogEvents", map[string]string{"logGroupName": "/ssm/sessions", "logStreamName": p.s.SessionID}, &events); refusal != "" {
		t.Fatal(refusal)
	}
	if !slices.ContainsFunc(events.Events, func(e struct{ Message string }) bool { return e.Message == "in the log" }) {
		t.Errorf("the log is %+v", events)
	}
	var none struct{}
	if refusal := c.call(t, "logs", "Logs_20140328.DescribeLogStreams", map[string]string{"logGroupName": "none"}, &none); !strings.HasPrefix(refusal, "ResourceNotFoundException") {
		t.Error(refusal)
	}
}

func TestSessionLogObject(t *testing.T) {
	for name, allowed := range map[string]bool{"allowed": true, "not allowed": false} {
		t.Run(name, func(t *testing.T) {
			s := healthySessions(t, map[string]any{"s3BucketName": "session-logs", "s3KeyPrefix": "eu/logs"}, simfleet.AWSOptions{})
			a := s.w.Accounts[0]
			s.rg.Buckets = append(s.rg.Buckets, &fleet.Bucket{Name: "session-logs", Exists: true, Region: s.rg.Name})
			in := s.sound(t, func(in *simfleet.Instance) bool { return s.w.AgentEgress(in, "s3").TLS })
			if allowed {
				for _, r := range a.Roles {
					r.Inline = map[string]string{"s3": `{"Statement":[{"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::session-logs/eu/logs/*"}]}`}
				}
			}
			p := s.operator().open(t, in.Host.ID, "AWS-StartInteractiveCommand", map[string][]string{"command": {"echo into the bucket"}})
			p.prints("into the bucket\r\n")
			p.ends()
			key := "/session-logs/eu/logs/" + p.s.SessionID + ".log"
			want := map[string]int{"GET /session-logs?list-type=2&prefix=eu/": 200, "HEAD " + key: 404, "GET " + key: 404}
			if allowed {
				want["HEAD "+key], want["GET "+key] = 200, 200
			}
			for request, status := range want {
				method, path, _ := strings.Cut(request, " ")
				r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+simfleet.AccessKey(a.ID)+"/20261121/"+s.rg.Name+"/s3/aws4_request, SignedHeaders=host, Signature=0")
				answer, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(answer.Body)
				_ = answer.Body.Close()
				if answer.StatusCode != status {
					t.Errorf("%s: %d %s", request, answer.StatusCode, body)
				}
				if strings.Contains(path, "list") && strings.Contains(string(body), "<Key>"+strings.TrimPrefix(key, "/session-logs/")+"</Key>") != allowed {
					t.Errorf("the list is %s", body)
				}
				if method == "GET" && status == 200 && !strings.Contains(path, "list") && string(body) != "into the bucket\r\n" {
					t.Errorf("the object is %q", body)
				}
			}
		})
	}
}

func TestSessionUsers(t *testing.T) {
	s := healthySessions(t, map[string]any{}, simfleet.AWSOptions{})
	in := s.sound(t, anyHost)
	s.w.Mu.Lock()
	in.Machine.SSMUser = simfleet.SSMUserAbsent
	s.w.Mu.Unlock()
	command := func(by, line string) string {
		p := s.as(by).open(t, in.Host.ID, "AWS-StartInteractiveCommand", map[string][]string{"command": {line}})
		end := p.ends()
		return p.printed() + end
	}
	if out := command("operator", "id -un; sudo -n id -un"); out != "ssm-user\r\nroot\r\n" {
		t.Errorf("the first session: %q", out)
	}
	a := s.w.Accounts[0]
	a.Users = append(a.Users, &fleet.IAMUser{Name: "tagged", ARN: "arn:aws:iam::" + a.ID + ":user/tagged", Tags: map[string]string{"SSMSessionRunAs": in.OS.User},
		Inline: map[string]string{"p": `{"Statement":[{"Effect":"Allow","Action":["ssm:*","ssmmessages:*"],"Resource":"*"}]}`}})
	s.prefer(t, map[string]any{"runAsEnabled": true, "runAsDefaultUser": simfleet.OperatorUser})
	if out := command("operator", "id -un"); out != simfleet.OperatorUser+"\r\n" {
		t.Errorf("the document's user: %q", out)
	}
	if out := command("tagged", "id -un"); out != in.OS.User+"\r\n" {
		t.Errorf("the tag's user: %q", out)
	}
}

func TestNonInteractiveCommand(t *testing.T) {
	s := healthySessions(t, map[string]any{}, simfleet.AWSOptions{})
	s.rg.Documents = append(s.rg.Documents, &fleet.SessionDocument{Name: "Corp-Apart", Owner: s.w.Accounts[0].ID, Content: fleet.Known(
		`{"schemaVersion":"1.0","sessionType":"NonInteractiveCommands","parameters":{"what":{"type":"String","allowedValues":["one","two"]}},"properties":{"linux":{"commands":"sh -c 'echo {{ what }}; echo bad >&2; exit 7'","runAsElevated":true,"separateOutputStream":"True"}}}`, "", noon)})
	p := s.operator().open(t, s.sound(t, anyHost).Host.ID, "Corp-Apart", map[string][]string{"what": {"two"}})
	if end := p.ends(); end != "" || p.out.String() != "two\n" || p.stderr.String() != "bad\n" || p.exit != "EXIT_CODE: 7" {
		t.Errorf("%q, %q, %q, %q", end, p.out.String(), p.stderr.String(), p.exit)
	}
	if _, refusal := s.operator().start(t, p.target(), "Corp-Apart", map[string][]string{"what": {"three"}}); !strings.HasPrefix(refusal, "InvalidParameters") {
		t.Error(refusal)
	}
}

// TestPlainPorts checks port sessions that are not multiplexed: SSH's, and all
// of old agents.
func TestPlainPorts(t *testing.T) {
	s := healthySessions(t, map[string]any{}, simfleet.AWSOptions{})
	in := s.sound(t, anyHost)
	set := func(version string) {
		s.w.Mu.Lock()
		defer s.w.Mu.Unlock()
		in.Agent.Version = version
	}
	port := func(n string) map[string][]string { return map[string][]string{"portNumber": {n}} }
	p := s.operator().open(t, in.Host.ID, "AWS-StartSSHSession", nil)
	p.prints("SSH-2.0-" + in.OS.SSHDBuild)
	p.send(10, []byte{0, 0, 0, 2})
	p.ends()
	if out := s.operator().open(t, in.Host.ID, "AWS-StartSSHSession", port("23")).ends(); !strings.HasPrefix(out, "Unable to connect to specified port: dial tcp 127.0.0.1:23: connect: connection refused") {
		t.Errorf("the end says %q", out)
	}
	set("2.3.1000.0")
	p = s.operator().open(t, in.Host.ID, "AWS-StartPortForwardingSession", port("8080"))
	p.wait("the handshake", func() bool { return p.agent == "2.3.1000.0" })
	for range 2 {
		p.mu.Lock()
		p.out.Reset()
		p.mu.Unlock()
		p.typed("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		p.prints(in.Hostname)
		p.send(10, []byte{0, 0, 0, 1}) // the client's connection is over
	}
	p.send(10, []byte{0, 0, 0, 2})
	p.ends()
	set("2.3.600.0")
	if out := s.operator().open(t, in.Host.ID, "AWS-StartPortForwardingSession", port("8080")).ends(); !strings.HasPrefix(out, "Plugin with name Port is not supported by this version of ssm agent") {
		t.Errorf("the end says %q", out)
	}
	set("3.1.1188.0")
	if _, refusal := s.operator().start(t, in.Host.ID, "AWS-StartPortForwardingSessionToRemoteHost", map[string][]string{"host": {"10.0.0.1"}}); !strings.HasPrefix(refusal, "BadRequest: ") {
		t.Error(refusal)
	}
}

// TestRemotePorts follows port sessions to other hosts over the world's network.
func TestRemotePorts(t *testing.T) {
	w := generate(t, simfleet.Options{Healthy: true, Instances: 12})
	s := serveSessions(t, w, simfleet.AWSOptions{Hosts: simfleet.NewHosts(w, simfleet.HostOptions{TimeScale: -1})})
	s.rg.Documents = append(s.rg.Documents, &fleet.SessionDocument{Name: "Corp-Remote", Owner: s.w.Accounts[0].ID, Content: fleet.Known(
		`{"schemaVersion":"1.0","sessionType":"Port","parameters":{"host":{"type":"String"},"portNumber":{"type":"String"}},"properties":{"portNumber":"{{ portNumber }}","host":"{{ host }}"}}`, "", noon)})
	var from, to *simfleet.Instance
	for _, a := range s.rg.Instances {
		for _, b := range s.rg.Instances {
			if a != b && s.w.ServesSessions(a) && s.w.CanReach(simfleet.Origin{Instance: a}, b, b.Host.PrivateIP, 22).OK {
				from, to = a, b
			}
		}
	}
	if from == nil {
		t.Fatal("no host reaches another's port 22")
	}
	open := func(host, port string) *peer {
		return s.operator().open(t, from.Host.ID, "Corp-Remote", map[string][]string{"host": {host}, "portNumber": {port}})
	}
	for _, name := range []string{to.Host.PrivateIP.String(), to.Host.PrivateDNS} {
		if name == to.Host.PrivateDNS && from.Host.VPC != to.Host.VPC {
			continue
		}
		open(name, "22").prints("SSH-2.0-" + to.OS.SSHDBuild)
	}
	s.w.Mu.Lock()
	for _, g := range s.rg.Groups {
		g.Ingress = nil
	}
	from.Agent.Version = "3.3.4851.0"
	s.w.Mu.Unlock()
	for host, want := range map[string]string{
		to.Host.PrivateIP.String(): "connect: connection timed out", "169.254.169.254": "Forwarding to IP address 169.254.169.254 is forbidden.",
		"localhost": "Forwarding to IP address 127.0.0.1 is forbidden.", "none.example": "Unable to resolve host none.example",
	} {
		if out := open(host, "22").ends(); !strings.Contains(out, want) {
			t.Errorf("%s: the end says %q, want %q", host, out, want)
		}
	}
	s.w.Mu.Lock()
	from.Agent.Version = "3.3.1000.0"
	s.w.Mu.Unlock()
	open("127.0.0.1", "22").prints("SSH-2.0-" + from.OS.SSHDBuild) // agents before the fix forward it
}

func TestDataChannelWantsItsToken(t *testing.T) {
	s := healthySessions(t, map[string]any{}, simfleet.AWSOptions{})
	got, refusal := s.operator().start(t, s.sound(t, anyHost).Host.ID, "", nil)
	if refusal != "" {
		t.Fatal(refusal)
	}
	if !strings.HasPrefix(got.StreamURL, "ws://"+strings.TrimPrefix(s.url, "http://")+"/v1/data-channel/"+got.SessionID) {
		t.Errorf("the stream is at %s", got.StreamURL)
	}
	for _, first := range []string{`{"TokenValue":"wrong"}`, `{}`, `no JSON`} {
		conn, _, err := websocket.Dial(t.Context(), got.StreamURL, nil) //nolint:bodyclose // the library's
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(first)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
			t.Errorf("%s: %v", first, err)
		}
	}
	if _, r, err := websocket.Dial(t.Context(), strings.Replace(got.StreamURL, got.SessionID, "none", 1), nil); err == nil || r.StatusCode != http.StatusNotFound { //nolint:bodyclose // the library's
		t.Errorf("a session that is none: %v", err)
	}
	a := s.w.Accounts[0]
	a.Users = append(a.Users, &fleet.IAMUser{Name: "old-policy", ARN: "arn:aws:iam::" + a.ID + ":user/old-policy", Inline: map[string]string{"p": `{"Statement":[{"Effect":"Allow","Action":"ssm:*","Resource":"*"}]}`}})
	got, refusal = s.as("old-policy").start(t, s.sound(t, anyHost).Host.ID, "", nil)
	if refusal != "" {
		t.Fatal(refusal)
	}
	if _, r, err := websocket.Dial(t.Context(), got.StreamURL, nil); err == nil || r.StatusCode != http.StatusForbidden { //nolint:bodyclose // the library's
		t.Errorf("without ssmmessages:OpenDataChannel: %v", err)
	}
}

// serveInBubble serves a healthy world on a clock and a network of the test's own.
func serveInBubble(t *testing.T, inputs map[string]any) *sessionWorld {
	t.Helper()
	w := generate(t, simfleet.Options{Healthy: true, Instances: 12, Now: time.Now})
	l := newPipeListener()
	transport := &http.Transport{DialContext: l.dial}
	s := &sessionWorld{w: w, hosts: simfleet.NewHosts(w, simfleet.HostOptions{}), rg: w.Accounts[0].Regions[0], url: "http://aws.test", patience: time.Hour, client: &http.Client{Transport: transport}}
	s.rg.Preferences = plainPreferences(t, inputs)
	server := &http.Server{Handler: simfleet.ServeAWS(w, simfleet.AWSOptions{Hosts: s.hosts})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() {
		s.hosts.Close()
		transport.CloseIdleConnections()
		_ = server.Close()
		time.Sleep(time.Second) // the peers' own timers
	})
	return s
}

// TestSessionLimits runs on a clock of its own.
func TestSessionLimits(t *testing.T) {
	for name, c := range map[string]struct {
		inputs map[string]any
		opened bool
		busy   bool
		stop   bool
		want   time.Duration
	}{
		"idle":         {inputs: map[string]any{"idleSessionTimeout": "3"}, opened: true, want: 3 * time.Minute},
		"longest":      {inputs: map[string]any{"idleSessionTimeout": "3", "maxSessionDuration": "10"}, opened: true, busy: true, want: 10 * time.Minute},
		"no client":    {inputs: map[string]any{}, want: time.Minute},
		"host is gone": {inputs: map[string]any{}, opened: true, stop: true, want: 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serveInBubble(t, c.inputs)
				by := s.operator()
				in := s.sound(t, anyHost)
				begin := time.Now()
				if c.opened {
					p := by.open(t, in.Host.ID, "", nil)
					p.prints("$ ")
					for c.busy && time.Since(begin) < c.want-time.Second {
						p.typed(":\r")
						time.Sleep(time.Minute)
					}
					if c.stop {
						time.Sleep(c.want)
						s.w.Mu.Lock()
						in.Host.State = "stopping"
						s.w.Mu.Unlock()
						time.Sleep(2 * time.Second)
					}
					p.ends()
					if p.paused != c.stop {
						t.Errorf("paused: %v", p.paused)
					}
				} else if _, refusal := by.start(t, in.Host.ID, "", nil); refusal != "" {
					t.Fatal(refusal)
				}
				time.Sleep(2*time.Second + max(0, c.want-time.Since(begin)))
				synctest.Wait()
				s.w.Mu.RLock()
				defer s.w.Mu.RUnlock()
				m := s.rg.ManagedSessions[len(s.rg.ManagedSessions)-1]
				if took := m.End.Sub(m.Start); m.Status != "Terminated" || took < c.want || took > c.want+5*time.Second {
					t.Errorf("%s after %s", m.Status, took)
				}
			})
		})
	}
}

func TestRebootEndsSessions(t *testing.T) {
	s := healthySessions(t, map[string]any{}, simfleet.AWSOptions{})
	in := s.sound(t, anyHost)
	p := s.operator().open(t, in.Host.ID, "", nil)
	p.prints("$ ")
	s.w.Mu.Lock()
	s.w.Reboot(in)
	s.w.Mu.Unlock()
	if out := p.ends(); out != "" || !p.paused {
		t.Errorf("the end says %q, paused: %v", out, p.paused)
	}
	if _, refusal := s.operator().start(t, in.Host.ID, "", nil); !strings.HasPrefix(refusal, "TargetNotConnected: ") {
		t.Error(refusal)
	}
}

// TestBlankScreen checks a session whose log has no way to where it should go:
// nothing shows until the agent gives up on it.
func TestBlankScreen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveInBubble(t, map[string]any{"cloudWatchLogGroupName": "/ssm/sessions"})
		in := s.sound(t, func(in *simfleet.Instance) bool { return s.w.AgentEgress(in, "logs").Endpoint != "" })
		s.w.Mu.Lock()
		s.rg.Endpoints = slices.DeleteFunc(slices.Clone(s.rg.Endpoints), func(e *fleet.VPCEndpoint) bool { return strings.HasSuffix(e.Service, ".logs") })
		blank := !s.w.AgentEgress(in, "logs").TLS && s.w.ServesSessions(in)
		s.w.Mu.Unlock()
		if !blank {
			t.Fatal("the host still reaches logs")
		}
		begin := time.Now()
		p := s.operator().open(t, in.Host.ID, "", nil)
		p.prints("$ ")
		if waited := time.Since(begin); waited < 2*time.Second { // two minutes at the scale of simulated waits
			t.Errorf("the prompt came after %s", waited)
		}
		p.typed("exit\r")
		p.ends()
		if len(s.rg.SessionLogs) != 0 {
			t.Error("the log arrived")
		}
	})
}
