package awsapi_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/cutover"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
	"ssm-migrate/internal/simfleet"
)

var _ cutover.AWS = (*awsapi.Changer)(nil)
var _ cutover.Scaling = (*awsapi.Changer)(nil)

var errLost = errors.New("the answer was lost")

// inProcess carries requests to a handler without a network. One request can get lost.
type inProcess struct {
	handler http.Handler
	skew    time.Duration // of the server's clock, as its answers tell

	mu    sync.Mutex
	calls int
	lose  int // the request that gets lost, from 0; -1: none
	acted bool
}

func (p *inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	n := p.calls
	p.calls++
	p.mu.Unlock()
	if n == p.lose && !p.acted {
		return nil, errLost
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	w.Header().Set("Date", time.Now().Add(p.skew).UTC().Format(http.TimeFormat))
	p.handler.ServeHTTP(w, r)
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil, err
	}
	if n == p.lose {
		return nil, errLost
	}
	return w.Result(), nil
}

// changed is a simulated world with a changer of it.
type changed struct {
	*testing.T
	world   *simfleet.World
	region  *simfleet.Region
	wire    *inProcess
	account *awsapi.Account
	changer *awsapi.Changer
	at      fleet.Place
}

func newChanged(t *testing.T, o simfleet.AWSOptions) *changed {
	t.Helper()
	w, err := simfleet.Generate(simfleet.Options{Seed: 3, Instances: 12, Accounts: 1, Regions: []string{"eu-west-1"}, Healthy: true})
	if err != nil {
		t.Fatal(err)
	}
	w.Now = time.Now
	o.NoThrottle = true
	c := &changed{T: t, world: w, region: w.Accounts[0].Regions[0], wire: &inProcess{handler: simfleet.ServeAWS(w, o), lose: -1}}
	c.at = fleet.Place{Account: w.Accounts[0].ID, Region: "eu-west-1"}
	c.account, err = awsapi.Open(t.Context(), awsapi.Access{Regions: []string{"eu-west-1"}}, awsapi.Options{Transport: c.wire, MaxAttempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	c.changer = awsapi.NewChanger(c.account)
	return c
}

// dump is all that the steps could have changed, as the APIs show it.
func (c *changed) dump() string {
	c.Helper()
	time.Sleep(time.Minute) // until reads have caught up
	var out []any
	r := c.account.Cloud(c.at.Region)
	region := r.Surroundings(c.Context())
	for _, g := range region.Groups.Value {
		rules, err := c.changer.GroupRules(c.Context(), c.at, g.ID)
		if err != nil {
			c.Fatal(err)
		}
		for i := range rules {
			rules[i].ID = ""
		}
		slices.SortFunc(rules, func(a, b fleet.Rule) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		out = append(out, g.ID, g.Tags, rules)
	}
	preferences, err := c.changer.Document(c.Context(), c.at, fleet.PreferencesName, "")
	if err != nil && !errors.Is(err, fleet.ErrNotFound) {
		c.Fatal(err)
	}
	a := c.account.Account(c.Context())
	for _, p := range a.Profiles.Value {
		out = append(out, p)
	}
	for _, role := range a.Roles.Value {
		out = append(out, role)
	}
	var hosts []any
	if err := r.Instances(c.Context(), func(page []fleet.Host) error {
		for _, h := range page {
			hosts = append(hosts, h.ID, h.ProfileARN)
		}
		return nil
	}); err != nil {
		c.Fatal(err)
	}
	out = append(out, hosts, preferences.Content, region.DefaultRole.Value, region.Endpoints.Value, region.Templates.Value, region.ScalingGroups.Value)
	text, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		c.Fatal(err)
	}
	return timesRead.ReplaceAllString(string(text), "")
}

var timesRead = regexp.MustCompile(`"at": "[^"]*"`)

// openGroup is a group that lets SSH in from an address range, with such rules.
func (c *changed) openGroup() (*fleet.SecurityGroup, []fleet.Rule) {
	c.Helper()
	for _, g := range c.region.Groups {
		var rules []fleet.Rule
		for _, r := range fleet.Rules(g.Ingress, false) {
			if r.Admits(22) {
				rules = append(rules, r)
			}
		}
		if len(rules) > 0 {
			return g, rules
		}
	}
	c.Fatal("no group lets SSH in")
	return nil, nil
}

// steps are one of each kind, in an order in which one makes what the next needs.
func (c *changed) steps() []plan.Step {
	g, rules := c.openGroup()
	in := c.region.Instances[0]
	in.Host.ProfileARN = ""
	var subnet *fleet.Subnet
	for _, s := range c.region.Subnets {
		if s.VPC == g.VPC {
			subnet = s
		}
	}
	name := plan.RecoveryName(g.VPC)
	const service = "com.amazonaws.eu-west-1.ssm"
	c.region.Endpoints = slices.DeleteFunc(c.region.Endpoints, func(e *fleet.VPCEndpoint) bool { return e.VPC == g.VPC && e.Service == service })
	doc := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:AuthorizeSecurityGroupIngress","Resource":"*"}]}`
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"scheduler.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	closing := &plan.RuleChange{
		Group: g.ID, Rules: rules, Keep: name, Port: 22,
		Add: []fleet.Rule{{Protocol: "tcp", From: 2200, To: 2201, CIDR: rules[0].CIDR, PrefixList: rules[0].PrefixList, Group: rules[0].Group}},
	}
	timer := &plan.TimerChange{After: plan.Duration(15 * time.Minute), Role: "migrate-rule-timer"}
	before, _ := c.changer.Document(c.Context(), c.at, fleet.PreferencesName, "")
	off, err := c.changer.DefaultRole(c.Context(), c.at)
	if err != nil {
		c.Fatal(err)
	}
	scaling := c.region.Scaling[0]
	global := fleet.Place{Account: c.at.Account}
	out := []plan.Step{
		{Kind: plan.TimerRole, At: global, Role: &plan.RoleChange{Name: "migrate-rule-timer", Trust: trust, Policy: "migrate-rule-timer", Document: doc}},
		{Kind: plan.ExtendRole, At: global, Role: &plan.RoleChange{Name: c.world.Accounts[0].Roles[0].Name, Policy: "migrate-session-manager", Document: doc}},
		{Kind: plan.AttachProfile, Hosts: []fleet.HostRef{in.Host.Ref()}, Profile: &plan.ProfileChange{Name: "migrate-session-manager", Create: true, Policy: doc}},
		{Kind: plan.DefaultHostManagement, Setting: &plan.SettingChange{Before: off, Value: "service-role/MigrateDefault", CreateRole: true}},
		{Kind: plan.SessionPreferences, Preferences: &plan.PreferencesChange{Before: before.Content, Document: `{"schemaVersion":"1.0","description":"x","sessionType":"Standard_Stream","inputs":{"idleSessionTimeout":"30"}}`}},
		{Kind: plan.RecoveryGroup, Recovery: &plan.RecoveryChange{
			VPC: g.VPC, Name: name, Image: in.Host.ImageID, Type: "t3.micro", Public: true, Subnets: []string{subnet.ID}, From: []string{"198.51.100.0/24", "2001:db8::/32"},
			PublicKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1/zvYzYqYzYzYzYzYzYzYzYzYzYzYzYzYzYzYzYzYz recovery",
		}},
		{Kind: plan.RecoveryRule, Rules: &plan.RuleChange{Group: g.ID, Rules: []fleet.Rule{{Protocol: "tcp", From: 22, To: 22, Group: name, Description: "the recovery bastion"}}}},
		{Kind: plan.AllowEgress, Rules: &plan.RuleChange{Group: g.ID, Rules: []fleet.Rule{{Egress: true, Protocol: "tcp", From: 8443, To: 8443, CIDR: subnet.CIDR}}}},
		{Kind: plan.CreateEndpoint, Endpoint: &plan.EndpointChange{VPC: g.VPC, Services: []string{service}, Subnets: []string{subnet.ID}, Group: "migrate-endpoints", Sources: []string{"10.0.0.0/8"}, Policies: map[string]string{service: endpointPolicy}}},
		{Kind: plan.CreateEndpoint, Endpoint: &plan.EndpointChange{VPC: g.VPC, Services: []string{"com.amazonaws.eu-west-1.s3"}, Tables: []string{c.plainTable(g.VPC)}, Policies: map[string]string{"com.amazonaws.eu-west-1.s3": endpointPolicy}}},
		{Kind: plan.ArmRuleTimer, Rules: closing, Timer: timer},
		{Kind: plan.ClosePort, Rules: closing},
		{Kind: plan.DisarmRuleTimer, Rules: closing, Timer: timer},
		{Kind: plan.ScaleIn, Scaling: &plan.ScalingChange{Group: scaling.Name, Min: scaling.Min, Desired: scaling.Desired, Max: scaling.Max + 2}},
	}
	for i := range out {
		s := &out[i]
		s.ID = fmt.Sprintf("x/%d-%s", i, s.Kind)
		if s.At.Account == "" {
			s.At = c.at
		}
	}
	return out
}

const endpointPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":["ssm:*","s3:GetObject"],"Resource":["*"]}]}`

// plainTable is a route table of a VPC from which no gateway endpoint is routed to.
func (c *changed) plainTable(vpc string) string {
	c.Helper()
	gateway := func(e *fleet.VPCEndpoint) bool { return e.VPC == vpc && e.Type == "Gateway" }
	for _, e := range c.region.Endpoints {
		for _, t := range c.region.RouteTables {
			t.Routes = slices.DeleteFunc(t.Routes, func(r fleet.Route) bool { return gateway(e) && r.Target == e.ID })
		}
	}
	c.region.Endpoints = slices.DeleteFunc(c.region.Endpoints, gateway)
	i := slices.IndexFunc(c.region.RouteTables, func(t *fleet.RouteTable) bool { return t.VPC == vpc })
	if i < 0 {
		c.Fatalf("%s has no route table", vpc)
	}
	return c.region.RouteTables[i].ID
}

// Endpoints come with the policy of the step, and a gateway with its routes.
func TestEndpointsComeWithTheirPolicies(t *testing.T) {
	inBubble(t, simfleet.AWSOptions{}, func(c *changed) {
		for _, s := range c.steps() {
			if s.Kind != plan.CreateEndpoint {
				continue
			}
			c.apply(s, c.observe(s, fleet.TruthNo).Image)
			i := slices.IndexFunc(c.region.Endpoints, func(e *fleet.VPCEndpoint) bool { return e.VPC == s.Endpoint.VPC && e.Service == s.Endpoint.Services[0] })
			if i < 0 || c.region.Endpoints[i].Policy != endpointPolicy {
				t.Fatalf("%s: %d", s.ID, i)
			}
			for _, table := range c.region.RouteTables {
				routed := slices.ContainsFunc(table.Routes, func(r fleet.Route) bool { return r.Target == c.region.Endpoints[i].ID })
				if routed != slices.Contains(s.Endpoint.Tables, table.ID) {
					t.Errorf("%s: table %s has a route to it: %v", s.ID, table.ID, routed)
				}
			}
		}
	})
}

func tokenOf(s plan.Step) string { return cutover.Token(&plan.Plan{Digest: "d"}, s.ID) }

func (c *changed) observe(s plan.Step, want fleet.Truth) cutover.Observation {
	c.Helper()
	o, err := c.kind(s).Observe(c.Context(), s)
	if err != nil || o.Holds != want {
		c.Fatalf("%s: observed %v (%s), %v; want %v", s.Kind, o.Holds, o.Detail, err, want)
	}
	return o
}

func (c *changed) kind(s plan.Step) cutover.StepKind { return cutover.AWSKinds(c.changer)[s.Kind] }

func (c *changed) apply(s plan.Step, before json.RawMessage) json.RawMessage {
	c.Helper()
	after, err := c.kind(s).Apply(c.Context(), s, before, tokenOf(s))
	if err != nil {
		c.Fatalf("%s: apply: %v", s.Kind, err)
	}
	return after
}

func (c *changed) undo(s plan.Step, before, after json.RawMessage) {
	c.Helper()
	if err := c.kind(s).Undo(c.Context(), s, before, after, tokenOf(s)); err != nil {
		c.Fatalf("%s: undo: %v", s.Kind, err)
	}
	o, err := c.kind(s).Undone(c.Context(), s, before, after, tokenOf(s))
	if err != nil || o.Holds != fleet.TruthYes {
		c.Fatalf("%s: undone: %v (%s), %v", s.Kind, o.Holds, o.Detail, err)
	}
}

// same expects the account to be as it was.
func (c *changed) same(s plan.Step, was string) {
	c.Helper()
	if diff := gocmp.Diff(strings.Split(was, "\n"), strings.Split(c.dump(), "\n")); diff != "" {
		c.Fatalf("%s: not as before (-before +now):\n%s", s.Kind, diff)
	}
}

func inBubble(t *testing.T, o simfleet.AWSOptions, f func(*changed)) {
	t.Helper()
	isolate(t, "https://aws.invalid")
	synctest.Test(t, func(t *testing.T) { f(newChanged(t, o)) })
}

// Each step goes there, back and there again over the real wire; in the end
// all are undone, and the account is as it was.
func TestStepsOverTheWire(t *testing.T) {
	twice := &simfleet.Faults{}
	twice.Set(simfleet.Fault{Kind: simfleet.FaultTwice})
	for name, o := range map[string]simfleet.AWSOptions{"plain": {}, "late reads": {Lag: 3 * time.Second}, "every change twice": {Faults: twice}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, o, func(c *changed) {
				steps := c.steps()
				start := c.dump()
				was := start
				images := make([]json.RawMessage, len(steps))
				for i, s := range steps {
					images[i] = c.observe(s, fleet.TruthNo).Image
					after := c.apply(s, images[i])
					c.observe(s, fleet.TruthYes)
					if s.Kind != plan.DisarmRuleTimer {
						c.undo(s, images[i], after)
						if name == "plain" {
							c.same(s, was)
						}
						c.apply(s, c.observe(s, fleet.TruthNo).Image)
						c.observe(s, fleet.TruthYes)
					}
					if name == "plain" {
						was = c.dump()
					}
				}
				for i, s := range slices.Backward(steps) {
					c.undo(s, images[i], nil)
				}
				c.same(steps[0], start)
			})
		})
	}
}

