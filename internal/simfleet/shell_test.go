package simfleet_test

import (
	"bytes"
	"context"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/simfleet"
)

// TestShellAgreesWithDash runs scripts in the simulated shell and in dash.
func TestShellAgreesWithDash(t *testing.T) {
	dash, err := exec.LookPath("dash")
	if err != nil {
		t.Fatal("dash is needed to compare with: apt-get install dash")
	}
	w, h := newWorld(t, 60, simfleet.HostOptions{})
	in := findInstance(t, w, "Debian host", func(in *simfleet.Instance) bool { return in.OS.Family == "debian" })
	for _, script := range []string{
		`for d in 1 2 3; do case a in a) case $d in 2) echo two; continue ;; esac; echo no $d;; esac; echo tail; done`,
		`for d in 1 2; do if true; then if [ $d = 1 ]; then continue; fi; echo in $d; fi; echo tail; done; echo $d`,
		`for a in 1 2 3; do for b in x y; do if :; then [ $b = y ] && continue 2; echo $a$b; fi; echo never $b; done; echo not reached; done`,
		`for a in 1 2; do { [ $a = 1 ] || break; echo $a; }; echo tail $a; done; echo $?`,
		`while :; do if true; then while :; do if true; then break 2; fi; echo no; done; echo no; fi; echo no; done; echo out`,
		`f() { for x in 1 2; do { [ $x = 2 ] && return 7; echo $x; }; done; }; f; echo $?`,
		`x=$(for i in 1 2 3; do { [ $i = 2 ] && break; echo $i; }; echo t$i; done); echo "$x"`,
		`printf 'a b\nc\\d\nlast' | { while IFS= read -r l || [ -n "$l" ]; do echo "[$l]"; done; }`,
		`set -- a "b c" d; shift; echo $# "$1"; IFS=:; v=x:y:z; set -- $v; echo $3`,
		`(exit 3); echo $?; false || echo or; ! true; echo $?`,
		`a=1; (a=2; echo $a); echo $a; { a=3; } 2>/dev/null; echo $a`,
		`{ for s in 1 2 3; do echo $s & done; wait; } | sort; x=$(for s in 1 2; do (echo $s) & done; wait); echo ${#x}`,
		`v=abcabc; echo ${v#*b} ${v##*b} ${v%b*} ${v%%b*} ${#v} ${u:-def} ${v:+set}`,
		`cat <<E
$((1+2)) $(echo x)
E
cat <<'E'
$((1+2))
E`,
		`printf '%s\t%.3s|%5d|%-4s|%%\n' abc defgh 42 x; printf '%s-%s\n' a b c; printf '%b|%x|%o|%c|%03d|%i\n' 'x\ty' 255 8 xyz 7 -3`,
		`f() { echo $1 & wait; }; x=$(for i in 1 2 3; do echo $i & done; wait; f 4; exit 6); echo $? ${#x}; y=$(f 1 | tr 1 2; false | true); echo $? $y`,
		`printf 'no format\n' ignored; printf '%s' 'a\nb'; printf '\101\\\n'; printf '%d\n' 0x10; printf '%s\n'; printf '%5.2s|%s\n' abc "$(printf '\t.')"`,
		`trap 'echo bye' EXIT; echo hi; exit 4`,
		`[ -d /tmp ] && [ ! -e /nothing/here ] && [ 3 -gt 2 ] && [ a != b ] && echo yes`,
		`cd /tmp && pwd; cd /nonexistent 2>/dev/null || echo no`,
		`echo a >/dev/null; echo b 2>&1 1>/dev/null; echo c >&2`,
		`command -v cd; command -v nothing_like_this; echo $?`,
		`exec sh -c 'echo $0 $1; exit 5' name arg; echo never`,
		`eval "k=5; echo \$k"; n=0; while [ $n -lt 3 ]; do n=$((n + 1)); done; echo $n`,
		`printf '3\n1\n2\n1\n' | sort | uniq | tr '\n' ' '; printf 'a:b:c\n' | cut -d: -f2,3; printf 'x\ny\n' | wc -l | tr -d ' '`,
		`printf 'one\ntwo\nthree\n' | head -n 2; printf 'one\ntwo\nthree\n' | tail -n 1; printf 'abc' | head -c 2`,
		`printf 'foo\nbar.baz\n' | grep -c o; printf 'foo\nbar.baz\n' | grep -F .b; printf 'aa\nb\n' | grep -E '^a+$'; printf 'a\n' | grep -q b; echo $?`,
		`for v in a ab 'a b' '*' '' '[x' 'x.y' xzy 7 '\'; do case "$v" in a) echo 1;; 'a b'|"*") echo 2;; '') echo 3;; [[]*) echo 4;; x.?) echo 5;; [0-9]) echo 6;; \\) echo 7;; a*) echo 8;; *) echo "other $v"; esac; done`,
		`x='a*'; case a1 in $x) echo glob;; esac; case a1 in "$x") echo no;; *) echo quoted;; esac; case 'two
lines' in two*s) echo both;; esac; case a in [!a]) echo no;; [a-c]) echo range; esac`,
		`n=0; case $(n=1; echo x; exit 3) in x) echo $n;; esac; false; case a in a) echo $?;; esac; case a in b) ;; esac; echo $?; case a in a) ;; esac; echo $?; case a in a) false;; esac; echo $?`,
		`f() { case $1 in a) case $2 in b) echo ab; return 4;; *) return 5;; esac; echo never;; *) exit 9;; esac; }; f a b; echo $?; f a c; echo $?; (f z); echo $?`,
		`set -e; case x in x) case y in z) ;; *) echo in;; esac;; esac; case a in a) echo b;; esac | tr b c; v=${u:=1}; case ${v} in 1) v=2;; 2) echo no;; esac; echo $v; case q in *) read l; echo "$l";; esac <<E
line
E
case q in q) false;; esac; echo never`,
	} {
		var out bytes.Buffer
		cmd := exec.Command(dash, "-c", script)
		cmd.Stdout = &out
		want := 0
		if err := cmd.Run(); err != nil {
			want = cmd.ProcessState.ExitCode()
		}
		got, errs, status := shell(t, h, in, "root", script)
		if d := cmp.Diff(out.String(), got); d != "" || status != want {
			t.Errorf("%s\nstatus %d, want %d; output (-dash +ours):\n%s%s", script, status, want, d, errs)
		}
	}
}

