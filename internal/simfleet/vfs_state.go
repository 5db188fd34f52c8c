package simfleet

import (
	_ "embed" // certificates
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// Two certificate authorities that every distribution's trust store has.
var (
	//go:embed certs/amazon-root-ca-1.pem
	amazonRootCA string
	//go:embed certs/isrg-root-x2.pem
	otherRootCA string
)

// trustStore makes the certificate authorities' bundle where the distribution has it.
func (b *baseBuilder) trustStore() {
	bundle := otherRootCA
	if !b.m.Machine.NoRootCA {
		bundle = amazonRootCA + otherRootCA
	}
	switch b.m.OS.Family {
	case "windows":
	case "amzn", "rhel":
		b.text("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", 0o444, bundle)
		b.link("/etc/pki/tls/certs/ca-bundle.crt", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem")
	case "sles":
		b.text("/var/lib/ca-certificates/ca-bundle.pem", 0o444, bundle)
		b.link("/etc/ssl/ca-bundle.pem", "../../var/lib/ca-certificates/ca-bundle.pem")
	default:
		b.text("/etc/ssl/certs/ca-certificates.crt", 0o644, bundle)
	}
}

// cloudInit makes cloud-init's configuration as images have it. The recipe for
// a lost key that AWS gives out (user data with users-groups "always") adds
// keys at every boot.
func (b *baseBuilder) cloudInit() {
	if b.m.OS.Family == "windows" {
		return
	}
	b.text("/etc/cloud/cloud.cfg", 0o644, "# The top level settings are used as module and system configuration.\nusers:\n  - default\n\n"+
		"disable_root: true\nssh_pwauth: false\n\ncloud_init_modules:\n  - seed_random\n  - bootcmd\n  - write-files\n  - growpart\n  - resizefs\n"+
		"  - set_hostname\n  - update_hostname\n  - ca-certs\n  - users-groups\n  - ssh\n\ncloud_config_modules:\n  - ssh-import-id\n  - locale\n  - ntp\n  - runcmd\n\n"+
		"cloud_final_modules:\n  - scripts-per-once\n  - scripts-user\n  - ssh-authkey-fingerprints\n  - keys-to-console\n  - final-message\n\n"+
		"system_info:\n  default_user:\n    name: "+b.m.OS.User+"\n    lock_passwd: true\n    sudo: [\"ALL=(ALL) NOPASSWD:ALL\"]\n")
	b.text("/etc/cloud/cloud.cfg.d/05_logging.cfg", 0o644, "output: {all: '| tee -a /var/log/cloud-init-output.log'}\n")
	data := ""
	if b.m.Machine.CloudInitKeys {
		data = "#cloud-config\ncloud_final_modules:\n- [users-groups, always]\nusers:\n  - name: " + b.m.OS.User + "\n    ssh_authorized_keys:\n    - " + b.launchKey() + "\n"
	}
	instance := "/var/lib/cloud/instances/" + b.m.Host.ID
	b.text(instance+"/user-data.txt", 0o600, data)
	b.link("/var/lib/cloud/instance", instance)
}

// launchKey is the public half of the key pair that the instance was launched with.
func (b *baseBuilder) launchKey() string {
	for _, k := range b.m.keyPairs {
		if k.Name == b.m.Host.KeyName {
			return k.PublicKey
		}
	}
	return ""
}

// traces makes what users of SSH have left behind.
func (b *baseBuilder) traces() {
	m := b.m
	if m.Machine.Ansible {
		if a := m.loginAccount(); a.Home != "" {
			dir := path.Join(a.Home, ".ansible", "tmp")
			b.dir(path.Dir(dir), 0o755, a.UID, a.UID)
			b.dir(dir, 0o700, a.UID, a.UID)
			if last := m.lastUse(fleet.UseAnsible); !last.IsZero() {
				b.nodes[dir].mtime = last
			}
		}
	}
	for _, remote := range m.Machine.GitRemotes {
		dir := "/srv/" + strings.TrimSuffix(path.Base(strings.ReplaceAll(remote, ":", "/")), ".git")
		b.text(dir+"/.git/HEAD", 0o644, "ref: refs/heads/main\n")
		b.text(dir+"/.git/config", 0o644, "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n"+
			"[remote \"origin\"]\n\turl = "+remote+"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n[branch \"main\"]\n\tremote = origin\n\tmerge = refs/heads/main\n")
	}
	for _, s := range m.Sessions {
		a, ok := m.modelAccount(s.User)
		if !s.AgentForwarding || !ok {
			continue
		}
		socket := agentSocket(s)
		b.dir(path.Dir(socket), 0o700, a.uid, a.gid)
		b.nodes[socket] = &node{mode: fs.ModeSocket | 0o700, uid: a.uid, gid: a.gid, mtime: b.since}
	}
}

// loginAccount is the image's login user; the zero User where it is gone.
func (m *machine) loginAccount() User {
	i := slices.IndexFunc(m.Users, func(u *User) bool { return u.Name == m.OS.User })
	if i < 0 {
		return User{}
	}
	return *m.Users[i]
}

// lastUse is when somebody last logged in for a use, by the host's clock.
func (m *machine) lastUse(use fleet.Use) (last time.Time) {
	for _, l := range m.Logins {
		if l.Use == use && l.At.After(last) {
			last = l.At
		}
	}
	if last.IsZero() {
		return last
	}
	return last.UTC().Add(m.Skew)
}

func (m *machine) modelAccount(name string) (account, bool) {
	all := m.modelAccounts()
	i := slices.IndexFunc(all, func(a account) bool { return a.name == name })
	if i < 0 {
		return account{}, false
	}
	return all[i], true
}
