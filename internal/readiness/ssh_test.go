package readiness_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"ssm-migrate/internal/fleet"
)

func sshd(keyword string, values ...string) change {
	return onProbe(func(p *fleet.Probe) { p.SSHD.Value.Settings[keyword] = values })
}

func TestSSHThroughSessionManagerComesFromLoopback(t *testing.T) {
	const refuses = "sshd-refuses-loopback"
	within := func(user, keyword string, values ...string) change {
		return onProbe(func(p *fleet.Probe) {
			p.SSHD.Value.FromLoopback = map[string]map[string][]string{user: {keyword: values}}
		})
	}
	for _, c := range []struct {
		name    string
		changes []change
		want    string // in the evidence; empty: no finding
	}{
		{"listens everywhere", []change{sshd("listenaddress", "0.0.0.0:22", "[::]:22")}, ""},
		{"listens at a private address only", []change{sshd("listenaddress", "10.0.1.10:22")}, "10.0.1.10:22"},
		{"listens at a private address and at home", []change{sshd("listenaddress", "10.0.1.10:22", "127.0.0.1:22")}, ""},
		{"listens at IPv6 loopback", []change{sshd("listenaddress", "[::1]:22")}, ""},
		{"an address that cannot be read is no claim", []change{sshd("listenaddress", "?")}, ""},
		{"users by name", []change{sshd("allowusers", "deploy", "ec2-user")}, ""},
		{"users by network", []change{sshd("allowusers", "deploy@10.0.0.0/8")}, "deploy@10.0.0.0/8"},
		{"users by network, loopback among it", []change{sshd("allowusers", "deploy@10.0.0.0/8", "deploy@127.0.0.0/8")}, ""},
		{"users by address pattern", []change{sshd("allowusers", "deploy@10.0.*")}, "deploy@10.0.*"},
		{"users from anywhere", []change{sshd("allowusers", "deploy@*")}, ""},
		{"a pattern lets the same user in anyway", []change{sshd("allowusers", "deploy@10.0.0.0/8", "dep*")}, ""},
		{"loopback denied", []change{sshd("denyusers", "*@127.0.0.1")}, "denyusers"},
		{"a network denied", []change{sshd("denyusers", "*@192.0.2.0/24")}, ""},
		{"a user denied everywhere is denied here too", []change{sshd("denyusers", "backup")}, ""},
		{"for one user by a Match block", []change{onProbe(func(p *fleet.Probe) {
			p.SSHD.Value.PerUser = map[string]map[string][]string{"deploy": {"allowusers": {"deploy@10.0.0.0/8"}}}
		})}, "deploy@10.0.0.0/8"},
		{"a Match block by address", []change{within("ec2-user", "pubkeyauthentication", "no")}, `user "ec2-user", who comes from 127.0.0.1, "pubkeyauthentication" "no"`},
		{"a Match block by address that lets in more", []change{within("ec2-user", "pubkeyauthentication", "yes")}, ""},
		{"a Match block by address about something else", []change{within("ec2-user", "x11forwarding", "no")}, ""},
		{"a Match block by address that lists the user", []change{within("ec2-user", "allowusers", "ec2-*")}, ""},
		{"a Match block by address that lists others", []change{within("ec2-user", "allowusers", "backup")}, "backup"},
		{"a Match block by address that denies the user", []change{within("ec2-user", "denyusers", "ec2-user")}, "denyusers"},
		{"a Match block by address that denies others", []change{within("ec2-user", "denyusers", "backup")}, ""},
		{"a Match block by address that takes the files away", []change{within("ec2-user", "authorizedkeysfile", "none")}, "authorizedkeysfile"},
		{"a Match block by address that forces a command", []change{within("ec2-user", "forcecommand", "/bin/backup")}, "/bin/backup"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := assess(c.changes...)
			checkFindings(t, a)
			if c.want == "" {
				if slices.Contains(codes(a), refuses) {
					t.Errorf("found %s:\n%s", refuses, factsOf(finding(t, a, refuses)))
				}
				return
			}
			if text := factsOf(finding(t, a, refuses)); !strings.Contains(text, c.want) {
				t.Errorf("evidence does not say %q:\n%s", c.want, text)
			}
		})
	}
}

