package export

import (
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
	"ssm-migrate/internal/plan"
)

// CLI writes one POSIX sh script of AWS CLI lines. It takes a stage as its
// argument, makes only what is not there, and touches an account only with that account's own
// credentials. ErrNothing says that there is nothing to do in it.
//
// Every value goes into a line as JSON in single quotes (--cli-input-json): the AWS CLI would read a
// plain value that begins with file:// as the name of a file.
func CLI(in Input) ([]File, error) {
	w, err := begin(in)
	if err != nil {
		return nil, err
	}
	if w.nothing() && len(w.hand) == 0 {
		return nil, ErrNothing
	}
	s := &script{work: w, sections: map[stage][]string{}}
	s.head()
	s.hostScripts()
	for _, st := range stages {
		for _, at := range w.places {
			if err := s.section(st, at); err != nil {
				return nil, err
			}
		}
	}
	for _, at := range s.hostPlaces() {
		s.nodeSection(at)
	}
	s.sshSection()
	s.tail()
	return []File{{Name: "migrate-" + safe(w.Plan.ID, "-") + ".sh", Text: s.text.String()}}, nil
}

// script is a shell script in the making.
type script struct {
	*work

	text     strings.Builder
	sections map[stage][]string // names of functions
	region   string             // of the section
	ids      map[string]string  // groups whose ID a variable of the section holds
}

// quote makes one word of the shell of any text.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func (s *script) put(format string, args ...any) { fmt.Fprintf(&s.text, format+"\n", args...) }

// scriptHelpers are the functions that all sections use.
const scriptHelpers = `say() { printf '%s\n' "$*" >&2; }

# in_account ID REGION: whether the credentials are those of this account.
in_account() {
	got=$(aws sts get-caller-identity --region "$2" --query Account --output text) || exit 1
	[ "$got" != "$1" ] || return 0
	say "left out: account $1; these credentials belong to $got"
	left=1
	return 1
}

# there CODE COMMAND...: an error with this code says that it is so already.
there() {
	code=$1
	shift
	if out=$("$@" 2>&1); then return 0; fi
	case $out in
	*"($code)"*) return 0 ;;
	esac
	say "$out"
	return 1
}

# soon COMMAND...: tries for a minute. AWS does not know everywhere at once what
# was just made.
soon() {
	tries=0
	until "$@"; do
		tries=$((tries + 1))
		[ "$tries" -lt 12 ] || return 1
		sleep 5
	done
}

# group REGION FILTERS: the ID of a security group; None where there is none.
group() {
	aws ec2 describe-security-groups --region "$1" --cli-input-json "$2" --query 'SecurityGroups[0].GroupId' --output text
}

# found ID NAME: stops unless it is the ID of a security group.
found() {
	case $1 in
	sg-*) ;;
	*)
		say "there is no security group $2: run the stage that makes it first"
		return 1
		;;
	esac
}
`

func (s *script) head() {
	p := s.Plan
	s.put("#!/bin/sh")
	s.put("# Plan %s of %s for the AWS CLI, written by migrate export cli.", safe(p.ID, "-"), p.Made.UTC().Format("2006-01-02 15:04 UTC"))
	s.put("#")
	s.put("#   sh %s STAGE", "migrate-"+safe(p.ID, "-")+".sh")
	s.put("#")
	s.put("# Stages, in this order:")
	for _, st := range scriptStages {
		if len(s.of(st)) > 0 || st == stageAccess && len(s.accessPlaces()) > 0 || s.handStage(st) {
			s.put("#   %-9s %s", st, stageText[st])
		}
	}
	s.headHosts()
	s.put("#")
	s.put("# A stage can be run again: what is there already is left as it is. Run it with the credentials of each")
	s.put("# account in turn; exit code 3 says that sections of other accounts were left out.")
	if left := len(s.onHost) - s.handSteps(); left > 0 {
		s.put("#")
		s.put("# Not in here: %s, on hosts mostly, which migrate apply does or waits for.", fleet.Count(left, "step"))
	}
	s.put("set -eu")
	s.put("export AWS_PAGER=")
	s.put("left=0\n")
	s.text.WriteString(scriptHelpers)
}

var stageText = map[stage]string{
	stagePrepare:  "roles, profiles, rules, endpoints and preferences that hosts need for sessions",
	stageNodes:    "what is done on hosts, by Run Command: hosts that Systems Manager reached",
	stageHosts:    "what is done on hosts, by SSH: the others (SSH='ssh -F FILE'; SSH_USER)",
	stageRecovery: "the timers' role, and recovery bastions at zero instances with the rules that let them in",
	stageAccess:   "policies and documents that stay",
	stageClose:    "port 22 in security groups; only groups whose hosts are connected to Session Manager",
	stageFinish:   "bastions that nobody needs any more",
}

