package awsapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"ssm-migrate/internal/fleet"
)

// Check looks whether what a cutover needs is there in one place: who we are,
// the clock, the endpoints, and the permissions. It changes nothing but with
// on.Write.
func (c *Changer) Check(ctx context.Context, at fleet.Place, on fleet.CheckOn) []fleet.Check {
	p, err := c.in(ctx, at)
	if err != nil {
		return []fleet.Check{{At: at, Name: "identity", Reason: clean(err.Error()), Remedy: "sign in, and name an access to account " + at.Account + " in the configuration"}}
	}
	who, clock := p.identity(ctx)
	out := []fleet.Check{who, clock}
	out = append(out, p.reach(ctx)...)
	out = append(out, p.permissions(ctx, at, on)...)
	if on.Write {
		out = append(out, c.schedule(ctx, at, on))
	}
	for i := range out {
		out[i].At = at
		if out[i].Holds == fleet.TruthYes {
			out[i].Remedy = ""
		}
	}
	return out
}

// maxSkew is how wrong this machine's clock may go: timers are set by it. AWS
// itself refuses signatures that are more than 5 minutes off.
const maxSkew = 30 * time.Second

// identity asks STS, whose answer also tells the time.
func (p *changing) identity(ctx context.Context) (who, clock fleet.Check) {
	who = fleet.Check{Name: "identity", Remedy: "sign in with the operator's credentials"}
	clock = fleet.Check{Name: "clock", Reason: "no answer to compare with", Remedy: "set this machine's clock, for example by NTP: timers are set by it"}
	sent := time.Now()
	out, err := p.account.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		who.Reason = p.account.failure(apiCaller, err).Error()
		return who, clock
	}
	who.Holds, who.Reason = fleet.TruthYes, clean(aws.ToString(out.Arn))
	server, ok := awsmiddleware.GetServerTime(out.ResultMetadata)
	if !ok {
		clock.Reason = "the answer tells no time"
		return who, clock
	}
	// The header tells whole seconds of some moment between asking and answering.
	skew := time.Duration(0)
	if d := sent.Sub(server.Add(time.Second)); d > 0 {
		skew = d
	} else if d := time.Until(server); d > 0 {
		skew = -d
	}
	clock.Holds, clock.Reason = fleet.TruthYes, "right to within "+maxSkew.String()
	if skew.Abs() > maxSkew {
		clock.Holds, clock.Reason = fleet.TruthNo, fmt.Sprintf("%v off", skew.Round(time.Second))
	}
	return who, clock
}

// reach calls each service once. An error of the service's own is an answer.
func (p *changing) reach(ctx context.Context) []fleet.Check {
	calls := []struct {
		service string
		call    func() error
	}{
		{"ec2", func() error {
			_, err := p.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{MaxResults: aws.Int32(5)})
			return err
		}},
		{"iam", func() error {
			_, err := p.iam.ListRoles(ctx, &iam.ListRolesInput{MaxItems: aws.Int32(1)})
			return err
		}},
		{"ssm", func() error {
			_, err := p.ssm.DescribeInstanceInformation(ctx, &ssm.DescribeInstanceInformationInput{MaxResults: aws.Int32(5)})
			return err
		}},
		{"autoscaling", func() error {
			_, err := p.scaling.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{MaxRecords: aws.Int32(1)})
			return err
		}},
		{"scheduler", func() error {
			_, err := p.scheduler.ListSchedules(ctx, &scheduler.ListSchedulesInput{MaxResults: aws.Int32(1)})
			return err
		}},
		{"ssmmessages", func() error { return p.reachMessages(ctx) }},
	}
	out := make([]fleet.Check, len(calls))
	var waiting sync.WaitGroup
	for i, c := range calls {
		waiting.Go(func() { out[i] = reached(c.service, c.call()) })
	}
	waiting.Wait()
	return out
}

func reached(service string, err error) fleet.Check {
	c := fleet.Check{Name: "reach " + service, Holds: fleet.TruthYes, Reason: "it answers", Remedy: "let this machine reach " + service + " over HTTPS, through a proxy if need be"}
	var api smithy.APIError
	if err == nil || errors.As(err, &api) {
		return c
	}
	c.Holds, c.Reason = fleet.TruthUnknown, reason(err)
	if connectFailed(err) {
		c.Holds = fleet.TruthNo
	}
	return c
}