// Every request of every step gets lost once after it has acted.
func TestStepsOverTheWireWithLostAnswers(t *testing.T) {
	if testing.Short() {
		t.Skip("nothing runs side by side here")
	}
	inBubble(t, simfleet.AWSOptions{}, func(c *changed) {
		for _, s := range c.steps() {
			was := c.dump()
			before := c.observe(s, fleet.TruthNo).Image
			for n := 0; n < 100; n++ {
				c.wire.lose, c.wire.acted = c.wire.calls+n, true
				_, err := c.kind(s).Apply(c.Context(), s, before, tokenOf(s))
				done := c.wire.calls <= c.wire.lose
				c.wire.lose = -1
				if !done && err != nil && !errors.Is(err, errLost) {
					c.Fatalf("%s: %v", s.Kind, err)
				}
				if s.Kind == plan.DisarmRuleTimer {
					break
				}
				c.undo(s, before, nil)
				if done {
					break
				}
			}
			if s.Kind != plan.DisarmRuleTimer {
				c.same(s, was)
			}
			c.apply(s, c.observeAny(s).Image)
		}
	})
}

func (c *changed) observeAny(s plan.Step) cutover.Observation {
	c.Helper()
	o, err := c.kind(s).Observe(c.Context(), s)
	if err != nil {
		c.Fatal(err)
	}
	return o
}

