package readiness

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// Where the agent and its sessions write. Source: AWS Systems Manager User
// Guide, ssm-agent-technical-details; amazon-ssm-agent, appconfig.
const (
	agentData = "/var/lib/amazon/ssm"
	agentLogs = "/var/log/amazon/ssm"
)

// practicallyFull is how many bytes free no session's files fit into.
const practicallyFull = 1 << 20

// health judges the machine under the agent: what of it stops the agent or a
// session although network and permissions are good.
func (j *judge) health() {
	if !j.h.Probe.Known {
		return
	}
	p := &j.h.Probe.Value
	if p.Health.Known {
		j.disks(p.Health)
		j.mounts(p.Health)
		j.inotify(p.Health)
		j.trustStore(p.Health)
	}
	j.sleep(p)
}

// holding finds the file system that holds a path; nil when none is known to.
func holding(all []fleet.Filesystem, path string) *fleet.Filesystem {
	var found *fleet.Filesystem
	for i := range all {
		f := &all[i]
		under := f.Mount == "/" || path == f.Mount || strings.HasPrefix(path, strings.TrimSuffix(f.Mount, "/")+"/")
		if under && (found == nil || len(f.Mount) >= len(found.Mount)) {
			found = f
		}
	}
	return found
}

// full reports whether a file system takes no more files; one without a size,
// as those of the kernel, never is.
func full(f *fleet.Filesystem) bool {
	return f.Size > 0 && f.Free < practicallyFull || f.Inodes > 0 && f.FreeInodes == 0
}

func (j *judge) disks(health fleet.Fact[fleet.Health]) {
	all := health.Value.Filesystems
	var stopped, spent, low []fleet.Evidence
	var room []string // what to free
	seen := map[string]bool{}
	for _, path := range []string{agentData, agentLogs, "/tmp", "/home"} {
		f := holding(all, path)
		if f == nil || seen[f.Mount] {
			continue
		}
		seen[f.Mount] = true
		fact := evidence(health, "%s, which holds %s, has %s of %s and %s free", quoted(f.Mount), path, size(f.Free), size(f.Size), inodes(f))
		agents := path == agentData || path == agentLogs
		switch {
		case slices.Contains(f.Options, "ro") && agents:
			stopped = append(stopped, evidence(health, "%s, which holds %s, is mounted read-only", quoted(f.Mount), path))
		case full(f) && agents:
			spent = append(spent, fact)
			room = append(room, toFree(f))
		case full(f), agents && j.below(f):
			low = append(low, fact)
		}
	}
	if stopped != nil {
		j.add("disk-read-only", j.h.ID, "", append(stopped, j.signs("read-only")...)...)
		j.sparesAgent("disk-read-only", "read-only")
	}
	if spent != nil {
		fix := strings.Join(room, "; ") + "; old folders under /var/lib/amazon/ssm/*/document/orchestration may go; enlarge the volume if it keeps filling, and keep a file to delete in need"
		if !j.heartbeat {
			fix += "; then restart the agent: " + j.restart()
		}
		j.add("disk-full", j.h.ID, fix, append(spent, j.signs("disk full")...)...)
		j.sparesAgent("disk-full", "disk full")
	}
	if low != nil {
		floor := stated(fmt.Sprintf("the floor is %s and %d inodes", size(j.policy.MinFree), j.policy.MinFreeInodes))
		j.add("disk-nearly-full", j.h.ID, "", append(low, floor)...)
	}
}

// sparesAgent notes that what is wrong with the machine did not stop the agent:
// there is none, or its unit was stopped and did not fail, and the end of its
// log does not speak of it. Sessions it would stop all the same.
func (j *judge) sparesAgent(code string, kinds ...string) {
	agent := j.h.Probe.Value.Agent
	ended := j.agentless() || agent.Known && slices.Contains([]string{"inactive", "deactivating"}, agent.Value.Active)
	if ended && j.recent(24*time.Hour, kinds...) == nil {
		j.concerns(code, "", PartSession)
	}
}

// toFree says how to find what fills a file system: bytes, or many small files.
func toFree(f *fleet.Filesystem) string {
	if f.Inodes > 0 && f.FreeInodes == 0 {
		return fmt.Sprintf("free inodes on %[1]s: find the folders with the most files (du --inodes -x %[1]s | sort -n | tail) and remove what is not needed", f.Mount)
	}
	return fmt.Sprintf("free space on %[1]s: find what fills it (du -xh %[1]s | sort -h | tail; journalctl --disk-usage) and remove it", f.Mount)
}

