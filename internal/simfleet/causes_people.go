package simfleet

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

func peopleCauses() []Cause {
	return []Cause{
		{Number: 39, Name: "keys-bound-to-addresses", Text: "keys are bound to addresses by from=, and SSH over Session Manager comes from the host itself",
			Inject: onKeys(`from="10.0.0.0/8,203.0.113.0/24,198.51.100.0/24" `)},
		{Number: 39, Name: "match-address", Text: "a Match block lets users in from some addresses only, the host's own not among them",
			Inject: matchLoopback},
		{Number: 39, Name: "listen-address", Text: "sshd listens on the private address only, where Session Manager's port sessions do not come",
			Inject: onHost(func(in *Instance) { in.configure(Setting{"ListenAddress", in.Host.PrivateIP.String()}) })},
		{Number: 40, Name: "keys-by-instance-connect", Text: "EC2 Instance Connect's key command lets people in, and sshd -T does not show it", Inject: instanceConnect},
		{Number: 40, Name: "keys-by-command", Text: "a command, not a file, says which keys open accounts",
			Inject: onHost(func(in *Instance) {
				in.configure(Setting{"AuthorizedKeysCommand", "/usr/local/bin/iam-keys %u"}, Setting{"AuthorizedKeysCommandUser", "nobody"})
				in.addFile(File{Path: "/usr/local/bin/iam-keys", Mode: 0o755, Content: []byte("#!/bin/sh\nexec aws iam list-ssh-public-keys --user-name \"$1\"\n")})
			})},
		{Number: 40, Name: "keys-by-authority", Text: "certificates of an authority open accounts", Inject: certificates},
		{Number: 41, Name: "bulk-copies", Text: "rsync and scp move much data over SSH, which Session Manager does at a fraction of the speed", Inject: uses(fleet.UseRsync, "mirror", 20)},
		{Number: 42, Name: "ansible", Text: "Ansible manages the host over SSH",
			Inject: func(w *World, in *Instance) error {
				in.Machine.Ansible = true
				return uses(fleet.UseAnsible, "awx", 14)(w, in)
			}},
		{Number: 43, Name: "forgotten-script", Text: "a script that nobody remembers logs in every night", Inject: uses(fleet.UseCommand, "reporting", 25)},
		{Number: 44, Name: "git-over-agent", Text: "deployed working copies fetch over a forwarded SSH agent, which Session Manager does not forward", Inject: gitOverAgent},
		{Number: 45, Name: "plugin-missing", Text: "the operator's workstation has no Session Manager plugin",
			Why: "it is the workstation's matter: neither AWS nor any host knows of it"},
		{Number: 46, Name: "workstation-dns", Text: "the operator's workstation resolves ssmmessages to private addresses that it does not reach",
			Why: "it is the workstation's matter: neither AWS nor any host knows of it"},
		{Number: 47, Name: "throttling", Text: "AWS throttles the calls of the move",
			Why: "it lies in how calls are answered, not in what the world holds: the AWS server's faults bring it about"},
		{Number: 48, Name: "long-lists", Text: "there are more managed nodes than one page of a list holds", Shared: "region", Inject: longLists},
		{Number: 49, Name: "service-outage", Text: "Systems Manager, or the launch of instances, is out of order",
			Why: "it lies in how calls are answered, not in what the world holds: the AWS server's faults bring it about"},
		{Number: 50, Name: "template-undoes-fix", Text: "the Auto Scaling group's launch template has no profile: its next instance is as the old ones were", Inject: templateUndoes},
	}
}

// configure adds settings to sshd's configuration in place of those that it
// has of the same keyword.
func (in *Instance) configure(settings ...Setting) {
	in.SSHD.Settings = slices.DeleteFunc(slices.Clone(in.SSHD.Settings), func(s Setting) bool {
		return slices.ContainsFunc(settings, func(own Setting) bool { return strings.EqualFold(own.Keyword, s.Keyword) })
	})
	in.SSHD.Settings = append(in.SSHD.Settings, settings...)
}

// onKeys puts options before the plain keys of people's accounts; the
// operator's own stay as they are.
func onKeys(options string) func(*World, *Instance) error {
	return onHost(func(in *Instance) {
		in.Users = slices.Clone(in.Users)
		for i, u := range in.Users {
			own := *u
			own.Keys = slices.Clone(own.Keys)
			for j, line := range own.Keys {
				if u.Name != OperatorUser && u.UID != 0 && (strings.HasPrefix(line, "ssh-") || strings.HasPrefix(line, "ecdsa-")) {
					own.Keys[j] = options + line
				}
			}
			in.Users[i] = &own
		}
	})
}

// matchLoopback adds a Match block: to a drop-in, where the distribution's
// configuration includes them, else to the configuration itself.
func matchLoopback(_ *World, in *Instance) error {
	own := Setting{"PubkeyAuthentication", "no"}
	m := machine{Instance: *in}
	if m.includesDropIns() {
		in.addFile(File{Path: "/etc/ssh/sshd_config.d/60-addresses.conf", Mode: 0o644, Content: []byte("Match Address " + loopbackPattern + "\n    " + own.Keyword + " " + own.Value + "\n")})
		return nil
	}
	in.SSHD.MatchLoopback = []Setting{own}
	return nil
}