// A timer that nobody disarms opens the door again, exactly as it was.
func TestTimersReallyOpenTheDoorAgain(t *testing.T) {
	inBubble(t, simfleet.AWSOptions{}, func(c *changed) {
		var shut plan.Step
		for _, s := range c.steps() {
			if s.Kind == plan.DisarmRuleTimer {
				break
			}
			if s.Kind == plan.ClosePort {
				shut = s
			}
			c.apply(s, c.observe(s, fleet.TruthNo).Image)
		}
		c.observe(shut, fleet.TruthYes)
		var want []string
		for _, h := range shut.Hosts {
			want = append(want, h.ID)
		}
		slices.Sort(want)
		if got, err := c.changer.GroupMembers(c.Context(), c.at, shut.Rules.Group); err != nil || !slices.Equal(got, want) {
			c.Errorf("members %v, %v; want %v", got, err, want)
		}
		closed, err := c.changer.GroupRules(c.Context(), c.at, shut.Rules.Group)
		if err != nil {
			c.Fatal(err)
		}
		time.Sleep(20 * time.Minute)
		c.world.Advance()
		o := c.observe(shut, fleet.TruthNo)
		if !strings.Contains(o.Detail, "open") {
			c.Errorf("detail: %s", o.Detail)
		}
		rules, err := c.changer.GroupRules(c.Context(), c.at, shut.Rules.Group)
		if err != nil || len(rules) != len(closed)+len(shut.Rules.Rules) {
			c.Errorf("%d rules after %d, %v", len(rules), len(closed), err)
		}
	})
}