func TestSSHSide(t *testing.T) {
	login := func(l fleet.Login) change {
		return onProbe(func(p *fleet.Probe) {
			l.User, l.Count, l.Last, l.From = "ec2-user", 3, at.AddDate(0, 0, -1), netip.MustParseAddr("10.0.9.9")
			p.Logins.Value.Logins = append(p.Logins.Value.Logins, l)
		})
	}
	byKey := fleet.Login{Method: "publickey", Fingerprint: "SHA256:eic"}
	byCert := fleet.Login{Method: "publickey", Fingerprint: "SHA256:cert", CertID: "jo", CA: "SHA256:ca"}
	file := func(fingerprint string, ca bool) change {
		return onProbe(func(p *fleet.Probe) {
			k := key("ec2-user", fingerprint)
			k.CA = ca
			p.Keys.Value = append(p.Keys.Value, k)
		})
	}
	cloudInit := func(c fleet.CloudInit) change {
		return onProbe(func(p *fleet.Probe) { c.Present = true; p.CloudInit = known(c, "probe: cloud-init") })
	}
	always := fleet.CloudInit{AlwaysKeys: []string{"/etc/cloud/cloud.cfg.d/50-keys.cfg"}}
	disabled, blocks := always, always
	disabled.Disabled, blocks.BlocksKeys = true, true
	for _, c := range []struct {
		name    string
		changes []change
		want    []string
	}{
		{"a key that no file shows (Instance Connect)", []change{login(byKey)}, []string{"login-by-unseen-key"}},
		{"a key that a file shows", []change{login(byKey), file("SHA256:eic", false)}, []string{}},
		{"a certificate of an authority that no file shows", []change{login(byCert)}, []string{"login-by-unseen-key"}},
		{"a certificate of a known authority", []change{login(byCert), file("SHA256:ca", true)}, []string{}},
		{"an old log's MD5 cannot be compared", []change{login(fleet.Login{Method: "publickey", Fingerprint: "MD5:aa:bb"})}, []string{}},
		{"a password is no key", []change{login(fleet.Login{Method: "password"})}, []string{}},
		{"a key file that could not be read may hold it", []change{login(byKey), onProbe(func(p *fleet.Probe) {
			p.Gaps = []fleet.Gap{{What: "keys of user jo", Reason: "permission denied"}}
		})}, []string{"ssh-partly-scanned"}},
		{"cloud-init at every boot (cc_ssh)", []change{cloudInit(always)}, []string{"cloud-init-adds-keys"}},
		{"cloud-init is disabled", []change{cloudInit(disabled)}, []string{}},
		{"cloud-init may not add keys", []change{cloudInit(blocks)}, []string{}},
		{"cloud-init with keys of its own", []change{cloudInit(fleet.CloudInit{KeyFiles: []string{"/etc/cloud/cloud.cfg"}})}, []string{"cloud-init-holds-keys"}},
		{"root by every method", []change{sshd("permitrootlogin", "yes")}, []string{"root-login"}},
		{"root by key is the default", []change{sshd("permitrootlogin", "without-password")}, []string{}},
		{"tunnels for others", []change{sshd("gatewayports", "clientspecified")}, []string{"sshd-serves-tunnels"}},
		{"no tunnels", []change{sshd("gatewayports", "no"), sshd("permittunnel", "no")}, []string{}},
	} {
		a := assess(c.changes...)
		checkFindings(t, a)
		var got []string
		for _, f := range a.Findings {
			if f.Host != "" {
				got = append(got, f.Code)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: findings %v, want %v", c.name, got, c.want)
		}
	}
}

func TestLaunchTemplates(t *testing.T) {
	inGroup := func(version string, v fleet.TemplateVersion) change {
		return func(s *fleet.Snapshot, h *fleet.Host, r *fleet.Region) {
			h.AutoScalingGroup, h.ImageID = "web", "ami-1"
			v.Number = 3
			r.Templates.Value = []fleet.LaunchTemplate{{ID: "lt-1", Default: 3, Latest: 4, Versions: []fleet.TemplateVersion{v}}}
			r.ScalingGroups.Value = []fleet.ScalingGroup{{Name: "web", Template: fleet.LaunchTemplateRef{ID: "lt-1", Version: version}}}
		}
	}
	good := fleet.TemplateVersion{Profile: "web", ImageID: "ami-1", Groups: []string{"sg-app"}}
	with := func(do func(*fleet.TemplateVersion)) fleet.TemplateVersion {
		v := good
		do(&v)
		return v
	}
	for _, c := range []struct {
		name   string
		change change
		want   string // code; empty: no finding
		says   string
	}{
		{"the same", inGroup("3", good), "", ""},
		{"the profile by ARN", inGroup("3", with(func(v *fleet.TemplateVersion) { v.Profile = profileARN })), "", ""},
		{"without the profile that was attached by hand", inGroup("$Default", with(func(v *fleet.TemplateVersion) { v.Profile = "" })), "template-undoes-fixes", "no instance profile, while 1 host has a different one"},
		{"another profile", inGroup("", with(func(v *fleet.TemplateVersion) { v.Profile = "old" })), "template-undoes-fixes", `instance profile "old"`},
		{"metadata off", inGroup("3", with(func(v *fleet.TemplateVersion) { v.Metadata.Endpoint = "disabled" })), "template-undoes-fixes", "metadata service off"},
		{"another image", inGroup("3", with(func(v *fleet.TemplateVersion) { v.ImageID = "ami-0" })), "template-differs", `image "ami-0"`},
		{"other groups", inGroup("3", with(func(v *fleet.TemplateVersion) { v.Groups = []string{"sg-old"} })), "template-differs", `security groups "sg-old"`},
		{"IMDSv1 again", inGroup("3", with(func(v *fleet.TemplateVersion) { v.Metadata.Tokens = "optional" })), "template-differs", "IMDSv2 optional"},
		{"a key pair", inGroup("3", with(func(v *fleet.TemplateVersion) { v.KeyName = "prod" })), "template-names-key", `key pair "prod"`},
		{"a version that was not read is no claim", inGroup("$Latest", with(func(v *fleet.TemplateVersion) { v.Profile = "" })), "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := assess(func(s *fleet.Snapshot, h *fleet.Host, r *fleet.Region) {
				h.Metadata = fleet.MetadataOptions{Endpoint: "enabled", Tokens: "required"}
				c.change(s, h, r)
			})
			checkFindings(t, a)
			if c.want == "" {
				if len(a.Findings) > 0 {
					t.Fatalf("found %v", codes(a))
				}
				return
			}
			f := finding(t, a, c.want)
			if f.Host != "" || f.Object != "lt-1" || !strings.Contains(factsOf(f), c.says) || !strings.Contains(f.Blast, "1 Auto Scaling group (web) with 1 host") {
				t.Errorf("finding %+v", f)
			}
			if len(a.Findings) != 1 || a.Hosts[0].Verdict != fleet.VerdictReady {
				t.Errorf("findings %v, verdict %s", codes(a), a.Hosts[0].Verdict)
			}
		})
	}
}
