package simfleet_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

// dump writes everything of a world that is data.
func dump(t *testing.T, w *simfleet.World) string {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", " ")
	put := func(v any) {
		if err := e.Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range w.Accounts {
		put(a.ID)
		put(a.Profiles)
		put(a.Roles)
		put(a.Policies)
		for _, rg := range a.Regions {
			c := *rg
			c.Account, c.Instances = nil, nil
			put(c)
			for _, in := range rg.Instances {
				i := *in
				i.Region = nil
				put(i)
			}
		}
	}
	return b.String()
}

func TestTheSameSeedGivesTheSameWorld(t *testing.T) {
	o := simfleet.Options{Seed: 42, Instances: 80, Accounts: 2}
	one, two := dump(t, generate(t, o)), dump(t, generate(t, o))
	if one != two {
		t.Error("two worlds of one seed differ")
	}
	o.Seed = 43
	if dump(t, generate(t, o)) == one {
		t.Error("two seeds give one world")
	}
	o.Seed = 42
	o.Now = func() time.Time { return noon.Add(20 * time.Minute) } // the same hour
	if dump(t, generate(t, o)) != one {
		t.Error("the world depends on the minute")
	}
	a, b := generate(t, simfleet.Options{Seed: 42}), generate(t, simfleet.Options{Seed: 43})
	_, first := a.OperatorKey()
	_, again := generate(t, simfleet.Options{Seed: 42, Instances: 5}).OperatorKey()
	_, other := b.OperatorKey()
	if first != again || first == other {
		t.Errorf("operator's keys of seeds 42, 42, 43: %s, %s, %s", first, again, other)
	}
}

func TestOperatorKeyHalvesFit(t *testing.T) {
	private, public := generate(t, simfleet.Options{}).OperatorKey()
	signer, err := ssh.ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(public, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))) {
		t.Errorf("public half is %s", public)
	}
}