// section writes the function for a stage at a place; none where there is
// nothing to do.
func (s *script) section(st stage, at fleet.Place) error {
	jobs := slices.DeleteFunc(s.of(st), func(j job) bool { return j.at != at })
	leaves := st == stageAccess && slices.Contains(s.accessPlaces(), at)
	if len(jobs) == 0 && !leaves {
		return nil
	}
	s.open(st, at)
	for _, j := range jobs {
		s.put("")
		for _, l := range s.about(j) {
			s.put("\t# %s", l)
		}
		s.put("\tsay %s", quote(line(j.Title)))
		if err := s.job(j); err != nil {
			return fmt.Errorf("export step %s: %w", j.ID, err)
		}
	}
	if leaves {
		s.accessSection(at)
	}
	s.put("}")
	return nil
}

// open begins the function of a stage at a place.
func (s *script) open(st stage, at fleet.Place) {
	name := string(st) + "_" + safe(at.Account, "") + "_" + safe(at.Region, "")
	s.sections[st] = append(s.sections[st], name)
	s.region, s.ids = at.Region, map[string]string{}
	s.put("\n# ---- %s: account %s, %s ----", st, line(at.Account), line(at.Region))
	s.put("%s() {", name)
	s.put("\tin_account %s %s || return 0", quote(at.Account), quote(at.Region))
}

func (s *script) tail() {
	templates, _ := s.templates()
	s.put("\ncase ${1-} in")
	for _, st := range scriptStages {
		if s.sections[st] == nil {
			continue
		}
		s.put("%s)", st)
		for _, f := range s.sections[st] {
			s.put("\t%s", f)
		}
		s.put("\t;;")
	}
	if len(s.hand) > 0 {
		s.put("script)\n\tscript \"${2-}\" || exit 2\n\t;;")
	}
	if len(templates) > 0 {
		s.put("user-data)\n\ttemplate \"${2-}\" || exit 2\n\t;;")
	}
	s.put("*)")
	s.put("\tsed -n '2,/^set /s/^#//p' \"$0\" >&2")
	s.put("\texit 2")
	s.put("\t;;")
	s.put("esac")
	if len(s.hand) > 0 {
		s.put("[ \"$failed\" = 0 ] || exit 1")
	}
	s.put("[ \"$left\" = 0 ] || exit 3")
}

// aws is one line of the AWS CLI. References in the input become variables.
func (s *script) aws(before, service, op string, input any, after string) {
	s.put("\t%saws %s %s --region %s --cli-input-json %s%s", before, service, op, quote(s.region), s.argument(input), after)
}

// quiet runs a call whose answer says nothing that anybody needs.
const quiet = " >/dev/null"

func there(code string) string { return "there " + code + " " }

func (s *script) argument(input any) string {
	text := quote(compact(input))
	for name, variable := range s.ids {
		text = strings.ReplaceAll(text, `\u0000`+name+`\u0000`, `'"$`+variable+`"'`)
	}
	return text
}

type filter struct {
	Name   string
	Values []string
}

type filters struct{ Filters []filter }

func byName(vpc, name string) filters {
	return filters{[]filter{{"vpc-id", []string{vpc}}, {"group-name", []string{name}}}}
}

// find puts the ID of a group that the plan knows by name into a variable.
func (s *script) find(vpc, name string, must bool) string {
	if strings.HasPrefix(name, "sg-") {
		return quote(name)
	}
	v := s.ids[name]
	if v == "" {
		v = fmt.Sprintf("group%d", len(s.ids)+1)
		s.ids[name] = v
	}
	s.put("\t%s=$(group %s %s)", v, quote(s.region), quote(compact(byName(vpc, name))))
	if must {
		s.put("\tfound \"$%s\" %s", v, quote(name))
	}
	return `"$` + v + `"`
}

// makeGroup makes a group where there is none, and lets rules in.
func (s *script) makeGroup(c createGroup, rules []fleet.Rule) {
	v := s.find(c.VpcId, c.GroupName, false)
	s.put("\tif [ %s = None ]; then", v)
	s.put("\t\t%s=$(aws ec2 create-security-group --region %s --cli-input-json %s --query GroupId --output text)", s.ids[c.GroupName], quote(s.region), s.argument(c))
	s.put("\t\tsoon aws ec2 describe-security-groups --region %s --group-ids %s >/dev/null", quote(s.region), v)
	s.put("\tfi")
	s.put("\tfound %s %s", v, quote(c.GroupName))
	s.rules(c.GroupName, rules)
}

func (s *script) rules(group string, rules []fleet.Rule) {
	for _, r := range rules {
		s.aws(there("InvalidPermission.Duplicate"), "ec2", direction("authorize", r), s.authorize(group, r), "")
	}
}