// below reports whether a file system has less free than the policy wants.
func (j *judge) below(f *fleet.Filesystem) bool {
	return f.Size > 0 && f.Free < j.policy.MinFree || f.Inodes > 0 && f.FreeInodes < j.policy.MinFreeInodes
}

// size writes bytes for people.
func size(n int64) string {
	for _, unit := range []struct {
		name string
		of   int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= unit.of {
			return fmt.Sprintf("%.4g %s", float64(n)/float64(unit.of), unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

func inodes(f *fleet.Filesystem) string {
	if f.Inodes == 0 {
		return "inodes without limit"
	}
	return fmt.Sprintf("%d of %d inodes", f.FreeInodes, f.Inodes)
}

// mounts looks for noexec where programs are started from.
func (j *judge) mounts(health fleet.Fact[fleet.Health]) {
	for _, at := range []struct{ path, code string }{{agentData, "noexec-agent-data"}, {"/tmp", "noexec-tmp"}} {
		if f := holding(health.Value.Filesystems, at.path); f != nil && slices.Contains(f.Options, "noexec") {
			j.add(at.code, j.h.ID, fmt.Sprintf("mount %s with exec: mount -o remount,exec %[1]s, and in /etc/fstab or the mount unit", f.Mount),
				evidence(health, "%s, which holds %s, is mounted noexec", quoted(f.Mount), at.path))
		}
	}
}

// inotify compares root's inotify instances with the kernel's limit. Without
// root nobody can count them, and nothing is claimed.
func (j *judge) inotify(health fleet.Fact[fleet.Health]) {
	n := health.Value.Inotify
	if n.MaxInstances <= 0 || n.UsedInstances <= 0 {
		return
	}
	fact := evidence(health, "root uses %d of %d inotify instances (fs.inotify.max_user_instances)", n.UsedInstances, n.MaxInstances)
	switch {
	case n.UsedInstances >= n.MaxInstances:
		j.add("inotify-exhausted", j.h.ID, "", slices.Concat([]fleet.Evidence{fact}, j.signs("inotify"), j.signs("too many files"))...)
		j.sparesAgent("inotify-exhausted", "inotify", "too many files")
	case n.UsedInstances > n.MaxInstances*3/4:
		j.add("inotify-nearly-exhausted", j.h.ID, "", fact)
	}
}

// trustStore judges a store without Amazon's root, where the host's own tests
// do not say already what that brings about. That a certificate was verified,
// or that the agent is heard, shows that another root does.
func (j *judge) trustStore(health fleet.Fact[fleet.Health]) {
	store := health.Value.TrustStore
	said := slices.ContainsFunc(j.findings, func(f fleet.Finding) bool { return f.Code == "root-ca-missing" || f.Code == "tls-intercepted" })
	if !store.Known || store.Value || said {
		return
	}
	verified := slices.ContainsFunc(j.h.Probe.Value.Endpoints.Value, func(t fleet.EndpointTest) bool { return t.TLS.Known && t.TLS.Value })
	code := "root-ca-missing"
	if j.heartbeat || verified {
		code = "trust-store-incomplete"
	}
	fix := ""
	switch j.family() {
	case familyDebian, familyUbuntu:
		fix = "apt-get install --reinstall ca-certificates && update-ca-certificates; then restart the agent: " + j.restart()
	case familyRPM:
		fix = j.installer() + " reinstall -y ca-certificates && update-ca-trust; then restart the agent: " + j.restart()
	case familySUSE:
		fix = "zypper install --force ca-certificates ca-certificates-mozilla && update-ca-certificates; then restart the agent: " + j.restart()
	}
	j.add(code, j.h.ID, fix, append([]fleet.Evidence{evidence(store, "Amazon Root CA 1 is not among the host's certificate authorities")}, j.signs("x509")...)...)
}

// longestSleep is after how long an agent that was refused tries again at the
// latest. Source: amazon-ssm-agent, credentialrefresher and hibernation: 25 to
// 30 minutes after AccessDenied, up to an hour otherwise.
const longestSleep = time.Hour

// sleep looks for an agent that waits before it tries again. While it sleeps,
// a repair of what it was refused for shows nowhere.
func (j *judge) sleep(p *fleet.Probe) {
	agent := p.Agent
	if j.heartbeat || !j.symptom || !agent.Known || agent.Value.Active != "active" {
		return
	}
	var signs []fleet.Evidence
	for _, kind := range []string{"sleeping", "hibernating"} {
		if latest := j.latestSign(longestSleep, kind); latest != nil && j.lasts(latest) {
			signs = append(signs, j.quoteSign(latest))
		}
	}
	if signs == nil {
		return
	}
	j.add("agent-sleeping", j.h.ID, "restart the agent: "+j.restart()+"; without another way in, wait an hour", signs...)
}

// sleepLength finds how long the agent says that it sleeps, in Go's form of a
// duration: "27m43s". Source: amazon-ssm-agent, credentialrefresher.
var sleepLength = regexp.MustCompile(`(?i)sleeping for ((?:[0-9]{1,4}h)?(?:[0-9]{1,4}m)?(?:[0-9]{1,5}(?:\.[0-9]{1,9})?s)?)`)

// lasts reports whether a sleep that the agent's log tells of went on when the
// host was probed. One of which the log tells no length or no beginning may
// have; longestSleep bounds it.
func (j *judge) lasts(s *fleet.LogSign) bool {
	m := sleepLength.FindStringSubmatch(s.Text)
	end := j.readAt()
	if m == nil || s.At.IsZero() || end.IsZero() {
		return true
	}
	length, err := time.ParseDuration(m[1])
	return err != nil || end.Before(s.At.Add(length))
}

// signs quotes the latest lines of the agent's log of one kind, of the last day.
func (j *judge) signs(kind string) []fleet.Evidence { return j.recent(24*time.Hour, kind) }

// recent quotes, for each kind, the latest line of the agent's log that was
// not older than age when the host was probed. A line without a time counts.
func (j *judge) recent(age time.Duration, kinds ...string) []fleet.Evidence {
	var out []fleet.Evidence
	for _, kind := range kinds {
		if latest := j.latestSign(age, kind); latest != nil {
			out = append(out, j.quoteSign(latest))
		}
	}
	return out
}

// readAt is when the host was probed, by its own clock where it told the time.
func (j *judge) readAt() time.Time {
	if t := j.h.Probe.Value.HostTime; !t.IsZero() {
		return t
	}
	return j.h.Probe.At
}

func (j *judge) latestSign(age time.Duration, kind string) *fleet.LogSign {
	p := &j.h.Probe.Value
	if !j.h.Probe.Known || !p.Agent.Known || !p.Agent.Value.Signs.Known {
		return nil
	}
	end := j.readAt()
	var latest *fleet.LogSign
	for i := range p.Agent.Value.Signs.Value {
		s := &p.Agent.Value.Signs.Value[i]
		if s.Kind != kind || !s.At.IsZero() && !end.IsZero() && end.Sub(s.At) > age {
			continue
		}
		if latest == nil || !s.At.Before(latest.At) {
			latest = s
		}
	}
	return latest
}

func (j *judge) quoteSign(s *fleet.LogSign) fleet.Evidence {
	when := ""
	if !s.At.IsZero() {
		when = s.At.UTC().Format(" at 2006-01-02 15:04:05Z")
	}
	return evidence(j.h.Probe.Value.Agent.Value.Signs, "the agent's log says%s: %s", when, quoted(s.Text))
}

// clock judges the host's clock: by the Date header of an AWS endpoint, whose
// clock is the one that checks signatures, else by the collector's.
func (j *judge) clock() {
	if !j.h.Probe.Known {
		return
	}
	skew := clockOffset(j.h)
	if skew.Abs() <= j.policy.MaxSkew {
		return
	}
	fact := evidence(j.h.Probe, "the host's clock is %s off the collector's (allowed: %s)", skew.Round(time.Second), j.policy.MaxSkew)
	if c, ok := serverClock(j.h); ok {
		fact = evidence(j.h.Probe.Value.Health, "the host's clock is %s off the Date header of %s (allowed: %s)", skew.Round(time.Second), quoted(c.Source), j.policy.MaxSkew)
	}
	code := "clock-skew"
	if j.heartbeat {
		code = "clock-skew-connected"
	}
	j.add(code, j.h.ID, "", fact)
}