func TestInstanceCountIsExact(t *testing.T) {
	for _, o := range []simfleet.Options{{}, {Instances: 1}, {Instances: 7, Accounts: 3}, {Instances: 300, Seed: 9}, {Instances: 50, Regions: []string{"eu-central-1"}}, {Instances: 90, Regions: []string{"a-1", "b-1", "c-1", "d-1"}}} {
		w := generate(t, o)
		want := o.Instances
		if want == 0 {
			want = 60
		}
		if got := w.Counts().Instances; got != want {
			t.Errorf("%+v gives %d instances", o, got)
		}
	}
	for _, o := range []simfleet.Options{{Instances: -1}, {Instances: 1_000_000}, {Accounts: -1}, {Regions: []string{"x", "x"}}, {Regions: []string{""}}} {
		if _, err := simfleet.Generate(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

// Readiness reports are worth looking at only on a mix of good and bad hosts.
func TestTheMixIsRealistic(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 1 // nothing runs side by side here
	}
	for seed := range seeds {
		for _, n := range []int{60, 300} {
			c := generate(t, simfleet.Options{Seed: seed, Instances: n}).Counts()
			for what, share := range map[string][3]int{
				"serving sessions": {c.Sessions, 45, 62}, "reachable": {c.Reachable, 75, 98}, "listed": {c.Listed, 55, 80}, "running": {c.Running, 90, 99},
			} {
				if got := 100 * share[0] / n; got < share[1] || got > share[2] {
					t.Errorf("seed %d, %d instances: %d%% %s, want %d to %d%%", seed, n, got, what, share[1], share[2])
				}
			}
			if c.Online == c.Connected || c.Listed == c.Online {
				t.Errorf("seed %d, %d instances: no host is online but not connected, or lost: %+v", seed, n, c)
			}
		}
	}
}

func TestEveryKindOfHostOccurs(t *testing.T) {
	seen := map[string]int{}
	w := generate(t, simfleet.Options{Instances: 300, Seed: 1, Unreachable: 6})
	for in := range w.Instances() {
		seen["family "+in.OS.Family]++
		seen["role "+string(in.Role)]++
		for name, is := range map[string]bool{
			"no profile": in.Host.ProfileARN == "", "agent stopped": in.Agent.Installed && !in.Agent.Running && in.Agent.Enabled, "agent disabled": in.Agent.Installed && !in.Agent.Enabled,
			"agent missing": !in.Agent.Installed && in.OS.Family != "alpine", "down": in.Down, "skew": in.Skew != 0, "instance connect": in.SSHD.Arguments != "", "match": len(in.SSHD.Match) > 0,
			"session": len(in.Sessions) > 0, "login": len(in.Logins) > 0, "scaled": in.Host.AutoScalingGroup != "", "arm": in.Host.Architecture == "arm64",
			"no ops": in.OS.Family != "windows" && user(in, simfleet.OperatorUser) == nil, "ops without sudo": user(in, simfleet.OperatorUser) != nil && !user(in, simfleet.OperatorUser).Sudo,
		} {
			if is {
				seen[name]++
			}
		}
		for _, u := range in.Users {
			for _, k := range u.Keys {
				for _, part := range []string{"from=", "command=", "restrict", "expiry-time=", "cert-authority", "ssh-dss", "ssh-rsa", "ecdsa-sha2", "\x1b", "<script>", "\xff"} {
					if strings.Contains(k, part) {
						seen["key with "+part]++
					}
				}
			}
		}
		for _, s := range in.SSHD.Settings {
			seen["sshd "+s.Keyword]++
		}
		for _, l := range in.Logins {
			if strings.Contains(l.Key, "-CERT ") {
				seen["certificate login"]++
			}
		}
	}
	for _, want := range []string{
		"family amzn", "family ubuntu", "family debian", "family rhel", "family sles", "family alpine", "family windows", "role bastion", "role web", "role db", "role ci",
		"no profile", "agent stopped", "agent disabled", "agent missing", "down", "skew", "instance connect", "match", "session", "login", "scaled", "arm", "no ops", "ops without sudo",
		"key with from=", "key with command=", "key with restrict", "key with expiry-time=", "key with cert-authority", "key with ssh-dss", "key with ssh-rsa", "key with ecdsa-sha2",
		"key with \x1b", "key with <script>", "key with \xff", "sshd AuthorizedKeysFile", "sshd AuthorizedKeysCommand", "sshd TrustedUserCAKeys", "certificate login",
	} {
		if seen[want] == 0 {
			t.Errorf("no host with %q in %v", want, seen)
		}
	}
}

func user(in *simfleet.Instance, name string) *simfleet.User {
	for _, u := range in.Users {
		if u.Name == name {
			return u
		}
	}
	return nil
}

func TestTheWorldHangsTogether(t *testing.T) {
	w := generate(t, simfleet.Options{Instances: 400, Accounts: 2, Seed: 4})
	ids := map[string]bool{}
	addresses := map[string]bool{}
	for in := range w.Instances() {
		h, rg := in.Host, in.Region
		if ids[h.ID] || addresses[h.VPC+h.PrivateIP.String()] || h.PublicIP.IsValid() && addresses[h.PublicIP.String()] {
			t.Errorf("%s or an address of it occurs twice", h.ID)
		}
		ids[h.ID], addresses[h.VPC+h.PrivateIP.String()], addresses[h.PublicIP.String()] = true, true, true
		subnet := slices.IndexFunc(rg.Subnets, func(s *fleet.Subnet) bool {
			return s.ID == h.Subnet && s.VPC == h.VPC && s.AZ == h.AZ && s.CIDR.Contains(h.PrivateIP)
		})
		profile := h.ProfileARN == "" || slices.ContainsFunc(rg.Account.Profiles, func(p *fleet.InstanceProfile) bool { return p.ARN == h.ProfileARN })
		key := slices.ContainsFunc(rg.KeyPairs, func(k *fleet.KeyPair) bool { return k.Name == h.KeyName })
		scaled := h.AutoScalingGroup == "" || slices.ContainsFunc(rg.Scaling, func(g *fleet.ScalingGroup) bool {
			return g.Name == h.AutoScalingGroup && slices.Contains(g.Instances, h.ID) && slices.Contains(g.Subnets, h.Subnet)
		})
		if subnet < 0 || !profile || !key || !scaled {
			t.Errorf("%s: subnet fits %v, profile exists %v, key pair exists %v, scaling group fits %v", h.ID, subnet >= 0, profile, key, scaled)
		}
		for _, id := range h.Groups {
			if !slices.ContainsFunc(rg.Groups, func(g *fleet.SecurityGroup) bool { return g.ID == id && g.VPC == h.VPC }) {
				t.Errorf("%s: group %s is not of its VPC", h.ID, id)
			}
		}
		for i, l := range in.Logins {
			if l.At.After(noon) || l.At.Before(h.LaunchTime) || i > 0 && l.At.Before(in.Logins[i-1].At) || !l.From.IsValid() {
				t.Errorf("%s: login %d is %+v, launched %v", h.ID, i, l, h.LaunchTime)
			}
		}
	}
}

// Every line in a key file is one that sshd reads, but for the deliberately broken ones.
func TestKeysParse(t *testing.T) {
	w := generate(t, simfleet.Options{Instances: 150, Seed: 2})
	good, broken := 0, 0
	for in := range w.Instances() {
		uids := map[int]bool{}
		for _, u := range in.Users {
			if uids[u.UID] {
				t.Errorf("%s: UID %d occurs twice", in.Host.ID, u.UID)
			}
			uids[u.UID] = true
			for _, line := range u.Keys {
				if strings.HasPrefix(line, "#") {
					continue
				}
				if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line)); err != nil {
					broken++
				} else {
					good++
				}
			}
		}
	}
	if good < 1000 || broken == 0 || broken > 10 {
		t.Errorf("%d good and %d broken lines", good, broken)
	}
}

func BenchmarkGenerate10000(b *testing.B) {
	for b.Loop() {
		generate(b, simfleet.Options{Instances: 10_000})
	}
}

// EC2 refuses a rule that a group has already, whatever the descriptions: a world
// that had one twice could not be brought back by anybody.
func TestNoGroupHasARuleTwice(t *testing.T) {
	for seed := range uint64(97) {
		w := generate(t, simfleet.Options{Seed: seed, Instances: 3 + int(seed%3), Healthy: true, Regions: []string{"eu-west-1"}})
		causes := simfleet.Causes()
		for i, in := range slices.Collect(w.Instances()) {
			if c := causes[(int(seed)+i)%len(causes)]; c.Inject != nil {
				if err := c.Inject(w, in); err != nil {
					t.Logf("seed %d: no %s on %s: %v", seed, c.Name, in.Host.ID, err)
				}
			}
		}
		for _, rg := range w.Accounts[0].Regions {
			for _, g := range rg.Groups {
				for _, rules := range [][]fleet.Rule{fleet.Rules(g.Ingress, false), fleet.Rules(g.Egress, true)} {
					for i, r := range rules {
						if slices.ContainsFunc(rules[:i], r.Same) {
							t.Errorf("seed %d: %s (%s) has %+v twice", seed, g.ID, g.Name, r)
						}
					}
				}
			}
		}
	}
}