// sources finds the groups that rules name.
func (s *script) sources(j job, lists ...[]fleet.Rule) {
	for _, r := range slices.Concat(lists...) {
		if r.Group != "" && s.ids[r.Group] == "" {
			s.find(vpcOf(j, r.Group), r.Group, true)
		}
	}
}

func (s *script) job(j job) error {
	if r, ok := roleOf(j); ok {
		s.role(r)
	}
	switch j.Kind {
	case plan.AttachProfile:
		s.profile(j)
	case plan.DefaultHostManagement:
		s.aws("", "ssm", "update-service-setting", serviceSetting{SettingId: defaultRoleSetting, SettingValue: j.Setting.Value}, quiet)
	case plan.AllowEgress, plan.RecoveryRule:
		s.sources(j, j.Rules.Rules)
		s.rules(j.Rules.Group, j.Rules.Rules)
	case plan.CreateEndpoint:
		s.endpoints(j)
	case plan.SessionPreferences:
		s.preferences(j)
	case plan.RecoveryGroup:
		return s.recovery(j)
	case plan.ClosePort:
		s.closePort(j)
	case plan.ScaleIn:
		c := j.Scaling
		s.aws("", "autoscaling", "update-auto-scaling-group", updateScaling{AutoScalingGroupName: c.Group, MinSize: c.Min, MaxSize: c.Max, DesiredCapacity: c.Desired}, "")
	}
	return nil
}

func (s *script) role(r role) {
	if r.trust != "" {
		s.aws(there("EntityAlreadyExists"), "iam", "create-role", createRole{RoleName: r.name, Path: r.path, AssumeRolePolicyDocument: r.trust, Tags: s.tags()}, "")
	}
	if r.managed != "" {
		s.aws("soon ", "iam", "attach-role-policy", map[string]string{"RoleName": r.name, "PolicyArn": r.managed}, "")
	}
	if r.policy != "" {
		s.aws("soon ", "iam", "put-role-policy", putRolePolicy{RoleName: r.name, PolicyName: r.policy, PolicyDocument: r.document}, "")
	}
}

// profile makes a profile where the step may, and attaches it to hosts without one.
func (s *script) profile(j job) {
	name := map[string]string{"InstanceProfileName": j.Profile.Name}
	if j.Profile.Create {
		s.aws(there("EntityAlreadyExists"), "iam", "create-instance-profile", map[string]any{"InstanceProfileName": j.Profile.Name, "Tags": s.tags()}, "")
		s.put("\trole=$(soon aws iam get-instance-profile --region %s --cli-input-json %s --query 'InstanceProfile.Roles[0].RoleName' --output text)", quote(s.region), s.argument(name))
		s.aws(fmt.Sprintf("[ \"$role\" = %s ] || ", quote(j.Profile.Name)), "iam", "add-role-to-instance-profile", map[string]string{"InstanceProfileName": j.Profile.Name, "RoleName": j.Profile.Name}, "")
	}
	for _, h := range j.hosts {
		// An instance that has a profile by now keeps it, whichever it is.
		s.aws("soon "+there("IncorrectState"), "ec2", "associate-iam-instance-profile", associate(j.Profile.Name, h.ID), "")
	}
}

// gateway makes an endpoint for each route table that none is routed to from.
func (s *script) gateway(j job) {
	c := j.Endpoint
	have := filters{[]filter{{"vpc-id", []string{c.VPC}}, {"service-name", c.Services}, {"vpc-endpoint-type", []string{"Gateway"}}}}
	for _, table := range c.Tables {
		query := fmt.Sprintf("length(VpcEndpoints[?contains(RouteTableIds, '%s')])", table)
		s.put("\thave=$(aws ec2 describe-vpc-endpoints --region %s --cli-input-json %s --query %s --output text)", quote(s.region), s.argument(have), quote(query))
		one := s.endpoint(j, c.Services[0])
		one.RouteTableIds = []string{table}
		s.aws(`[ "$have" != 0 ] || `, "ec2", "create-vpc-endpoint", one, quiet)
	}
}

func (s *script) endpoints(j job) {
	c := j.Endpoint
	if c.Tables != nil {
		s.gateway(j)
		return
	}
	s.makeGroup(createGroup{VpcId: c.VPC, GroupName: c.Group, Description: plan.EndpointGroupText, TagSpecifications: s.mark("security-group")}, https(c))
	for _, service := range c.Services {
		have := filters{[]filter{{"vpc-id", []string{c.VPC}}, {"service-name", []string{service}}}}
		s.put("\thave=$(aws ec2 describe-vpc-endpoints --region %s --cli-input-json %s --query 'length(VpcEndpoints[?PrivateDnsEnabled])' --output text)", quote(s.region), s.argument(have))
		s.aws(`[ "$have" != 0 ] || `, "ec2", "create-vpc-endpoint", s.endpoint(j, service), quiet)
	}
}