func instanceConnect(_ *World, in *Instance) error {
	if in.SSHD.Arguments != "" && !strings.Contains(in.SSHD.Arguments, "ec2-instance-connect") {
		return notHere("sshd has other arguments")
	}
	dir := "/usr/share/ec2-instance-connect"
	if in.OS.Family == "amzn" || in.OS.Family == "rhel" {
		dir = "/opt/aws/bin"
	}
	in.SSHD.Arguments = "-o AuthorizedKeysCommand=" + dir + "/eic_run_authorized_keys %u %f -o AuthorizedKeysCommandUser=ec2-instance-connect"
	in.addFile(File{Path: "/usr/lib/systemd/system/" + in.OS.SSHUnit + ".service.d/ec2-instance-connect.conf", Mode: 0o644,
		Content: []byte("[Service]\nExecStart=\nExecStart=/usr/sbin/sshd -D -o \"AuthorizedKeysCommand " + dir + "/eic_run_authorized_keys %%u %%f\" -o \"AuthorizedKeysCommandUser ec2-instance-connect\" $SSHD_OPTS\n")})
	return nil
}

// certificates trusts an authority whose private half the world has not, and
// shows a login by one of its certificates.
func certificates(w *World, in *Instance) error {
	g := generator{seed: w.Seed}
	ca := makeKey(g.rng("authority"), "ed25519", "corp-user-ca")
	in.configure(Setting{"TrustedUserCAKeys", "/etc/ssh/corp_user_ca.pub"})
	in.addFile(File{Path: "/etc/ssh/corp_user_ca.pub", Mode: 0o644, Content: []byte(ca.line() + "\n")})
	key := makeKey(g.rng("certificate", in.Host.ID), "ed25519", "")
	in.Logins = append(slices.Clone(in.Logins), Login{At: w.Now().UTC().Add(-26 * time.Hour).Truncate(time.Second), User: in.OS.User, Method: "publickey", From: addressAt(officeNet, 77), Port: 51515,
		Key: "ED25519-CERT " + strings.TrimPrefix(key.fingerprint, "ED25519 ") + " ID mallory (serial 4711) CA " + ca.fingerprint})
	slices.SortStableFunc(in.Logins, func(a, b Login) int { return a.At.Compare(b.At) })
	return nil
}

// uses is an injection of somebody's custom.
func uses(use fleet.Use, who string, n int) func(*World, *Instance) error {
	return func(w *World, in *Instance) error {
		if !slices.ContainsFunc(in.Users, func(u *User) bool { return u.Name == in.OS.User }) {
			return notHere("the image's login user is gone")
		}
		in.use(w, habitOf(who, use, n))
		return nil
	}
}

func gitOverAgent(w *World, in *Instance) error {
	if err := uses(fleet.UseShell, "deployer", 9)(w, in); err != nil {
		return err
	}
	in.Sessions[len(in.Sessions)-1].AgentForwarding = true
	const remote = "git@github.com:acme/shop.git"
	if !slices.Contains(in.Machine.GitRemotes, remote) {
		in.Machine.GitRemotes = append(slices.Clone(in.Machine.GitRemotes), remote)
	}
	return nil
}

// longLists registers machines of another data centre, more than two pages of them.
func longLists(w *World, in *Instance) error {
	for i := range 120 {
		id := derived(in, "mi-"+strconv.Itoa(i))
		if find(in.Region.Hybrid, func(n *fleet.Node) bool { return n.ID == id }) != nil {
			return nil
		}
		in.Region.Hybrid = append(in.Region.Hybrid, &fleet.Node{ID: id, Account: in.Region.Account.ID, Region: in.Region.Name, Registered: true,
			ComputerName: fmt.Sprintf("dc2-node%03d.corp.example", i), PingStatus: "Online", LastPing: w.Now().UTC().Add(-time.Minute).Truncate(time.Second), AgentVersion: agentCurrent,
			LatestVersion: true, PlatformType: "Linux", PlatformName: "Ubuntu", PlatformVersion: "24.04", ResourceType: "ManagedInstance",
			IAMRole: "service-role/AmazonEC2RunCommandRoleForManagedInstances", Association: "Success"})
	}
	return nil
}

// templateUndoes gives the instance's Auto Scaling group a launch template that
// starts instances without a profile. An instance that has company, or no
// group, gets a group of its own.
func templateUndoes(w *World, in *Instance) error {
	h := &in.Host
	if h.ProfileARN == "" {
		return notHere("the instance has no profile either")
	}
	name := "group-" + h.ID
	t := &fleet.LaunchTemplate{ID: derived(in, "lt-own"), Name: name, Default: 1, Latest: 1,
		Versions: []fleet.TemplateVersion{{Number: 1, ImageID: h.ImageID, Groups: h.Groups, Metadata: h.Metadata}}}
	if h.LaunchTemplate.ID == t.ID {
		return nil
	}
	w.alone(in)
	g := find(in.Region.Scaling, func(g *fleet.ScalingGroup) bool { return g.Name == h.AutoScalingGroup })
	if g == nil {
		g = &fleet.ScalingGroup{Name: name, Min: 1, Max: 1, Desired: 1, Subnets: []string{h.Subnet}, Instances: []string{h.ID}, Tags: map[string]string{"Name": name}}
		in.Region.Scaling = append(in.Region.Scaling, g)
	}
	in.Region.Templates = append(in.Region.Templates, t)
	h.AutoScalingGroup, h.LaunchTemplate = g.Name, fleet.LaunchTemplateRef{ID: t.ID, Version: "1"}
	g.Template = h.LaunchTemplate
	h.Tags = maps.Clone(h.Tags)
	h.Tags["aws:autoscaling:groupName"], h.Tags["aws:ec2launchtemplate:id"], h.Tags["aws:ec2launchtemplate:version"] = g.Name, t.ID, "1"
	return nil
}