// reachMessages asks the sessions' endpoint for anything. StartSession names
// the address of each session; this is where it usually leads.
func (p *changing) reachMessages(ctx context.Context) error {
	url := "https://ssmmessages." + p.region + "." + fleet.DNSSuffix(p.region) + "/"
	if own := aws.ToString(p.account.config.BaseEndpoint); own != "" {
		url = own
	}
	ctx, cancel := context.WithTimeout(ctx, p.account.options.AttemptTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return err
	}
	res, err := p.account.config.HTTPClient.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// verdict is what is known of one action.
type verdict struct {
	holds  fleet.Truth
	reason string
}

// permissions judges each need by what IAM simulates and, for EC2, by dry runs:
// these go through everything that a real call goes through.
func (p *changing) permissions(ctx context.Context, at fleet.Place, on fleet.CheckOn) []fleet.Check {
	known := p.simulated(ctx, at, on)
	for action, v := range p.dryRuns(ctx, on) {
		if v.holds != fleet.TruthUnknown {
			known[action] = v
		}
	}
	var out []fleet.Check
	for _, n := range needs {
		out = append(out, n.check(known))
	}
	return out
}

// check sums up a need's actions: the worst of them counts.
func (n need) check(known map[string]verdict) fleet.Check {
	c := fleet.Check{Name: n.name, Remedy: "grant what docs/permissions.md lists for changing"}
	words := map[fleet.Truth][]string{}
	why := map[fleet.Truth]string{}
	for _, g := range n.grants {
		v := known[g.key()]
		words[v.holds] = append(words[v.holds], g.action)
		why[v.holds] = cmp.Or(why[v.holds], v.reason)
	}
	switch {
	case len(words[fleet.TruthNo]) > 0:
		c.Holds, c.Reason = fleet.TruthNo, strings.Join(slices.Compact(words[fleet.TruthNo]), ", ")+": "+why[fleet.TruthNo]
	case len(words[fleet.TruthUnknown]) > 0:
		c.Reason = strings.Join(slices.Compact(words[fleet.TruthUnknown]), ", ") + ": " + cmp.Or(why[fleet.TruthUnknown], "not tried")
	default:
		c.Holds, c.Reason = fleet.TruthYes, "allowed"
	}
	return c
}

// source is the principal whose policies IAM simulates: of a role's session, the role.
func (p *changing) source(ctx context.Context) (string, error) {
	_, session, assumed := strings.Cut(p.arn, ":assumed-role/")
	if !assumed {
		return p.arn, nil
	}
	name, _, _ := strings.Cut(session, "/")
	out, err := p.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	if err != nil {
		return "", p.answer("iam:GetRole", err)
	}
	if out.Role == nil {
		return "", none("role " + name)
	}
	return aws.ToString(out.Role.Arn), nil
}

// simulated asks IAM for every grant, in one call for each resource.
func (p *changing) simulated(ctx context.Context, at fleet.Place, on fleet.CheckOn) map[string]verdict {
	known := map[string]verdict{}
	source, err := p.source(ctx)
	byResource := map[string][]grant{}
	for _, n := range needs {
		for _, g := range n.grants {
			resource := g.resource(p, at, on)
			if err != nil || resource == "" {
				known[g.key()] = verdict{reason: "nothing to try it on in the snapshot"}
				if err != nil {
					known[g.key()] = verdict{reason: clean(err.Error())}
				}
				continue
			}
			if strings.HasSuffix(source, ":root") {
				known[g.key()] = verdict{fleet.TruthYes, "the root user"}
				continue
			}
			byResource[resource] = append(byResource[resource], g)
		}
	}
	for _, resource := range slices.Sorted(maps.Keys(byResource)) {
		p.simulateOn(ctx, source, resource, byResource[resource], known)
	}
	return known
}

func (p *changing) simulateOn(ctx context.Context, source, resource string, grants []grant, known map[string]verdict) {
	in := &iam.SimulatePrincipalPolicyInput{PolicySourceArn: &source, ResourceArns: []string{resource}, ContextEntries: []iamContext{contextEntry("aws:RequestedRegion", p.region)}}
	for _, g := range grants {
		in.ActionNames = append(in.ActionNames, g.action)
		if g.to != "" {
			in.ContextEntries = append(in.ContextEntries, contextEntry("iam:PassedToService", g.to))
		}
	}
	in.ActionNames = uniq(in.ActionNames)
	found := map[string]verdict{}
	err := pages(ctx, func(ctx context.Context, token *string) (*string, error) {
		in.Marker = token
		out, err := p.iam.SimulatePrincipalPolicy(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, r := range out.EvaluationResults {
			found[aws.ToString(r.EvalActionName)] = decided(simulation(source, r), resource)
		}
		return marker(out.IsTruncated, out.Marker)
	})
	for _, g := range grants {
		v, ok := found[g.action]
		switch {
		case err != nil:
			v = verdict{reason: apiSimulate + ": " + p.account.failure(apiSimulate, err).Error()}
		case !ok:
			v = verdict{reason: apiSimulate + " did not answer for it"}
		}
		known[g.key()] = v
	}
}

func decided(s fleet.Simulation, resource string) verdict {
	switch {
	case s.Decision == "allowed":
		return verdict{fleet.TruthYes, ""}
	case s.Decision == "explicitDeny":
		return verdict{fleet.TruthNo, "denied on " + resource}
	case len(s.Missing) > 0:
		return verdict{reason: "it depends on " + clean(strings.Join(s.Missing, ", "))}
	}
	return verdict{fleet.TruthNo, "not allowed on " + resource}
}

// dryRuns asks EC2 itself.
func (p *changing) dryRuns(ctx context.Context, on fleet.CheckOn) map[string]verdict {
	// A documentation address (RFC 5737): no such rule is anywhere.
	rule := []types.IpPermission{permission(fleet.Rule{Protocol: "tcp", From: 22, To: 22, CIDR: netip.MustParsePrefix("192.0.2.1/32")})}
	name, dry := aws.String("migrate-doctor"), aws.Bool(true)
	out := map[string]verdict{}
	try := func(g grant, call func() error) {
		switch err := call(); code(err) {
		case "DryRunOperation":
			out[g.key()] = verdict{fleet.TruthYes, ""}
		case "UnauthorizedOperation":
			out[g.key()] = verdict{fleet.TruthNo, "EC2 refuses a dry run"}
		}
	}
	if on.Group != "" {
		try(grant{action: "ec2:AuthorizeSecurityGroupIngress", on: onGroup}, func() error {
			_, err := p.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{DryRun: dry, GroupId: &on.Group, IpPermissions: rule})
			return err
		})
		try(grant{action: "ec2:RevokeSecurityGroupIngress", on: onGroup}, func() error {
			_, err := p.ec2.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{DryRun: dry, GroupId: &on.Group, IpPermissions: rule})
			return err
		})
	}
	if on.VPC != "" {
		try(grant{action: "ec2:CreateSecurityGroup", on: onAll}, func() error {
			_, err := p.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{DryRun: dry, GroupName: name, Description: name, VpcId: &on.VPC})
			return err
		})
	}
	try(grant{action: "ec2:CreateLaunchTemplate", on: onAll}, func() error {
		_, err := p.ec2.CreateLaunchTemplate(ctx, &ec2.CreateLaunchTemplateInput{
			DryRun: dry, LaunchTemplateName: name, LaunchTemplateData: &types.RequestLaunchTemplateData{InstanceType: types.InstanceTypeT3Micro},
		})
		return err
	})
	return out
}

