package simfleet_test

import (
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

// stillWorld is a world whose clock stands still until it is moved.
type stillWorld struct {
	*simfleet.World
	hosts *simfleet.Hosts
	now   atomic.Pointer[time.Time] // programs that nobody waits for look at it, too
}

func newStillWorld(t *testing.T) *stillWorld {
	t.Helper()
	w, h := newWorld(t, 60, simfleet.HostOptions{})
	s := &stillWorld{World: w, hosts: h}
	now := w.Now().Truncate(time.Second)
	s.now.Store(&now)
	w.Now = func() time.Time { return *s.now.Load() }
	return s
}

// pass moves the clock and lets happen what is due on the way.
func (s *stillWorld) pass(d time.Duration) {
	end := s.Now().Add(d)
	for {
		when, ok := s.NextDue()
		if !ok || when.After(end) {
			break
		}
		if when.After(s.Now()) {
			s.now.Store(&when)
		}
		s.Advance()
	}
	s.now.Store(&end)
	s.Advance()
}

// root runs a script as root that has to succeed.
func (s *stillWorld) root(t *testing.T, in *simfleet.Instance, script string) string {
	t.Helper()
	out, errs, status := shell(t, s.hosts, in, "root", script)
	if status != 0 {
		t.Fatalf("status %d of %s\n%s%s", status, script, out, errs)
	}
	return out
}

func linux(family string) func(*simfleet.Instance) bool {
	return func(in *simfleet.Instance) bool {
		return in.OS.Family == family && !in.Down && in.Fault == "" && in.Skew == 0
	}
}

// TestFilesChangeAsOnLinux compares programs with the real ones.
func TestFilesChangeAsOnLinux(t *testing.T) {
	dash, err := exec.LookPath("dash")
	if err != nil {
		t.Fatal("dash is missing: apt-get install dash")
	}
	w, h := newWorld(t, 60, simfleet.HostOptions{})
	in := findInstance(t, w, "Debian host", linux("debian"))
	for _, script := range []string{
		`umask 077; echo x >f; mkdir d; (umask 022; echo y >g; touch t; mkdir e); umask; stat -c '%n %a' f d g t e`,
		`echo a >f; chmod 640 f; touch -d @1600000000 f; cp -p f g; cp f h; stat -c '%n %a %Y' f g; stat -c '%n %a' h; cp -a f i; cmp f i && stat -c %Y i`,
		`mkdir -p a/b; echo 1 >a/b/f; ln -s b a/l; cp -a a c; find c | sort; readlink c/l; cat c/l/f; cp -r a a2; ls a2/l`,
		`echo 1 >f; ln f g; echo $?; ln f g 2>/dev/null; echo $?; ln -f f g; cat g; rm f; cat g; ln -s g l; ln -sfn x l; readlink l; readlink -f l >/dev/null; echo $?`,
		`echo 1 >f; echo 2 >g; mv -f f g; cat g; ls; mkdir d; mv g d; ls d; mv -T d e; ls; mv nothing x 2>/dev/null; echo $?; ls e`,
		`echo secret >src; install -m 600 src dst; stat -c '%a %s' dst; install -d -m 711 p/q; stat -c %a p p/q; install -m 644 -p src p/q; ls p/q`,
		`printf 'a\nb\n' | tee one | tee -a two >/dev/null; printf c | tee -a two; cat one two; : >one; cmp one two 2>/dev/null; echo $?; cmp -s one two; echo $?`,
		`printf abc >f; sha256sum f; sha256sum f >sums; sha256sum -c sums; printf d >>f; sha256sum -c --status sums; echo $?; sha256sum <f; md5sum f`,
		`date -u -d @86400 +%FT%TZ; date -u -d '2026-11-21 16:00:00 UTC' +%s; date -u -d '2026-11-21 2 days ago' +%F; date -u -d 'not a date' 2>/dev/null; echo $?`,
		`touch -t 202601020304.05 f; stat -c %Y f; touch -r f g; stat -c %Y g; touch -c none; ls; chmod --reference=f g; chmod u=rw,go= g; stat -c %a g`,
		`mkdir real; ln -s real link; cd -P link; pwd -P | tr / '\n' | tail -n 1; cd ..; mkdir -m 700 priv; stat -c '%a' priv; sync; sync real; echo $?`,
		`f() { trap 'echo freed' EXIT; [ "$1" = ok ]; }; (f ok); echo $?; (f no); echo $?; (f ok; exit 3); echo $?; until (f ok); do echo again; done`,
		`printf a >f; ln f g; printf b >>f; cat f; echo; cat f >h; printf c >>h; printf d >>h; cat f h; echo; touch -d @1600000000 f; printf e >>f; cat f`,
		`printf 0123456789 >f; dd if=f bs=3 skip=1 count=2 2>/dev/null; echo; dd if=f of=g bs=4 skip=1 2>/dev/null; cat g; echo; dd if=/dev/null of=f bs=2 seek=3 2>/dev/null; cat f; echo; dd if=none 2>/dev/null; echo $?`,
		`mkdir -p d/e; echo x >d/f; chmod 640 d/f; ln -s f d/l; ln -s none d/n; tar -cf a.tar -C d ./f ./e ./l ./n; mkdir o; tar -xo -p -f a.tar -C o; ls o; readlink o/l; cat o/l; stat -c '%a' o/f; chmod -R ug-s o; echo $?; chmod 4755 o/f; chmod u-s o/f; stat -c %a o/f`,
		`printf hello | base64; printf aGVsbG8= | base64 -d; echo; mkdir x; touch x/.h x/v; rm -rf x; ls; x=$(mktemp ./t.XXXXXX); stat -c %a "$x"; rm -f "$x" none; rmdir none 2>/dev/null; echo $?`,
	} {
		cmd := exec.Command(dash, "-c", "umask 022; "+script)
		cmd.Dir = t.TempDir()
		cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC0"}
		out, _ := cmd.Output()
		got, errs, status := shell(t, h, in, "root", "cd $(mktemp -d) && umask 022; "+script)
		if d := cmp.Diff(string(out), got); d != "" || status != cmd.ProcessState.ExitCode() {
			t.Errorf("%s\nstatus %d, want %d; output (-dash +ours):\n%s%s", script, status, cmd.ProcessState.ExitCode(), d, errs)
		}
	}
}

// TestFilesThatCannotChange checks what a machine refuses, and that nothing is lost then.
func TestFilesThatCannotChange(t *testing.T) {
	s := newStillWorld(t)
	in := findInstance(t, s.World, "Debian host", linux("debian"))
	s.root(t, in, `mkdir /srv/keys; echo old >/srv/keys/f; chattr +i /srv/keys/f`)
	before := s.FileStates(in, "/srv/keys")
	for _, script := range []string{
		`echo new >/srv/keys/f`, `echo new >>/srv/keys/f`, `rm -f /srv/keys/f`, `mv /srv/keys/f /srv/x`, `echo n >/srv/n; mv -f /srv/n /srv/keys/f`,
		`chmod 600 /srv/keys/f`, `chown 1 /srv/keys/f`, `touch /srv/keys/f`,
	} {
		if _, _, status := shell(t, s.hosts, in, "root", script); status == 0 {
			t.Errorf("%s works on an immutable file", script)
		}
	}
	if d := cmp.Diff(before, s.FileStates(in, "/srv/keys")); d != "" {
		t.Errorf("an immutable file changed:\n%s", d)
	}
	s.root(t, in, `chattr -i /srv/keys/f && lsattr /srv/keys/f`)
	before = s.FileStates(in, "/srv/keys")
	s.Mu.Lock()
	s.SetDiskFull(in, true)
	s.Mu.Unlock()
	if _, errs, status := shell(t, s.hosts, in, "root", `cp -p /srv/keys/f /srv/keys/g`); status == 0 || !strings.Contains(errs, "No space left on device") {
		t.Errorf("a full disk takes a copy: status %d, %s", status, errs)
	}
	for _, script := range []string{
		`cat /srv/keys/f >/srv/n`, `cat </srv/keys/f >>/srv/keys/f`, `echo new >/srv/n`, `printf '%s' new >/srv/n`, `date +%s >/srv/n`, `sha256sum /srv/keys/f >/srv/n`,
		`{ cat /srv/keys/f && : ; } >/srv/n`, `echo new | cat >/srv/n`, `sh -c 'cat /srv/keys/f' >/srv/n`, `p() { cat >/srv/n && mv /srv/n /srv/m; }; echo new | p`,
	} {
		if _, errs, status := shell(t, s.hosts, in, "root", script); status == 0 || !strings.Contains(errs, "write error: No space left on device") {
			t.Errorf("%s works on a full disk: status %d, %s", script, status, errs)
		}
	}
	if out, errs, status := shell(t, s.hosts, in, "root", `sh -c 'echo new; exit 0' >/srv/n && echo of the inner shell; echo on; cat /srv/n`); status != 0 || out != "of the inner shell\non\n" {
		t.Errorf("a write that fails in an inner shell: status %d, %q, %s", status, out, errs)
	}
	s.root(t, in, `rm -f /srv/n /srv/keys/g; mv /srv/keys/f /srv/keys/h; mv /srv/keys/h /srv/keys/f; echo r >/run/r`)
	s.Mu.Lock()
	s.SetDiskFull(in, false)
	in.Machine.Filesystems = map[string]fleet.Filesystem{"/srv": {Options: []string{"ro"}}}
	s.Mu.Unlock()
	if _, errs, status := shell(t, s.hosts, in, "root", `echo x >/srv/keys/f`); status == 0 {
		t.Errorf("a read-only file system takes a write: %s", errs)
	}
	if d := cmp.Diff(before, s.FileStates(in, "/srv/keys")); d != "" {
		t.Errorf("the file is not as before:\n%s", d)
	}
}

const timerUnits = `cat >/etc/systemd/system/x.service <<'E'
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo "$$(date +%%s)" >>/root/fired'
E
cat >/etc/systemd/system/x.timer <<E
[Timer]
OnCalendar=$(date -u -d '+15 minutes' '+%Y-%m-%d %H:%M:%S') UTC
AccuracySec=1s
Persistent=true
[Install]
WantedBy=timers.target
E
systemctl daemon-reload && systemctl enable --now x.timer 2>/dev/null && systemctl is-active x.timer`

// TestTimersGoOff arms the same job in each of the ways that hosts have.
func TestTimersGoOff(t *testing.T) {
	for _, c := range []struct {
		name, family, arm, alive, disarm string
		outlives                         bool // a reboot
	}{
		{"transient timer", "debian", `systemd-run --on-active=15min --unit=x sh -c 'date +%s >>/root/fired' 2>/dev/null`, `systemctl is-active x.timer`, `systemctl stop x.timer`, false},
		{"transient timer by calendar", "ubuntu", `systemd-run --on-calendar="$(date -u -d '+15 minutes' '+%Y-%m-%d %H:%M:%S')" --unit=x sh -c 'date +%s >>/root/fired' 2>/dev/null`,
			`systemctl list-timers | grep -q x.timer`, `systemctl stop x.timer`, false},
		{"persistent unit", "sles", timerUnits, `systemctl is-enabled x.timer`, `systemctl disable --now x.timer`, true},
		{"detached shell", "alpine", `nohup sh -c 'echo $$ >/run/pid; sleep 900; date +%s >>/root/fired' >/dev/null 2>&1 & echo $! >/root/pid; cmp -s /run/pid /root/pid`,
			`kill -0 $(cat /run/pid) && [ -d /proc/$(cat /run/pid) ]`, `kill $(cat /root/pid)`, false},
		{"setsid", "rhel", `setsid sh -c 'echo $$ >/run/pid; sleep 600; sleep 300; date +%s >>/root/fired' </dev/null >/dev/null 2>&1 &`, `kill -0 $(cat /run/pid)`, `kill $(cat /run/pid)`, false},
		{"at", "amzn", `echo 'date +%s >>/root/fired' | at now + 15 minutes 2>/dev/null`, `[ -n "$(atq)" ]`, `atrm $(atq | cut -f 1)`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStillWorld(t)
			in := findInstance(t, s.World, c.family, linux(c.family))
			if c.name == "at" {
				in.OS.Version = "2"
			}
			fired := func() int {
				out, _, _ := shell(t, s.hosts, in, "root", `cat /root/fired 2>/dev/null`)
				return strings.Count(out, "\n")
			}
			arm := func() { s.root(t, in, c.arm); s.root(t, in, c.alive) }
			arm()
			s.pass(14 * time.Minute)
			s.root(t, in, c.alive)
			if n := fired(); n != 0 {
				t.Fatalf("fired %d times before its time", n)
			}
			s.pass(2 * time.Minute)
			if n := fired(); n != 1 {
				t.Fatalf("fired %d times", n)
			}
			s.root(t, in, `rm /root/fired; systemctl disable --now x.timer 2>/dev/null; rm -f /etc/systemd/system/x.*`)
			arm()
			s.root(t, in, c.disarm)
			s.pass(time.Hour)
			if n := fired(); n != 0 {
				t.Errorf("fired %d times though disarmed", n)
			}
			arm()
			s.Mu.Lock()
			s.Reboot(in)
			s.Mu.Unlock()
			s.pass(time.Hour)
			if n := fired(); n != map[bool]int{true: 1}[c.outlives] {
				t.Errorf("fired %d times after a reboot", n)
			}
		})
	}
}