// TestShellSeesTheMachine checks what scripts are told about where they run.
func TestShellSeesTheMachine(t *testing.T) {
	w, h := newWorld(t, 60, simfleet.HostOptions{})
	in := findInstance(t, w, "Ubuntu host", func(in *simfleet.Instance) bool { return in.OS.Family == "ubuntu" })
	in.Users = append(slices.DeleteFunc(in.Users, func(u *simfleet.User) bool { return u.Name == "ops" || u.Name == "plain" }),
		operator(w, 1400, true), &simfleet.User{Name: "plain", UID: 1401, Home: "/home/plain", Shell: "/bin/sh"})
	for _, c := range []command{
		{"ops", "id -u; id -un; whoami; echo $HOME; pwd", "1400\nops\nops\n/home/ops\n/home/ops\n", "", 0},
		{"ops", "sudo -n id -u; sudo -n sh -c 'echo $HOME $SUDO_USER'", "0\n/root ops\n", "", 0},
		{"plain", "sudo -n true", "", "sudo: a password is required\n", 1},
		{"ops", "hostname; uname -n", in.Hostname + "\n" + in.Hostname + "\n", "", 0},
		{"ops", "command -v cat; command -v sshd; command -v awk; echo $?; PATH=/usr/sbin; command -v sshd", "/usr/bin/cat\n127\n/usr/sbin/sshd\n", "", 0},
		{"ops", "awk 1; mapfile x", "", "sh: 1: awk: not found\nsh: 1: mapfile: not found\n", 127},
		{"ops", `[ $$ = "$(cut -d' ' -f1 /proc/$$/stat)" ] && [ $PPID = "$(cut -d' ' -f4 /proc/$$/stat)" ] && echo same`, "same\n", "", 0},
		{"ops", `read -r a b c d rest </proc/self/stat; [ $a = $$ ] && [ $d = $PPID ] && echo same`, "same\n", "", 0},
		{"ops", "cat /etc/shadow", "", "cat: /etc/shadow: Permission denied\n", 1},
		{"ops", "head -c 5 /etc/ssh/ssh_host_ed25519_key; echo; sudo -n head -c 5 /etc/ssh/ssh_host_ed25519_key", "\n-----", "head: /etc/ssh/ssh_host_ed25519_key: Permission denied\n", 0},
		{"plain", "ls /home/ops; cat /home/ops/.ssh/authorized_keys", "", "ls: cannot open directory '/home/ops': Permission denied\ncat: /home/ops/.ssh/authorized_keys: Permission denied\n", 1},
		{"ops", "/usr/sbin/sshd -T", "", "sshd: no hostkeys available -- exiting.\n", 1},
		{"ops", "getent passwd ops; getent group sudo | cut -d: -f1,3; getent passwd nobody-here; echo $?", "ops:x:1400:1400::/home/ops:/bin/bash\nsudo:27\n2\n", "", 0},
		{"ops", "cat /proc/1/comm; tr '\\0' ' ' </proc/1/cmdline; echo; grep -c . /proc/self/status", "systemd\n/sbin/init \n8\n", "", 0},
		{"plain", "x=1 env | grep ^x=; env -i A=b env", "x=1\nA=b\n", "", 0},
		{"ops", "printf '#!/bin/sh\\necho script $1\\n' >run; chmod +x run; ./run arg; sh run again", "script arg\nscript again\n", "", 0},
		{"ops", "printf 'echo hi\\n' >/tmp/noexec; /tmp/noexec", "", "sh: 1: /tmp/noexec: Permission denied\n", 126},
		{"ops", "timeout 5 sleep 60; echo $?; timeout 5 sleep 1; echo $?; timeout 3 sh -c 'sleep 2; sleep 2; echo late'; echo $?", "124\n0\n124\n", "", 0},
		{"ops", "systemctl is-active ssh; systemctl show -p LoadState -p ActiveState no-such", "active\nLoadState=not-found\nActiveState=inactive\n", "", 0},
	} {
		c.run(t, h, in)
	}
}