// schedule really makes a timer and deletes it. It would fire in a year, and
// for an address that nobody has.
func (c *Changer) schedule(ctx context.Context, at fleet.Place, on fleet.CheckOn) fleet.Check {
	out := fleet.Check{Name: "make a rule timer", Remedy: "grant scheduler:CreateSchedule, and iam:PassRole on role " + on.TimerRole}
	switch _, err := c.Role(ctx, at, on.TimerRole); {
	case errors.Is(err, fleet.ErrNotFound):
		out.Reason, out.Remedy = "there is no role "+on.TimerRole+" yet", "the plan's first wave makes it: look again after that"
		return out
	case err != nil:
		out.Reason = clean(err.Error())
		return out
	case on.Group == "":
		out.Reason, out.Remedy = "the snapshot has no security group to name", "take the inventory again"
		return out
	}
	s := fleet.Schedule{
		Name: fmt.Sprintf("migrate-doctor-%d", time.Now().UnixNano()), At: time.Now().UTC().AddDate(1, 0, 0).Truncate(time.Minute),
		Role: "arn:" + fleet.Partition(at.Region) + ":iam::" + at.Account + ":role/" + on.TimerRole, Group: on.Group,
		Rule: fleet.Rule{Protocol: "tcp", From: 22, To: 22, CIDR: netip.MustParsePrefix("192.0.2.1/32")},
	}
	err := c.CreateSchedule(ctx, at, s, s.Name)
	switch {
	case err == nil:
		out.Holds, out.Reason = fleet.TruthYes, "made and deleted"
	case strings.HasPrefix(code(err), "AccessDenied"):
		out.Holds, out.Reason = fleet.TruthNo, clean(err.Error())
		return out
	default:
		out.Reason = clean(err.Error())
	}
	// Also after an error: it may have been made.
	if err := c.DeleteSchedule(ctx, at, s.Name); err != nil && !errors.Is(err, fleet.ErrNotFound) {
		out.Holds, out.Reason, out.Remedy = fleet.TruthNo, "made and not deleted: "+clean(err.Error()), "delete schedule "+s.Name+", and grant scheduler:DeleteSchedule"
	}
	return out
}