// TestPersistentTimerMakesUpForWhatItMissed keeps a machine down over the time.
func TestPersistentTimerMakesUpForWhatItMissed(t *testing.T) {
	s := newStillWorld(t)
	in := findInstance(t, s.World, "Debian host", linux("debian"))
	s.root(t, in, `cd /etc/systemd/system
printf '[Service]\nExecStart=/bin/touch /root/fired\n' >m.service
printf '[Timer]\nOnCalendar=%s\nPersistent=true\n[Install]\nWantedBy=timers.target\n' "$(date -u -d '+10 seconds' '+%F %T')" >m.timer
printf '[Service]\nExecStart=/bin/touch /root/lost\n' >n.service
printf '[Timer]\nOnCalendar=%s\n[Install]\nWantedBy=timers.target\n' "$(date -u -d '+10 seconds' '+%F %T')" >n.timer
systemctl enable --now m.timer n.timer`)
	s.Mu.Lock()
	s.Reboot(in)
	if s.OperatorLoginReason(in) == "" || s.Online(in) {
		t.Error("a machine that reboots can be reached")
	}
	s.Mu.Unlock()
	s.pass(5 * time.Minute)
	if out := s.root(t, in, `ls /root`); out != "fired\n" {
		t.Errorf("/root has %q", out)
	}
}

