package main

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// choices are what migrate.yaml is to say. What init does not ask for stands in
// the file as a comment with its default.
type choices struct {
	accounts   []accountConfig
	sshOff     bool
	sshConfig  string // "": left out; "none"
	jump       string
	runCommand bool
}

// configTemplate is migrate.yaml. Taking "#" away makes a setting of a line that is
// commented out; all other comments begin with one blank. A test keeps it in step with config.
const configTemplate = `# migrate.yaml: how migrate reaches AWS and your hosts, written by migrate init. Keep it beside migrate.db,
# where you run migrate. All of it is optional: what is commented out has the value shown.
# Unknown and repeated keys are refused. File names are relative to this file, ~/ is your home folder.
# docs/configuration.md tells more. Nothing secret belongs here.

# Ways into AWS. Without any, migrate uses the AWS SDK's default credentials and Region.
accounts:
%ACCOUNTS%
# Further accounts by a role that is assumed:
#  - label: sandbox          # what tables call it; left out: the profile or the role's ARN
#    profile: default        # credentials to assume the role with; left out: the SDK's default ones
#    role_arn: arn:aws:iam::123456789012:role/migrate-read
#    external_id: if-the-role-asks-for-one
#    regions: [all]          # [all]: every Region enabled in the account; left out: the profile's own

aws: # calls a second in each account and Region; AWS's own limits are a little higher, and others share them
#  connection_rate: 40       # of ssm:GetConnectionStatus (AWS's quota is 50)
#  session_rate: 2.5         # of ssm:StartSession (AWS's quota is 3)
#  ec2_read_rate: 15         # of EC2's calls that read
#  ec2_change_rate: 4        # of EC2's calls that change something

ssh: # how hosts are read today: one login and one command each, which changes nothing
%SSHOFF%
%SSHCONFIG%
#  users: [ec2-user, ubuntu] # login names tried in order where ssh_config names none
#  identity_files: []        # private keys besides those of ssh_config and the ssh-agent
%JUMP%
#  proxy: ""                 # socks5://127.0.0.1:1080: every first hop is dialed through it
#  known_hosts: []           # left out: ~/.ssh/known_hosts
#  host_keys: strict         # strict: unknown host keys are refused; accept-new: recorded on first use
#  address: private          # which address of a host to use: private, public, auto
#  port: 22
#  concurrency: 256          # hosts at once
#  timeout: 60s              # for one host

# In which order an inventory tries to read hosts. Run Command reads those that SSH does not reach, as after a
# cutover; it needs ssm:SendCommand (docs/permissions.md).
%HOSTSBY%

readiness: # what counts as ready
#  functional_floor: 3.1.1374.0 # SSM Agents below it block: they lack kinds of sessions
#  security_floor: 3.3.4851.0   # SSM Agents below it are a risk
#  unused_days: 90           # a key is called unused after so many days, as far as the logs reach
#  silent_days: 30           # somebody who came over SSH is silent after so many days, as far as the logs reach

recovery: # where the recovery key is, the second way in. migrate recovery init makes it and says what to write here
#  store: file               # file, age, kms, secrets-manager
#  key_file: migrate-recovery
#  passphrase_file: ""       # file, age; left out: the passphrase is asked for
#  recipients_file: ""       # age: who can open it (age1…)
#  identity_files: []        # age: what opens it for them (AGE-SECRET-KEY-…)
#  kms_key: ""               # kms: the ARN of the KMS key
#  secret: ""                # secrets-manager: the ARN of the secret

copy: # what migrate cp passes files through
#  bucket: ""                # an S3 bucket in the Region of the hosts
#  prefix: migrate-cp/       # how the names of its objects begin

access: # what the policies and session documents that are left behind allow (docs/access.md)
#  team_tag: ""              # tag of the hosts that names the team
#  ssh: false                # SSH through Session Manager
#  run_command: false        # Run Command
#  forward:                  # hosts to which ports may be forwarded
#    - team: web
#      host: db.example.com
#      port: 5432
#  preferences:              # of sessions
#    log_group: ""
#    bucket: ""
#    prefix: ""
#    kms_key_arn: ""
#    run_as: ""
#    idle_timeout: 0         # minutes
#    max_duration: 0         # minutes
#    shell_profile: ""

agent:
#  signing_key_file: ""      # OpenPGP key of AWS's agent packages; left out: the published one, built in

# Whose SSH keys are whose (migrate ledger --init writes a first one), and how the fleet is cut over
# (migrate plan --policy-template prints one). Left out: these files, where they exist.
#owners: migrate-owners.yaml
#policy: migrate-policy.yaml
`

// text writes the file.
func (c choices) text() string {
	or := func(set bool, active, comment string) string {
		if set {
			return active
		}
		return comment
	}
	var accounts []string
	for _, a := range c.accounts {
		accounts = append(accounts, accountText(a)...)
	}
	if len(accounts) == 0 {
		accounts = []string{"#  - profile: default"}
	}
	fill := strings.NewReplacer(
		"%ACCOUNTS%", strings.Join(accounts, "\n"),
		"%SSHOFF%", or(c.sshOff, "  disabled: true             # false: hosts are read over SSH, too", "#  disabled: false           # true: only the AWS APIs are read"),
		"%SSHCONFIG%", or(c.sshConfig != "", "  config_file: "+scalar(c.sshConfig)+"            # none: no ssh_config is read", "#  config_file: ~/.ssh/config # left out: ~/.ssh/config and /etc/ssh/ssh_config; \"none\": neither"),
		"%JUMP%", or(c.jump != "", "  jump: "+scalar(c.jump)+" # bastion for every host", "#  jump: \"\"                  # bastion for every host, where ssh_config names none: user@host:port, several by comma"),
		"%HOSTSBY%", or(c.runCommand, "hosts_by: [ssh, run-command]", "#hosts_by: [ssh]"),
	)
	return fill.Replace(configTemplate)
}

func accountText(a accountConfig) []string {
	var out []string
	add := func(key, value string) {
		lead := "    "
		if len(out) == 0 {
			lead = "  - "
		}
		out = append(out, lead+key+": "+value)
	}
	if a.Label != "" {
		add("label", scalar(a.Label))
	}
	if a.Profile != "" {
		add("profile", scalar(a.Profile))
	}
	if a.Label == "" && a.Profile == "" {
		add("label", "default")
	}
	if len(a.Regions) > 0 {
		add("regions", "["+strings.Join(a.Regions, ", ")+"]")
	}
	return out
}

// plainScalar is what YAML takes for text without quotes, in all its versions.
var plainScalar = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// scalar writes text as YAML. In quotes all but plain ASCII is escaped: YAML takes
// some other characters for line breaks.
func scalar(s string) string {
	if plainScalar.MatchString(s) && !slices.Contains([]string{"null", "true", "false", "yes", "no", "on", "off", "y", "n"}, s) {
		return s
	}
	return strconv.QuoteToASCII(s)
}

// regionName is how Regions are called in every partition.
var regionName = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$`)

func checkRegion(name string) error {
	if name == "all" || regionName.MatchString(name) {
		return nil
	}
	return fmt.Errorf("%q is no Region such as eu-west-1, and not all", oneLine(cmp.Or(name, "")))
}
