package simfleet

import (
	"fmt"
	"strings"
	"time"
)

// agentLogLine is one message of the agent.
type agentLogLine struct {
	at    time.Time // host clock
	level string
	text  string
	where string // function and file, which errors.log adds
}

// agentLog is one of the agent's log files, in the form of its seelog.xml:
// errors.log has the errors only, and where they came from.
func (m *machine) agentLog(name string) []byte {
	var b strings.Builder
	for _, l := range m.agentLogLines() {
		stamp := l.at.Format("2006-01-02 15:04:05.0000")
		switch {
		case name != "errors.log":
			fmt.Fprintf(&b, "%s %s %s\n", stamp, l.level, l.text)
		case l.level == "ERROR":
			fmt.Fprintf(&b, "%s %s [%s] %s\n", stamp, l.level, l.where, l.text)
		}
	}
	return []byte(b.String())
}

// agentLogLines are the messages since the agent's start: the start itself,
// then what the model keeps it from. The wording is that of the agent's source
// (core/agent.go, credentialrefresher.go, ec2_role_provider.go,
// controlchannel.go, filewatcherchannel.go).
func (m *machine) agentLogLines() []agentLogLine {
	w := m.hosts.w
	w.Mu.RLock()
	defer w.Mu.RUnlock()
	started := m.Agent.Started.UTC().Add(m.Skew)
	if m.Agent.Started.IsZero() {
		return nil
	}
	l := &agentLogger{m: m, at: started}
	l.start()
	if m.Agent.Running {
		// Refused credentials are asked for again and again; a file holds the last of it.
		l.at = maxTime(started, m.clock().Add(-20*time.Minute))
		l.credentials()
		l.channel()
		l.sessions()
	} else if seen := m.Agent.LastSeen; !seen.IsZero() {
		l.at = seen.UTC().Add(m.Skew)
		l.add("INFO", "", "[amazon-ssm-agent] Got signal:terminated value:0x55d0c8d7a6a0")
		l.add("INFO", "", "[amazon-ssm-agent] Stopping Core Agent")
	}
	return l.lines
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

type agentLogger struct {
	m     *machine
	at    time.Time
	lines []agentLogLine
}

func (l *agentLogger) add(level, where, format string, args ...any) {
	l.lines = append(l.lines, agentLogLine{l.at, level, fmt.Sprintf(format, args...), where})
	l.at = l.at.Add(3 * time.Millisecond)
}

func (l *agentLogger) start() {
	a := l.m.Agent
	l.add("INFO", "", "Proxy environment variables:")
	for _, name := range []string{"https_proxy", "http_proxy", "no_proxy"} {
		l.add("INFO", "", "%s: %s", name, a.Proxy[name])
	}
	l.add("INFO", "", "Checking if agent identity type OnPrem can be assumed")
	identity := "OnPrem"
	if a.Registration == "" {
		identity = "EC2"
		l.add("INFO", "", "Checking if agent identity type EC2 can be assumed")
	}
	if reason := l.m.metadataReason(); reason != "" && identity == "EC2" {
		l.add("ERROR", "newAgentIdentityInner @ identity_selector.go.94", "Agent failed to assume any identity")
		l.add("ERROR", "NewAgentIdentity @ identity_selector.go.105", "failed to find identity, retrying: failed to find agent identity")
		return
	}
	l.add("INFO", "", "Agent will take identity from %s", identity)
	l.add("INFO", "", "[amazon-ssm-agent] amazon-ssm-agent - v%s", a.Version)
	arch := map[string]string{"arm64": "arm64"}[l.m.Host.Architecture]
	if arch == "" {
		arch = "amd64"
	}
	l.add("INFO", "", "[amazon-ssm-agent] OS: linux, Arch: %s", arch)
	l.add("INFO", "", "[amazon-ssm-agent] Starting Core Agent")
}

// credentials tells how the last attempt to get credentials went.
func (l *agentLogger) credentials() {
	m, w := l.m, l.m.hosts.w
	if m.Agent.Registration != "" || m.metadataReason() != "" {
		return
	}
	network := w.AgentEgress(m.inst, "ssm")
	_, refused := w.credentials(m.inst)
	sleeps := m.Agent.SleepsUntil.After(w.Now())
	switch {
	case !network.TLS:
		l.lastTry(shortSleep)
		l.retry("unexpected error getting instance profile role credentials or calling UpdateInstanceInformation. Skipping default host management fallback: "+
			"retrieved credentials failed to report to ssm. Error: RequestError: send request failed\ncaused by: Post \"https://"+network.Host+"/\": "+dialError(network), shortSleep)
	case m.Skew.Abs() > maxSkew:
		l.lastTry(shortSleep)
		l.retry("unexpected error getting instance profile role credentials or calling UpdateInstanceInformation. Skipping default host management fallback: "+
			"retrieved credentials failed to report to ssm. Error: InvalidSignatureException: Signature expired: "+m.clock().Format("20060102T150405Z")+" is now earlier than "+
			w.Now().UTC().Add(-maxSkew).Format("20060102T150405Z")+" ("+w.Now().UTC().Format("20060102T150405Z")+" - 5 min.)", shortSleep)
	case refused != "" || sleeps:
		l.refusal()
		sleep := 27*time.Minute + 43*time.Second
		if sleeps {
			l.at = m.Agent.SleepsUntil.UTC().Add(m.Skew).Add(-sleep)
		}
		l.retry("no valid credentials could be retrieved for ec2 identity. Default Host Management Err: error calling RequestManagedInstanceRoleToken: "+
			"AccessDeniedException: Systems Manager's instance management role is not configured for account: "+m.Region.Account.ID+"\n\tstatus code: 400, request id: 3f9b2c1e-7a44-4b0a-9f51-0d2c6b8e1a77", sleep)
	default:
		l.add("INFO", "", "[CredentialRefresher] credentialRefresher has started")
		l.add("INFO", "", "[CredentialRefresher] Starting credentials refresher loop")
		l.add("INFO", "", "EC2RoleProvider Successfully connected with instance profile role credentials")
		l.add("INFO", "", "[CredentialRefresher] Credentials ready")
	}
}

// lastTry moves on to the last of the tries that lie a sleep apart: the sleep
// after it is not over.
func (l *agentLogger) lastTry(sleep time.Duration) {
	if past := l.m.clock().Sub(l.at); past > sleep {
		l.at = l.m.clock().Add(-past % sleep)
	}
}

// refusal is why the profile's credentials did not do.
func (l *agentLogger) refusal() {
	m := l.m
	why := "EC2RoleRequestError: no EC2 instance role found\ncaused by: EC2MetadataError: failed to make EC2Metadata request"
	caller := m.Machine.RootCredentials
	if r := m.Region.Account.profileRole(m.Host.ProfileARN); caller == "" && r != nil {
		caller = "arn:aws:sts::" + m.Region.Account.ID + ":assumed-role/" + r.Name + "/" + m.Host.ID
	}
	if caller != "" {
		resource := "arn:aws:ec2:" + m.Region.Name + ":" + m.Region.Account.ID + ":instance/" + m.Host.ID
		why = "AccessDeniedException: User: " + caller + " is not authorized to perform: ssm:UpdateInstanceInformation on resource: " + resource +
			" because no identity-based policy allows the ssm:UpdateInstanceInformation action\n\tstatus code: 400, request id: 8c5f0c36-0f1a-4c53-9d4e-5a6f4a0f3f7e"
	}
	l.add("WARN", "", "EC2RoleProvider Failed to connect to Systems Manager with instance profile role credentials. Err: retrieved credentials failed to report to ssm. Error: %s", why)
}

// shortSleep is between two tries of an agent that was not refused.
const shortSleep = 5 * time.Minute

func (l *agentLogger) retry(err string, sleep time.Duration) {
	l.add("ERROR", "retrieveCredsWithRetry @ credentialrefresher.go.221", "[CredentialRefresher] Retrieve credentials produced error: %s", err)
	l.add("INFO", "", "[CredentialRefresher] Sleeping for %s before retrying retrieve credentials", sleep)
}

// dialError is the Go network library's word for what stops a connection.
func dialError(p PathResult) string {
	switch {
	case p.TCP:
		return "tls: failed to verify certificate: x509: certificate signed by unknown authority"
	case len(p.Addresses) == 0:
		return "dial tcp: lookup " + p.Host + ": no such host"
	}
	return "dial tcp " + p.Addresses[0].String() + ":443: i/o timeout"
}

// channel tells of the control channel.
func (l *agentLogger) channel() {
	m, w := l.m, l.m.hosts.w
	if w.OfflineReason(m.inst) != "" || versionLess(m.Agent.Version, firstWithSessions) {
		return
	}
	const prefix = "[ssm-agent-worker] [MessageService] [MGSInteractor] "
	l.add("INFO", "", prefix+"SSM Agent is trying to setup control channel for MGSInteractor")
	l.add("INFO", "", prefix+"Setting up websocket for controlchannel for instance: %s, requestId: 5e2d6a0b-93f5-4f1e-8f0b-7f2d1a5c9e10", m.Host.ID)
	network := w.AgentEgress(m.inst, "ssmmessages")
	url := "https://" + network.Host + "/v1/control-channel/" + m.Host.ID
	switch {
	case !network.TLS:
		l.token("Post \"" + url + "\": " + dialError(network))
	case w.serviceReason(m.inst, "ssmmessages", "ssmmessages:CreateControlChannel", "ssmmessages:OpenControlChannel") != "":
		l.token("createControlChannel request failed: unexpected response from the service <AccessDeniedException>\n  <Message>User is not authorized to perform: ssmmessages:CreateControlChannel</Message>\n</AccessDeniedException>")
	default:
		l.add("INFO", "", prefix+"Set up control channel successfully")
	}
}

func (l *agentLogger) token(err string) {
	l.add("ERROR", "getControlChannelToken @ controlchannel.go.91", "[ssm-agent-worker] [MessageService] [MGSInteractor] Failed to get controlchannel token, error: CreateControlChannel failed with error: %s", err)
}

// sessions tells what of the machine ended the last session before it began.
func (l *agentLogger) sessions() {
	m, w := l.m, l.m.hosts.w
	if w.connectionReason(m.inst) != "" {
		return
	}
	const prefix = "[ssm-agent-worker] [MessageService] [EngineProcessor] [OutOfProcExecuter] "
	const session = "alice-0a1b2c3d4e5f60718"
	folder := agentData + "/" + m.Host.ID + "/channels/" + session
	switch {
	case spent(m.filesystem(agentData)) != "":
		l.add("ERROR", "NewFileWatcherChannel @ filewatcherchannel.go.82", prefix+"failed to create directory: mkdir %s: no space left on device", folder)
		l.add("ERROR", "initialize @ master.go.196", prefix+"failed to create ipc channel: mkdir %s: no space left on device", folder)
	case m.Machine.InotifyUsed >= inotifyLimit:
		l.add("ERROR", "NewFileWatcherChannel @ filewatcherchannel.go.100", prefix+"filewatcher listener encountered error when start watcher: too many open files")
		l.add("ERROR", "initialize @ master.go.196", prefix+"failed to create ipc channel: too many open files")
	}
}