// command is one command line and what becomes of it.
type command struct {
	user, line, out, errs string
	status                int
}

func (c command) run(t *testing.T, h *simfleet.Hosts, in *simfleet.Instance) {
	t.Helper()
	out, errs, status := shell(t, h, in, c.user, c.line)
	if out != c.out || errs != c.errs || status != c.status {
		t.Errorf("%s runs %s:\nstatus %d, want %d\nout  %q\nwant %q\nerrs %q\nwant %q", c.user, c.line, status, c.status, out, c.out, errs, c.errs)
	}
}

// TestFiles checks what commands do to files, and who may.
func TestFiles(t *testing.T) {
	w, h := newWorld(t, 60, simfleet.HostOptions{})
	in := findInstance(t, w, "Debian host", func(in *simfleet.Instance) bool { return in.OS.Family == "debian" })
	in.Users = append(slices.DeleteFunc(in.Users, func(u *simfleet.User) bool { return u.Name == "ops" }), operator(w, 1400, true))
	_, key := w.OperatorKey()
	// Each line works on what the lines before it left.
	for _, c := range []command{
		{"ops", "cat .ssh/authorized_keys; stat -c '%a %u %g %F' .ssh .ssh/authorized_keys", key + "\n700 1400 1400 directory\n600 1400 1400 regular file\n", "", 0},
		{"ops", "mv .ssh/authorized_keys .ssh/authorized_keys.aside && ls .ssh && cat .ssh/authorized_keys", "authorized_keys.aside\n", "cat: .ssh/authorized_keys: No such file or directory\n", 1},
		{"ops", "mv .ssh/authorized_keys.aside .ssh/authorized_keys; cat .ssh/authorized_keys; stat -c %a .ssh/authorized_keys", key + "\n600\n", "", 0},
		{"ops", "mv .ssh .ssh-aside; ls -A; cat .ssh-aside/authorized_keys | cut -c1-7; mv .ssh-aside .ssh; ls .ssh", ".ssh-aside\nssh-ed2\nauthorized_keys\n", "", 0},
		{"ops", "echo one >a; echo two >>a; cat a; stat -c '%a %U %s' a", "one\ntwo\n644 ops 8\n", "", 0},
		{"ops", "cp a b; echo three >>b; wc -l <a; wc -l <b; mkdir d; mv a b d; ls d; rm -r d; ls", "2\n3\na\nb\n", "", 0},
		{"ops", "echo x >/etc/motd", "", "open /etc/motd: permission denied\n", 1},
		{
			"ops", "mv /etc/passwd /tmp/p; rm -f /etc/passwd; chmod 777 /etc/shadow; chown ops /etc/passwd", "",
			"mv: cannot move '/etc/passwd': Permission denied\nrm: cannot remove '/etc/passwd': Permission denied\n" +
				"chmod: changing permissions of '/etc/shadow': Operation not permitted\nchown: changing ownership of '/etc/passwd': Operation not permitted\n", 1,
		},
		{"root", "echo secret >/tmp/s; chmod 600 /tmp/s; ls -ln /tmp/s | cut -d' ' -f1-4", "-rw------- 1 0 0\n", "", 0},
		{
			"ops", "cat /tmp/s; rm /tmp/s; mv /tmp/s /tmp/t", "",
			"cat: /tmp/s: Permission denied\nrm: cannot remove '/tmp/s': Operation not permitted\nmv: cannot move '/tmp/s': Operation not permitted\n", 1,
		},
		{"root", "chown ops:ops /tmp/s; chmod u=rw,go=r /tmp/s; stat -c '%U:%G %A' /tmp/s", "ops:ops -rw-r--r--\n", "", 0},
		{"ops", "cat /tmp/s; rm /tmp/s; ls /tmp", "secret\n", "", 0},
		{
			"root", "ln -s /etc/hostname /tmp/link; cat /tmp/link; readlink /tmp/link; readlink -f /bin/sh; [ -h /tmp/link ] && rm /tmp/link; cat /etc/hostname",
			in.Hostname + "\n/etc/hostname\n/usr/bin/sh\n" + in.Hostname + "\n", "", 0,
		},
		{"root", "d=$(mktemp -d) && f=$(mktemp -p $d) && stat -c %a $d $f; rmdir $d 2>/dev/null; echo $?; rm $f; rmdir $d", "700\n600\n1\n", "", 0},
		{"root", "grep -v ^ops: /etc/passwd >/etc/passwd.new; mv /etc/passwd.new /etc/passwd; getent passwd ops; id ops", "", "id: ‘ops’: no such user\n", 1},
	} {
		c.run(t, h, in)
	}
	if u := in.Users[len(in.Users)-1]; u.Name != "ops" || u.Keys[0] != key {
		t.Error("writing to the machine's disk changed the model")
	}
}

