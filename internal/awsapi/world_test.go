package awsapi_test

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

// simulate serves a generated world as the SDK's endpoint, with credentials of
// the first account in the environment.
func simulate(t testing.TB, o simfleet.Options, aws simfleet.AWSOptions) (*simfleet.World, *simfleet.AWS, func(awsapi.Access, awsapi.Options) *awsapi.Account) {
	t.Helper()
	w, err := simfleet.Generate(o)
	if err != nil {
		t.Fatal(err)
	}
	handler := simfleet.ServeAWS(w, aws)
	var opened bool
	return w, handler, func(access awsapi.Access, options awsapi.Options) *awsapi.Account {
		if opened {
			a, err := awsapi.Open(t.Context(), access, options)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		opened = true
		srv := newServer(t, handler)
		isolate(t, srv)
		t.Setenv("AWS_ACCESS_KEY_ID", simfleet.AccessKey(w.Accounts[0].ID))
		a, err := awsapi.Open(t.Context(), access, options)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
}

// readAll is what a collector gets from one Region.
func readAll(t testing.TB, r *awsapi.Region) (hosts []fleet.Host, nodes []fleet.Node, region fleet.Region) {
	t.Helper()
	if err := r.Instances(t.Context(), func(p []fleet.Host) error { hosts = append(hosts, p...); return nil }); err != nil {
		t.Errorf("Instances: %v", err)
	}
	if err := r.Nodes(t.Context(), func(p []fleet.Node) error { nodes = append(nodes, p...); return nil }); err != nil {
		t.Errorf("Nodes: %v", err)
	}
	return hosts, nodes, r.Surroundings(t.Context())
}

func TestEverythingReadIsTheWorldsTruth(t *testing.T) {
	regions := []string{"eu-west-1", "us-east-1"}
	for _, tt := range []struct {
		name    string
		options simfleet.Options
		change  func(*simfleet.World)
	}{
		{"ailing", simfleet.Options{Seed: 7, Instances: 240, Accounts: 2, Regions: regions}, func(*simfleet.World) {}},
		{"healthy", simfleet.Options{Seed: 7, Instances: 60, Accounts: 1, Regions: regions, Healthy: true}, func(*simfleet.World) {}},
		{"with one of everything", simfleet.Options{Seed: 7, Instances: 60, Accounts: 2, Regions: regions}, furnish},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, _, open := simulate(t, tt.options, simfleet.AWSOptions{NoThrottle: true})
			tt.change(w)
			checkWorld(t, w, regions, open)
		})
	}
}

func checkWorld(t *testing.T, w *simfleet.World, regions []string, open func(awsapi.Access, awsapi.Options) *awsapi.Account) {
	t.Helper()
	total := 0
	for i, truth := range w.Accounts {
		access := awsapi.Access{Label: truth.ID, Regions: regions}
		if i > 0 {
			access.RoleARN = "arn:aws:iam::" + truth.ID + ":role/audit"
		}
		a := open(access, awsapi.Options{ConnectionRate: 1e6})
		checkIdentity(t, a.Account(t.Context()), truth)
		for _, name := range a.Regions() {
			at := slices.IndexFunc(truth.Regions, func(r *simfleet.Region) bool { return r.Name == name })
			if at < 0 {
				t.Fatalf("the world has no %s", name)
			}
			cloud := a.Cloud(name)
			hosts, nodes, region := readAll(t, cloud)
			total += len(hosts)
			checkHosts(t, w, cloud, truth.Regions[at], hosts, nodes)
			checkSurroundings(t, truth, truth.Regions[at], region)
		}
	}
	if want := w.Counts().Instances; total != want {
		t.Errorf("read %d instances, the world has %d", total, want)
	}
}