func TestChangerPicksTheAccount(t *testing.T) {
	inBubble(t, simfleet.AWSOptions{}, func(c *changed) {
		_, err := c.changer.DefaultRole(context.Background(), fleet.Place{Account: "999999999999", Region: "eu-west-1"})
		if err == nil || !strings.Contains(err.Error(), "999999999999") {
			c.Errorf("another account: %v", err)
		}
	})
}

// The recovery bastion has a public address only where operators come over the
// internet, whatever its subnet gives to others.
func TestBastionsPublicAddressIsThePlansMatter(t *testing.T) {
	for _, public := range []bool{true, false} {
		t.Run(fmt.Sprint(public), func(t *testing.T) {
			inBubble(t, simfleet.AWSOptions{}, func(c *changed) {
				running, cancel := context.WithCancel(c.Context())
				var world sync.WaitGroup
				world.Go(func() { c.world.Run(running) })
				defer world.Wait()
				defer cancel()
				i := slices.IndexFunc(c.region.Instances, func(in *simfleet.Instance) bool { return in.Host.PublicIP.IsValid() })
				if i < 0 {
					t.Fatal("no subnet gives public addresses")
				}
				steps := c.steps()
				s := steps[slices.IndexFunc(steps, func(s plan.Step) bool { return s.Kind == plan.RecoveryGroup })]
				h := c.region.Instances[i].Host
				s.Recovery.VPC, s.Recovery.Subnets, s.Recovery.Public = h.VPC, []string{h.Subnet}, public
				s.Recovery.Name = plan.RecoveryName(h.VPC)
				c.apply(s, c.observe(s, fleet.TruthNo).Image)
				template, err := c.changer.Template(c.Context(), c.at, s.Recovery.Name)
				if err != nil || template.Public != public || len(template.Groups) != 1 {
					t.Errorf("template %+v, %v", template, err)
				}
				if err := c.changer.SetSize(c.Context(), c.at, s.Recovery.Name, 0, 1, 1); err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Minute)
				bastions, err := c.changer.InService(c.Context(), c.at, s.Recovery.Name)
				if err != nil || len(bastions) != 1 || bastions[0].PublicIP.IsValid() != public || !slices.Equal(bastions[0].Groups, template.Groups) {
					t.Errorf("bastions %+v, %v", bastions, err)
				}
			})
		})
	}
}