// TestFullDisk checks that a full disk takes nothing and loses nothing.
func TestFullDisk(t *testing.T) {
	w, h := newWorld(t, 60, simfleet.HostOptions{})
	in := findInstance(t, w, "Linux host", func(in *simfleet.Instance) bool { return in.OS.Family == "debian" })
	in.Fault = simfleet.MachineDiskFull
	out, errs, _ := shell(t, h, in, "root", "cp /etc/hostname /tmp/x; echo $?; cat /etc/hostname; mv /etc/hostname /etc/aside; cat /etc/aside")
	if out != "1\n"+in.Hostname+"\n"+in.Hostname+"\n" || !strings.Contains(errs, "No space left on device") {
		t.Errorf("out %q, errs %q", out, errs)
	}
}

// TestOutputIsBounded ends a script that prints without end, one that never
// ends, and one whose context is canceled.
func TestOutputIsBounded(t *testing.T) {
	w, h := newWorld(t, 60, simfleet.HostOptions{MaxOutput: 1 << 20, ExecTimeout: 300 * time.Millisecond})
	in := findInstance(t, w, "Linux host", func(in *simfleet.Instance) bool { return in.OS.Family == "debian" })
	out, _, status := shell(t, h, in, "root", "while :; do cat /etc/ssh/sshd_config; done")
	if len(out) > 1<<20 || status == 0 {
		t.Errorf("%d bytes, status %d", len(out), status)
	}
	if _, _, status := shell(t, h, in, "root", "while :; do :; done"); status == 0 {
		t.Error("an endless loop ended well")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := h.Run(ctx, in, "root", "sleep 1", nil, nil, nil); err == nil {
		t.Error("a canceled command ended well")
	}
}