func checkIdentity(t *testing.T, got fleet.Account, truth *simfleet.Account) {
	t.Helper()
	if got.ID != truth.ID || !got.Caller.Known || got.Caller.Value == "" {
		t.Errorf("account %q (%+v), want %s", got.ID, got.Caller, truth.ID)
	}
	same(t, "profiles", got.Profiles, truth.Profiles, func(p fleet.InstanceProfile) string { return p.ARN })
	same(t, "roles", got.Roles, rolesOf(truth), func(r fleet.Role) string { return r.ARN })
	used := map[string]bool{}
	for _, r := range truth.Roles {
		markUsed(used, r.Boundary, r.Attached)
	}
	for _, u := range truth.Users {
		markUsed(used, u.Boundary, u.Attached)
	}
	for _, g := range truth.Groups {
		markUsed(used, "", g.Attached)
	}
	inUse := slices.DeleteFunc(slices.Clone(truth.Policies), func(p *fleet.Policy) bool { return !used[p.ARN] })
	got.Policies.Value = slices.Clone(got.Policies.Value)
	for i := range got.Policies.Value {
		got.Policies.Value[i].Document.Source = "" // the world names its own
	}
	var plain []*fleet.Policy
	for _, p := range inUse {
		c := *p
		c.Document.Source = ""
		plain = append(plain, &c)
	}
	same(t, "policies", got.Policies, plain, func(p fleet.Policy) string { return p.ARN })
	checkAccess(t, got, truth)
}

func markUsed(used map[string]bool, boundary string, attached []string) {
	for _, arn := range append([]string{boundary}, attached...) {
		used[arn] = true
	}
}