// TestRebootLeavesWhatIsOnDisk checks what a reboot takes and what it brings back.
func TestRebootLeavesWhatIsOnDisk(t *testing.T) {
	s := newStillWorld(t)
	in := findInstance(t, s.World, "Ubuntu host", func(in *simfleet.Instance) bool {
		return linux("ubuntu")(in) && in.Host.KeyName != "" && s.Online(in) && s.Bastion(in) != nil && s.OperatorReaches(in)
	})
	in.Machine.CloudInitKeys = true
	home := "/home/" + in.OS.User
	s.root(t, in, `echo 1 >/tmp/f; echo 1 >/run/f; echo 1 >/var/tmp/f; mv `+home+`/.ssh/authorized_keys /root/aside; cat /proc/sys/kernel/random/boot_id >/root/boot
for u in amazon-ssm-agent snap.amazon-ssm-agent.amazon-ssm-agent; do systemctl disable $u 2>/dev/null; done; true`)
	key := in.Region.KeyPairs[slices.IndexFunc(in.Region.KeyPairs, func(k *fleet.KeyPair) bool { return k.Name == in.Host.KeyName })].PublicKey
	login := func() string {
		s.Mu.RLock()
		defer s.Mu.RUnlock()
		return s.LoginReason(simfleet.Origin{Instance: s.Bastion(in)}, in, in.OS.User, key)
	}
	if login() == "" {
		t.Error("the launch key opens the machine without its file")
	}
	s.Mu.Lock()
	s.Reboot(in)
	s.Mu.Unlock()
	s.pass(time.Minute)
	if out := s.root(t, in, `ls /tmp/f /run/f 2>/dev/null; ls /var/tmp/f; cmp -s /root/boot /proc/sys/kernel/random/boot_id || echo other`); out != "/var/tmp/f\nother\n" {
		t.Errorf("after the reboot: %q", out)
	}
	if in.Agent.Running {
		t.Error("an agent that is not enabled runs")
	}
	if reason := login(); reason != "" {
		t.Errorf("cloud-init did not put the launch key back: %s", reason)
	}
}