// preferences makes the wanted text the document's default version.
func (s *script) preferences(j job) {
	doc := document{Name: fleet.PreferencesName, Content: j.Preferences.Document, DocumentFormat: "JSON"}
	if j.Preferences.Before == "" {
		doc.DocumentType, doc.Tags = "Session", s.tags()
		s.aws(there("DocumentAlreadyExists"), "ssm", "create-document", doc, "")
		return
	}
	s.update(fleet.PreferencesName, j.Preferences.Document)
}

// update makes a text the default version of a document that is there.
func (s *script) update(name, content string) {
	doc := document{Name: name, Content: content, DocumentVersion: "$LATEST", DocumentFormat: "JSON"}
	get := fmt.Sprintf("aws ssm get-document --region %s --name %s --query Content --output text", quote(s.region), quote(name))
	s.put("\twant=%s", quote(content))
	s.put("\tif [ \"$(%s)\" != \"$want\" ]; then", get)
	s.aws("\t"+there("DuplicateDocumentContent"), "ssm", "update-document", doc, "")
	s.put("\t\tversion=$(aws ssm describe-document --region %s --name %s --query Document.LatestVersion --output text)", quote(s.region), quote(name))
	s.put("\t\tif [ \"$(%s --document-version \"$version\")\" != \"$want\" ]; then", get)
	s.put("\t\t\tsay %s", quote("the newest version of "+name+" is not the wanted one: make the version that says so the default by hand"))
	s.put("\t\t\treturn 1")
	s.put("\t\tfi")
	s.put("\t\taws ssm update-document-default-version --region %s --name %s --document-version \"$version\" >/dev/null", quote(s.region), quote(name))
	s.put("\tfi")
}

func (s *script) recovery(j job) error {
	c := j.Recovery
	t, err := s.template(c)
	if err != nil {
		return err
	}
	s.makeGroup(createGroup{VpcId: c.VPC, GroupName: c.Name, Description: plan.RecoveryGroupText, TagSpecifications: s.mark("security-group", tag{"Name", c.Name})}, fromOperators(c))
	s.aws(there("InvalidLaunchTemplateName.AlreadyExistsException"), "ec2", "create-launch-template", t, "")
	s.aws("soon "+there("AlreadyExists"), "autoscaling", "create-auto-scaling-group", s.scaling(c), "")
	return nil
}

// closePort first sees that the recovery bastion is let in and that every host
// behind the group is connected to Session Manager; else it leaves the group open.
func (s *script) closePort(j job) {
	c := j.Rules
	s.sources(j, c.Add, c.Rules)
	keep := s.find(vpcOf(j, c.Keep), c.Keep, true)
	s.put("\tclosed=yes")
	s.put("\tback=$(aws ec2 describe-security-group-rules --region %s --cli-input-json %s --query 'SecurityGroupRules[?!IsEgress].ReferencedGroupInfo.GroupId' --output text)",
		quote(s.region), s.argument(filters{[]filter{{"group-id", []string{c.Group}}}}))
	s.put("\tcase \" $(printf '%%s' \"$back\" | tr '\\n\\t' '  ') \" in")
	s.put("\t*\" \"%s\" \"*) ;;", keep)
	s.put("\t*)")
	s.put("\t\tsay %s", quote(c.Group+" stays open: it does not let the recovery bastion in"))
	s.put("\t\tclosed=no")
	s.put("\t\t;;")
	s.put("\tesac")
	s.put("\tfor host in %s; do", s.words(j.hosts))
	s.put("\t\tstatus=$(aws ssm get-connection-status --region %s --target \"$host\" --query Status --output text)", quote(s.region))
	s.put("\t\tif [ \"$status\" != connected ]; then")
	s.put("\t\t\tsay %s\"$host is not connected to Session Manager\"", quote(c.Group+" stays open: "))
	s.put("\t\t\tclosed=no")
	s.put("\t\tfi")
	s.put("\tdone")
	s.put("\tif [ \"$closed\" = yes ]; then")
	for _, r := range c.Add {
		s.aws("\t"+there("InvalidPermission.Duplicate"), "ec2", direction("authorize", r), s.authorize(c.Group, r), "")
	}
	for _, r := range c.Rules {
		s.aws("\t"+there("InvalidPermission.NotFound"), "ec2", direction("revoke", r), revoke(c.Group, r), "")
	}
	s.put("\telse")
	s.put("\t\tleft=1")
	s.put("\tfi")
}

func (s *script) words(hosts []fleet.HostRef) string {
	out := make([]string, 0, len(hosts))
	for _, h := range hosts {
		out = append(out, quote(h.ID))
	}
	return strings.Join(out, " ")
}