func checkHosts(t *testing.T, w *simfleet.World, cloud *awsapi.Region, truth *simfleet.Region, hosts []fleet.Host, nodes []fleet.Node) {
	t.Helper()
	var want []fleet.Host
	listed := map[string]bool{}
	for _, n := range nodes {
		listed[n.ID] = true
		if n.Account != truth.Account.ID || n.Region != truth.Name || !n.Registered || n.PingStatus == "" {
			t.Errorf("node %+v", n)
		}
	}
	for _, in := range truth.Instances {
		want = append(want, in.Host)
		status, err := cloud.Connection(t.Context(), in.Host.ID)
		if connected := w.Connected(in); err != nil || (status == "connected") != connected {
			t.Errorf("%s: %q, %v; connected is %v", in.Host.ID, status, err, connected)
		}
		delete(listed, in.Host.ID)
	}
	slices.SortFunc(want, func(a, b fleet.Host) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(hosts, func(a, b fleet.Host) int { return cmp.Compare(a.ID, b.ID) })
	if diff := gocmp.Diff(want, hosts, untimed); diff != "" {
		t.Errorf("%s/%s: hosts (-want +got):\n%s", truth.Account.ID, truth.Name, diff)
	}
	if len(listed) != len(truth.Hybrid) {
		t.Errorf("%s/%s: %d nodes are no instance, want %d", truth.Account.ID, truth.Name, len(listed), len(truth.Hybrid))
	}
}

func checkSurroundings(t *testing.T, account *simfleet.Account, truth *simfleet.Region, got fleet.Region) {
	t.Helper()
	if got.Account != account.ID || got.Name != truth.Name {
		t.Errorf("Region %s/%s, want %s/%s", got.Account, got.Name, account.ID, truth.Name)
	}
	if !got.DefaultRole.Known || got.DefaultRole.Value != truth.DefaultRole {
		t.Errorf("default role %+v, want %q", got.DefaultRole, truth.DefaultRole)
	}
	for i := range got.VPCs.Value {
		got.VPCs.Value[i].DNSSupport.Source, got.VPCs.Value[i].DNSHostnames.Source = "", ""
	}
	var vpcs []*fleet.VPC
	for _, v := range truth.VPCs {
		c := *v
		c.DNSSupport.Source, c.DNSHostnames.Source = "", ""
		vpcs = append(vpcs, &c)
	}
	same(t, "VPCs", got.VPCs, vpcs, func(v fleet.VPC) string { return v.ID })
	same(t, "subnets", got.Subnets, truth.Subnets, func(v fleet.Subnet) string { return v.ID })
	same(t, "route tables", got.RouteTables, truth.RouteTables, func(v fleet.RouteTable) string { return v.ID })
	same(t, "groups", got.Groups, truth.Groups, func(v fleet.SecurityGroup) string { return v.ID })
	same(t, "network ACLs", got.NetworkACLs, truth.NetworkACLs, func(v fleet.NetworkACL) string { return v.ID })
	same(t, "endpoints", got.Endpoints, endpointsOf(truth), func(v fleet.VPCEndpoint) string { return v.ID })
	same(t, "internet gateways", got.Gateways, truth.Gateways, func(v fleet.Gateway) string { return v.ID })
	same(t, "NAT gateways", got.NATGateways, truth.NATGateways, func(v fleet.Gateway) string { return v.ID })
	same(t, "prefix lists", got.PrefixLists, truth.PrefixLists, func(v fleet.PrefixList) string { return v.ID })
	same(t, "DHCP options", got.DHCPOptions, truth.DHCPOptions, func(v fleet.DHCPOptions) string { return v.ID })
	same(t, "key pairs", got.KeyPairs, truth.KeyPairs, func(v fleet.KeyPair) string { return v.ID })
	same(t, "scaling groups", got.ScalingGroups, truth.Scaling, func(v fleet.ScalingGroup) string { return v.Name })
	same(t, "templates", got.Templates, templatesInUse(truth), func(v fleet.LaunchTemplate) string { return v.ID })
	checkSessionSide(t, account, truth, got)
}

// templatesInUse are the templates with the versions that a new instance can
// come from: default, latest, and what a scaling group names.
func templatesInUse(truth *simfleet.Region) []*fleet.LaunchTemplate {
	var out []*fleet.LaunchTemplate
	for _, t := range truth.Templates {
		c := *t
		c.Versions = slices.DeleteFunc(slices.Clone(t.Versions), func(v fleet.TemplateVersion) bool {
			pinned := slices.ContainsFunc(truth.Scaling, func(g *fleet.ScalingGroup) bool {
				return g.Template.ID == t.ID && g.Template.Version == fmt.Sprint(v.Number)
			})
			return v.Number != t.Default && v.Number != t.Latest && !pinned
		})
		out = append(out, &c)
	}
	return out
}

// unordered compares lists that have no order of their own.
var unordered = gocmp.Options{
	sorted(func(a, b fleet.Route) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) }),
	sorted(func(a, b fleet.ACLEntry) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) }),
	sorted(func(a, b fleet.DNSRecord) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) }),
	sorted(cmp.Compare[string]),
	sorted(func(a, b netip.Prefix) int { return cmp.Compare(a.String(), b.String()) }),
}

func sorted[T any](compare func(a, b T) int) gocmp.Option {
	isSorted := gocmp.FilterValues(func(a, b []T) bool { return !slices.IsSortedFunc(a, compare) || !slices.IsSortedFunc(b, compare) },
		gocmp.Transformer("Sorted", func(l []T) []T { return slices.SortedFunc(slices.Values(l), compare) }))
	return isSorted
}

