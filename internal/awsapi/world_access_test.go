package awsapi_test

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"ssm-migrate/internal/awsapi"
	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/simfleet"
)

const allowAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// furnish puts into a world one of everything around sessions and permissions.
// The accounts share an organization; only the first may read it.
func furnish(w *simfleet.World) {
	document := func(text string) fleet.Fact[string] { return fleet.Known(text, "world", time.Time{}) }
	full := fleet.Policy{ARN: "arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess", Name: "FullAWSAccess", Document: document(allowAll)}
	deny := fleet.Policy{ARN: "arn:aws:organizations::999999999999:policy/o-simulated0/service_control_policy/p-nochannels", Name: "no-channels",
		Document: document(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"ssmmessages:OpenDataChannel","Resource":"*"}]}`)}
	for i, a := range w.Accounts {
		a.OrganizationReadable = i == 0
		a.ControlLevels = []fleet.ControlLevel{
			{Target: "r-root", Policies: []fleet.Policy{full}},
			{Target: "ou-root-one", Policies: []fleet.Policy{full, deny}},
			{Target: a.ID, Policies: []fleet.Policy{full}},
		}
		a.Groups = []*fleet.IAMGroup{{
			Name: "ops", ARN: "arn:aws:iam::" + a.ID + ":group/ops", Attached: []string{a.Policies[0].ARN}, Inline: map[string]string{"start": allowAll},
		}}
		a.Users = []*fleet.IAMUser{
			{Name: "alice", ID: "AIDAALICE", ARN: "arn:aws:iam::" + a.ID + ":user/people/alice", Groups: []string{"ops"}, Tags: map[string]string{"team": "web"}, Boundary: a.Policies[0].ARN},
			{Name: "bob", ID: "AIDABOB", ARN: "arn:aws:iam::" + a.ID + ":user/bob", Inline: map[string]string{"own": allowAll}},
		}
		vpc := a.Regions[0].VPCs[0].ID
		name := "ssm." + a.Regions[0].Name + ".amazonaws.com"
		a.Zones = []*fleet.HostedZone{
			{ID: fmt.Sprintf("Z%dSSM", i), Name: name, VPCs: []string{vpc}, Records: []fleet.DNSRecord{
				{Name: name, Type: "A", Alias: "vpce-1.ssm.vpce.amazonaws.com"}, {Name: "*." + name, Type: "CNAME", Values: []string{name}}}},
			{ID: fmt.Sprintf("Z%dAWS", i), Name: "amazonaws.com", VPCs: []string{vpc}, Records: []fleet.DNSRecord{{Name: "kms.amazonaws.com", Type: "A", Values: []string{"10.0.0.9", "10.0.1.9"}}}},
			{ID: fmt.Sprintf("Z%dCORP", i), Name: "corp.example", VPCs: []string{vpc}},
			{ID: fmt.Sprintf("Z%dNEAR", i), Name: "notamazonaws.com", VPCs: []string{vpc}},
		}
		for j, r := range a.Regions {
			furnishRegion(w, a, r, fmt.Sprintf("%d-%d", i, j))
		}
	}
}

func furnishRegion(w *simfleet.World, a *simfleet.Account, r *simfleet.Region, tag string) {
	vpc := r.VPCs[0]
	key := &fleet.KMSKey{ID: "k", ARN: "arn:aws:kms:" + r.Name + ":" + a.ID + ":key/" + tag, Exists: true, State: "Disabled", Manager: "CUSTOMER",
		Policy: fleet.Known(allowAll, "world", time.Time{})}
	r.Keys = []*fleet.KMSKey{key}
	r.Buckets = []*fleet.Bucket{{Name: "logs-" + tag, Exists: true, Region: "us-east-1", Encryption: "aws:kms", Key: key.ARN, Policy: allowAll}}
	r.LogGroups = []*fleet.LogGroup{
		{Name: "/ssm", ARN: "arn:aws:logs:" + r.Name + ":" + a.ID + ":log-group:/ssm", Exists: true, Key: key.ARN},
		{Name: "/ssm/other", ARN: "arn:aws:logs:" + r.Name + ":" + a.ID + ":log-group:/ssm/other", Exists: true},
	}
	r.Preferences = fmt.Sprintf(`{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"s3BucketName":"logs-%s","cloudWatchLogGroupName":"/ssm","kmsKeyId":%q}}`, tag, key.ARN)
	r.Documents = []*fleet.SessionDocument{{Name: "Port-8080", Owner: a.ID, Version: "3", Content: fleet.Known(`{"schemaVersion":"1.0","sessionType":"Port"}`, "world", time.Time{})}}
	now := w.Now().UTC().Truncate(time.Second)
	r.ManagedSessions = []*fleet.ManagedSession{
		{ID: "alice-0open" + tag, Target: "i-1", Owner: "arn:aws:iam::" + a.ID + ":user/alice", Status: "Connected", Document: fleet.PreferencesName, Start: now.Add(-time.Hour)},
		{ID: "bob-0past" + tag, Target: "i-2", Owner: "arn:aws:iam::" + a.ID + ":user/bob", Status: "Terminated", Document: "Port-8080", Start: now.Add(-50 * time.Hour), End: now.Add(-49 * time.Hour)},
		{ID: "bob-0long" + tag, Target: "i-2", Owner: "arn:aws:iam::" + a.ID + ":user/bob", Status: "Terminated", Document: "Port-8080", Start: now.AddDate(0, -3, 0), End: now.AddDate(0, -3, 0)},
	}
	r.Peerings = []*fleet.Peering{{ID: "pcx-" + tag, State: "active",
		Requester: fleet.PeeringEnd{VPC: vpc.ID, Account: a.ID, Region: r.Name, CIDRs: vpc.CIDRs},
		Accepter:  fleet.PeeringEnd{VPC: "vpc-far", Account: "999999999999", Region: "eu-central-1", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.250.0.0/16"), netip.MustParsePrefix("2001:db8::/56")}}}}
	r.Rules = []*fleet.ResolverRule{{ID: "rslvr-rr-" + tag, Domain: "amazonaws.com", Type: "FORWARD", VPCs: []string{vpc.ID}, Targets: []string{"10.9.0.2", "2001:db8::2"}}}
}

// roleID is any ID of a role: the world leaves them to the API.
const roleID = "AROA…"

var anyRoleID = gocmp.FilterPath(func(p gocmp.Path) bool { return p.String() == "ID" }, gocmp.Comparer(func(want, got string) bool {
	return want == got || want == roleID && strings.HasPrefix(got, "AROA") || got == roleID && strings.HasPrefix(want, "AROA")
}))

// rolesOf and endpointsOf fill in what the world leaves to be computed.
func rolesOf(a *simfleet.Account) []*fleet.Role {
	var out []*fleet.Role
	for _, r := range a.Roles {
		c := *r
		c.ID = cmp.Or(c.ID, roleID)
		out = append(out, &c)
	}
	return out
}

func endpointsOf(r *simfleet.Region) []*fleet.VPCEndpoint {
	var out []*fleet.VPCEndpoint
	for _, e := range r.Endpoints {
		c := *e
		c.IPType = cmp.Or(c.IPType, "ipv4")
		c.Addresses = fleet.Fact[[]netip.Addr]{}
		if c.Type == "Interface" {
			c.Addresses = fleet.Known([]netip.Addr{}, "ec2:DescribeNetworkInterfaces", time.Time{})
			for _, n := range r.ENIs {
				if n.Owner == c.ID {
					c.Addresses.Value = append(c.Addresses.Value, n.PrivateIP)
				}
			}
			slices.SortFunc(c.Addresses.Value, netip.Addr.Compare)
		}
		out = append(out, &c)
	}
	return out
}

// policyTexts are policies without the name of who gave them.
func policyTexts(list []fleet.Policy) []string {
	var out []string
	for _, p := range list {
		out = append(out, fmt.Sprint(p.ARN, " ", p.Name, " ", p.Document.Known, " ", p.Document.Value))
	}
	slices.Sort(out)
	return out
}

func checkAccess(t *testing.T, got fleet.Account, truth *simfleet.Account) {
	t.Helper()
	same(t, "users", got.Users, truth.Users, func(u fleet.IAMUser) string { return u.ARN })
	same(t, "groups", got.Groups, truth.Groups, func(g fleet.IAMGroup) string { return g.ARN })
	zones := slices.DeleteFunc(slices.Clone(truth.Zones), func(z *fleet.HostedZone) bool {
		return !strings.HasSuffix("."+z.Name, ".amazonaws.com") && !strings.HasSuffix("."+z.Name, ".api.aws")
	})
	same(t, "hosted zones", got.HostedZones, zones, func(z fleet.HostedZone) string { return z.ID })
	levels := got.ControlLevels
	if !truth.OrganizationReadable && len(truth.ControlLevels) > 0 {
		if levels.Known || levels.Reason != "AccessDeniedException: You don't have permissions to access this resource." {
			t.Errorf("control levels %+v of an organization that the account may not read", levels)
		}
		return
	}
	if !levels.Known || len(levels.Value) != len(truth.ControlLevels) {
		t.Fatalf("control levels %+v, want %+v", levels, truth.ControlLevels)
	}
	for i, l := range levels.Value {
		want := truth.ControlLevels[i]
		if diff := gocmp.Diff(policyTexts(want.Policies), policyTexts(l.Policies)); l.Target != want.Target || diff != "" {
			t.Errorf("level %d: %s, want %s (-want +got):\n%s", i, l.Target, want.Target, diff)
		}
	}
}

func checkSessionSide(t *testing.T, account *simfleet.Account, truth *simfleet.Region, got fleet.Region) {
	t.Helper()
	same(t, "peerings", got.Peerings, truth.Peerings, func(p fleet.Peering) string { return p.ID })
	internet := &fleet.ResolverRule{ID: "rslvr-autodefined-rr-internet-resolver", Type: "RECURSIVE"}
	for _, v := range truth.VPCs {
		internet.VPCs = append(internet.VPCs, v.ID)
	}
	same(t, "Resolver rules", got.ResolverRules, append(slices.Clone(truth.Rules), internet), func(r fleet.ResolverRule) string { return r.ID })

	var documents []*fleet.SessionDocument
	for _, d := range truth.Documents {
		c := *d
		c.Content.Source = "ssm:GetDocument"
		documents = append(documents, &c)
	}
	same(t, "documents", got.Documents, documents, func(d fleet.SessionDocument) string { return d.Name })
	recent := slices.DeleteFunc(slices.Clone(truth.ManagedSessions), func(s *fleet.ManagedSession) bool {
		return !s.End.IsZero() && time.Since(s.End) > 30*24*time.Hour
	})
	same(t, "sessions", got.Sessions, recent, func(s fleet.ManagedSession) string { return s.ID })
	checkPreferences(t, truth, got.Preferences)
}

func checkPreferences(t *testing.T, truth *simfleet.Region, got fleet.Fact[fleet.Preferences]) {
	t.Helper()
	p := got.Value
	if !got.Known || p.Exists != (truth.Preferences != "") || p.Content != truth.Preferences {
		t.Fatalf("preferences %+v, want %s", got, truth.Preferences)
	}
	in, err := fleet.ParseSessionDocument(truth.Preferences)
	if err != nil && p.Exists {
		t.Fatal(err)
	}
	checkNamed(t, "bucket", in.Bucket, p.Bucket, truth.Buckets, fleet.Bucket{Name: in.Bucket}, func(b fleet.Bucket) string { return b.Name })
	checkNamed(t, "log group", in.LogGroup, p.LogGroup, truth.LogGroups, fleet.LogGroup{Name: in.LogGroup}, func(g fleet.LogGroup) string { return g.Name })
	keys := make([]*fleet.KMSKey, len(truth.Keys))
	for i, k := range truth.Keys {
		c := *k
		c.ID, c.Policy.Source = k.ARN, "kms:GetKeyPolicy"
		keys[i] = &c
	}
	checkNamed(t, "key", in.Key, p.Key, keys, fleet.KMSKey{ID: in.Key}, func(k fleet.KMSKey) string { return k.ID })
}

// checkNamed compares what the preferences name with the world's own, or with
// absent where it has none of that name.
func checkNamed[T any](t *testing.T, what, name string, got fleet.Fact[T], truth []*T, absent T, nameOf func(T) string) {
	t.Helper()
	if name == "" {
		if got.Source != "" {
			t.Errorf("%s: %+v, but none is named", what, got)
		}
		return
	}
	want := absent
	for _, v := range truth {
		if nameOf(*v) == name {
			want = *v
		}
	}
	if diff := gocmp.Diff(want, got.Value, untimed); diff != "" || !got.Known {
		t.Errorf("%s: known %v, %q (-want +got):\n%s", what, got.Known, got.Reason, diff)
	}
}

// Two accesses to accounts of one organization read each policy once.
func TestPoliciesOfAnOrganizationAreReadOnce(t *testing.T) {
	w, handler, open := simulate(t, simfleet.Options{Seed: 5, Accounts: 2}, simfleet.AWSOptions{NoThrottle: true})
	furnish(w)
	w.Accounts[1].OrganizationReadable = true
	shared := &awsapi.Organization{}
	for _, access := range []awsapi.Access{{}, {Label: "second", RoleARN: "arn:aws:iam::" + w.Accounts[1].ID + ":role/audit"}} {
		levels := open(access, awsapi.Options{Organization: shared}).Account(t.Context()).ControlLevels
		if !levels.Known || len(levels.Value) != 3 || len(levels.Value[1].Policies) != 2 {
			t.Errorf("%s: %+v", access.Label, levels)
		}
	}
	if n := handler.Calls()["organizations:DescribePolicy"]; n != 2 {
		t.Errorf("DescribePolicy was called %d times for two policies", n)
	}
}

func TestSimulationsAreIAMsOwnJudgement(t *testing.T) {
	w, handler, open := simulate(t, simfleet.Options{Seed: 5}, simfleet.AWSOptions{NoThrottle: true})
	furnish(w)
	truth := w.Accounts[0]
	role := truth.Roles[slices.IndexFunc(truth.Roles, func(r *fleet.Role) bool { return r.Name == "web" })]
	role.Boundary = ""
	role.Attached, role.Inline = nil, map[string]string{"all": allowAll}
	narrow := *role
	narrow.Name, narrow.ARN = "narrow", role.ARN+"-narrow"
	narrow.Inline = map[string]string{"channels": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ssmmessages:*","Resource":"*"}]}`}
	truth.Roles = append(truth.Roles, &narrow)

	a := open(awsapi.Access{}, awsapi.Options{})
	got := a.Simulate(t.Context(), []string{role.ARN, narrow.ARN, role.ARN})
	if !got.Known || got.Source != "iam:SimulatePrincipalPolicy" || got.At.IsZero() {
		t.Errorf("fact %+v", got)
	}
	decisions := map[string]fleet.Simulation{}
	for _, s := range got.Value {
		if s.Resource != "*" || s.Boundary != fleet.TruthUnknown {
			t.Errorf("%+v", s)
		}
		decisions[strings.TrimPrefix(s.Principal, role.ARN)+" "+s.Action] = s
	}
	for name, want := range map[string]struct {
		decision      string
		organizations fleet.Truth
	}{
		" ssm:UpdateInstanceInformation":           {"allowed", fleet.TruthYes},
		" ssmmessages:OpenDataChannel":             {"explicitDeny", fleet.TruthNo},
		" kms:Decrypt":                             {"allowed", fleet.TruthYes},
		"-narrow ssmmessages:CreateControlChannel": {"allowed", fleet.TruthYes},
		"-narrow ssm:UpdateInstanceInformation":    {"implicitDeny", fleet.TruthYes},
		"-narrow s3:PutObject":                     {"implicitDeny", fleet.TruthYes},
		"-narrow logs:PutLogEvents":                {"implicitDeny", fleet.TruthYes},
		"-narrow ec2messages:GetMessages":          {"implicitDeny", fleet.TruthYes},
		"-narrow ssmmessages:OpenDataChannel":      {"explicitDeny", fleet.TruthNo},
		"-narrow s3:GetEncryptionConfiguration":    {"implicitDeny", fleet.TruthYes},
		"-narrow ssmmessages:OpenControlChannel":   {"allowed", fleet.TruthYes},
		"-narrow logs:DescribeLogStreams":          {"implicitDeny", fleet.TruthYes},
		"-narrow ssmmessages:CreateDataChannel":    {"allowed", fleet.TruthYes},
		"-narrow kms:GenerateDataKey":              {"implicitDeny", fleet.TruthYes},
		"-narrow ssm:GetDocument":                  {"implicitDeny", fleet.TruthYes},
		" ec2messages:AcknowledgeMessage":          {"allowed", fleet.TruthYes},
		" logs:CreateLogStream":                    {"allowed", fleet.TruthYes},
		" ssmmessages:OpenControlChannel":          {"allowed", fleet.TruthYes},
		"-narrow ec2messages:SendReply":            {"implicitDeny", fleet.TruthYes},
		"-narrow ec2messages:FailMessage":          {"implicitDeny", fleet.TruthYes},
	} {
		if s, ok := decisions[name]; !ok || s.Decision != want.decision || s.Organizations != want.organizations {
			t.Errorf("%s: %+v, want %+v", name, s, want)
		}
	}
	if n := handler.Calls()["iam:SimulatePrincipalPolicy"]; n != 2 {
		t.Errorf("%d calls for two roles", n)
	}

	// A role that is gone costs its own answers only.
	got = a.Simulate(t.Context(), []string{role.ARN, role.ARN + "-gone"})
	if got.Known || len(got.Value) != len(decisions)/2 || !strings.HasPrefix(got.Reason, "role "+role.ARN+"-gone: NoSuchEntity") {
		t.Errorf("known %v, %d answers, %q", got.Known, len(got.Value), got.Reason)
	}
	if got = a.Simulate(t.Context(), nil); !got.Known || len(got.Value) != 0 || got.Source == "" {
		t.Errorf("no role: %+v", got)
	}
}

func TestDeniedSimulationsEndSoon(t *testing.T) {
	faults := &simfleet.Faults{}
	faults.Set(simfleet.Fault{Service: "iam", Action: "SimulatePrincipalPolicy", Kind: simfleet.FaultDeny})
	w, handler, open := simulate(t, simfleet.Options{Seed: 5}, simfleet.AWSOptions{Faults: faults})
	var arns []string
	for i := range 200 {
		arns = append(arns, fmt.Sprintf("%s-%d", w.Accounts[0].Roles[0].ARN, i))
	}
	got := open(awsapi.Access{}, awsapi.Options{}).Simulate(t.Context(), arns)
	if n := handler.Calls()["iam:SimulatePrincipalPolicy"]; n > 8 || got.Known || !strings.Contains(got.Reason, "AccessDenied") {
		t.Errorf("%d calls, %+v", n, got)
	}
}