func same[T any](t *testing.T, what string, got fleet.Fact[[]T], truth []*T, key func(T) string) {
	t.Helper()
	var want []T
	for _, v := range truth {
		want = append(want, *v)
	}
	slices.SortFunc(want, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
	if !got.Known {
		t.Errorf("%s: %s", what, got.Reason)
	}
	if diff := gocmp.Diff(want, got.Value, untimed, unordered, anyRoleID); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// A Systems Manager that only answers with web pages costs its own sources, no other.
func TestSystemsManagerDownLeavesTheRestKnown(t *testing.T) {
	faults := &simfleet.Faults{}
	faults.Set(simfleet.Fault{Service: "ssm", Kind: simfleet.FaultHTML})
	w, handler, open := simulate(t, simfleet.Options{Seed: 1}, simfleet.AWSOptions{Faults: faults})
	a := open(awsapi.Access{}, awsapi.Options{})
	r := a.Cloud(w.Accounts[0].Regions[0].Name)
	region := r.Surroundings(t.Context())
	const want = "the endpoint answered 500 and not in AWS's protocol"
	for _, s := range region.Sources()[2:] {
		if isSSM := strings.HasPrefix(s.Source, "ssm:"); isSSM == s.Known || isSSM && s.Reason != want {
			t.Errorf("%s: known %v, %q", s.Source, s.Known, s.Reason)
		}
	}
	if err := r.Nodes(t.Context(), func([]fleet.Node) error { return nil }); err == nil || err.Error() != want {
		t.Errorf("Nodes: %v", err)
	}
	for api, n := range handler.Calls() {
		if strings.HasPrefix(api, "ssm:") && n > 3 {
			t.Errorf("%s was tried %d times", api, n)
		}
	}
}

func TestFaultsOfSingleCallsAreRiddenOut(t *testing.T) {
	faults := &simfleet.Faults{}
	faults.Set(
		simfleet.Fault{Service: "ec2", Action: "DescribeSecurityGroups", Kind: simfleet.FaultThrottle, Times: 2},
		simfleet.Fault{Service: "iam", Action: "GetAccountAuthorizationDetails", Kind: simfleet.FaultCut, Times: 1},
		simfleet.Fault{Service: "ssm", Action: "DescribeInstanceInformation", Kind: simfleet.FaultCut, Times: 1},
		simfleet.Fault{Service: "ec2", Action: "DescribeInstances", Kind: simfleet.FaultHTML, Times: 1},
		simfleet.Fault{Service: "ssm", Action: "DescribeSessions", Kind: simfleet.FaultThrottle, Times: 1},
		simfleet.Fault{Service: "route53", Action: "ListHostedZones", Kind: simfleet.FaultThrottle, Times: 1},
		simfleet.Fault{Service: "route53resolver", Action: "ListResolverRules", Kind: simfleet.FaultCut, Times: 1},
		simfleet.Fault{Service: "organizations", Action: "ListParents", Kind: simfleet.FaultThrottle, Times: 1},
		simfleet.Fault{Service: "s3", Action: "GetBucketPolicy", Kind: simfleet.FaultCut, Times: 1},
		simfleet.Fault{Service: "kms", Action: "DescribeKey", Kind: simfleet.FaultHTML, Times: 1},
	)
	w, _, open := simulate(t, simfleet.Options{Seed: 2}, simfleet.AWSOptions{Faults: faults})
	furnish(w)
	a := open(awsapi.Access{}, awsapi.Options{})
	truth := w.Accounts[0].Regions[0]
	checkIdentity(t, a.Account(t.Context()), w.Accounts[0])
	cloud := a.Cloud(truth.Name)
	hosts, nodes, region := readAll(t, cloud)
	checkHosts(t, w, cloud, truth, hosts, nodes)
	checkSurroundings(t, w.Accounts[0], truth, region)
}

func TestDeniedDetailsGiveTheSameRolesThatMatter(t *testing.T) {
	faults := &simfleet.Faults{}
	faults.Set(simfleet.Fault{Service: "iam", Action: "GetAccountAuthorizationDetails", Kind: simfleet.FaultDeny})
	w, _, open := simulate(t, simfleet.Options{Seed: 3}, simfleet.AWSOptions{Faults: faults})
	got := open(awsapi.Access{}, awsapi.Options{}).Account(t.Context())
	matter := map[string]bool{}
	for _, p := range w.Accounts[0].Profiles {
		matter[p.Role] = true
	}
	roles := slices.DeleteFunc(rolesOf(w.Accounts[0]), func(r *fleet.Role) bool {
		return !matter[r.Name] && !strings.Contains(r.Trust, "ssm.amazonaws.com")
	})
	same(t, "roles", got.Roles, roles, func(r fleet.Role) string { return r.ARN })
	const why = "AccessDenied: User: "
	if got.Users.Known || got.Groups.Known || !strings.HasPrefix(got.Users.Reason, why) || !strings.HasPrefix(got.Groups.Reason, why) {
		t.Errorf("users %+v, groups %+v", got.Users, got.Groups)
	}
	for _, p := range got.Policies.Value {
		if !p.Document.Known || !strings.HasPrefix(p.Document.Value, "{") {
			t.Errorf("policy %s: %+v", p.ARN, p.Document)
		}
	}
}

// Asked faster than Systems Manager's quota allows, every node still gets its answer.
func TestThrottledConnectionsAllGetAnswers(t *testing.T) {
	w, _, open := simulate(t, simfleet.Options{Seed: 4, Instances: 120, Regions: []string{"eu-west-1"}}, simfleet.AWSOptions{})
	a := open(awsapi.Access{}, awsapi.Options{ConnectionRate: 1000, MaxAttempts: 10})
	cloud := a.Cloud("eu-west-1")
	var wg sync.WaitGroup
	for _, in := range w.Accounts[0].Regions[0].Instances {
		wg.Go(func() {
			status, err := cloud.Connection(t.Context(), in.Host.ID)
			if err != nil || (status == "connected") != w.Connected(in) {
				t.Errorf("%s: %q, %v", in.Host.ID, status, err)
			}
		})
	}
	wg.Wait()
	for _, c := range a.Stats() {
		if c.API == "ssm:GetConnectionStatus" && (c.Throttled == 0 || c.Calls != 120 || c.Failed != 0) {
			t.Errorf("the quota was not met: %+v", c)
		}
	}
}

// BenchmarkInstances10k reads 10,000 instances in 10 pages from loopback. The
// pages are rendered before the clock runs: it measures this side only.
func BenchmarkInstances10k(b *testing.B) {
	w, err := simfleet.Generate(simfleet.Options{Seed: 1, Instances: 10_000, Regions: []string{"eu-west-1"}})
	if err != nil {
		b.Fatal(err)
	}
	want := w.Counts().Instances
	r := serve(b, &replay{from: simfleet.ServeAWS(w, simfleet.AWSOptions{NoThrottle: true})}, awsapi.Access{}, awsapi.Options{}).Cloud("eu-west-1")
	read := func() {
		n := 0
		if err := r.Instances(b.Context(), func(p []fleet.Host) error { n += len(p); return nil }); err != nil || n != want {
			b.Fatalf("%d instances, %v; want %d", n, err, want)
		}
	}
	read()
	b.ReportAllocs()
	for b.Loop() {
		read()
	}
}

// replay asks a handler for each page once and repeats it from then on.
type replay struct {
	from http.Handler

	mu    sync.Mutex
	pages map[string][]byte // by request; guarded by mu
}

func (p *replay) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.pages[string(body)]; !ok {
		if p.pages == nil {
			p.pages = map[string][]byte{}
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		rec := httptest.NewRecorder()
		p.from.ServeHTTP(rec, r)
		p.pages[string(body)] = rec.Body.Bytes()
	}
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	w.Write(p.pages[string(body)])
}

// A quick endpoint must not cost retries: see ownBody.
func TestNoCallNeedsARetryOnAQuickEndpoint(t *testing.T) {
	w, err := simfleet.Generate(simfleet.Options{Seed: 7, Instances: 300})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(simfleet.ServeAWS(w, simfleet.AWSOptions{NoThrottle: true}))
	defer server.Close()
	isolate(t, server.URL)
	a, err := awsapi.Open(t.Context(), awsapi.Access{Regions: []string{"eu-west-1"}}, awsapi.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rounds := 100
	if testing.Short() {
		rounds = 10
	}
	for range rounds {
		if err := a.Cloud("eu-west-1").Instances(t.Context(), func([]fleet.Host) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range a.Stats() {
		if s.Attempts != s.Calls {
			t.Errorf("%s: %d attempts for %d calls", s.API, s.Attempts, s.Calls)
		}
	}
}
