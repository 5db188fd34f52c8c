package plan

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// mostPolicy is how long a policy file may be, in bytes.
const mostPolicy = 1 << 20

// ParsePolicy reads a policy file, YAML over the values of DefaultPolicy, and
// validates it. Unknown and repeated keys are refused: a misspelled safety
// setting must not be silently ignored.
func ParsePolicy(text []byte) (Policy, error) {
	p := DefaultPolicy()
	if len(text) > mostPolicy {
		return Policy{}, fmt.Errorf("the policy is longer than %d bytes", mostPolicy)
	}
	if !onlyComments(text) {
		if err := yaml.Load(text, &p, yaml.WithKnownFields(), yaml.WithUniqueKeys()); err != nil {
			return Policy{}, err
		}
	}
	if err := p.Validate(); err != nil {
		return Policy{}, err
	}
	return p, nil
}

func onlyComments(text []byte) bool {
	for line := range strings.Lines(string(text)) {
		if l := strings.TrimSpace(line); l != "" && l != "---" && l[0] != '#' {
			return false
		}
	}
	return true
}

var errNoPlan = errors.New("not a plan")

// PolicyTemplate is a policy file that says what the defaults are, with
// everything else as comments.
func PolicyTemplate() string { return policyTemplate }

const policyTemplate = `# How this fleet is cut over (docs/plan.md). Every key may be left out; what stands here are the defaults.

# --- waves ---------------------------------------------------------------------------------------
canary: 1                # hosts in the first wave; 0: no canary
waves: ["5", "25%"]      # sizes of the following waves, hosts or a share of all; the last repeats
group_by: ""             # "asg", "az" or "tag:NAME": no wave holds more than "spread" percent of one group
spread: 50               # percent; one host at least; 100: no limit
order: []                # hosts that match earlier selectors go into earlier waves, others last
#  - tags: {env: dev}    # id, name, asg, vpc, tags: all that are given must match; * and ? match
#  - asg: web-*
exclude: []              # hosts that stay as they are
#  - name: legacy-*
#    reason: retired in March
pins: []                 # hosts that go into a wave of your choice, counted from 1, whatever the keys above say
#  - {id: i-0123456789abcdef0, wave: 3, reason: after its clients}

# --- pace ----------------------------------------------------------------------------------------
soak: 30m                # how long a wave is watched before the next
windows: []              # when doors may close; none: always
#  - {days: mon-fri, from: "09:00", to: "16:30", zone: Europe/Berlin}
error_budget: 0          # hosts of one wave that may fail before the wave is rolled back
concurrency: 8           # hosts, or shared things, at once

# --- safety --------------------------------------------------------------------------------------
proof_age: 15m           # how old a proof through Session Manager may be when a door closes
recovery_age: 24h        # how old a login by the recovery bastion may be
timer: 15m               # after which a dead man's switch opens the door again; 5m at least
require_silent: true     # false: close hosts that an active consumer of SSH (migrate ledger) still uses
require_access: true     # false: close hosts on which somebody in the owners file would lose access (migrate access)
split_wide_rules: false  # true: replace rules for all protocols by TCP without 22, UDP and ICMP

# --- fixes: apply, hand (left to others; the plan waits for it), auto (apply; hand where somebody's code
# --- owns the thing: a CloudFormation stack, or managed_by) or never (the host is refused) ------------
fixes:
  attach-profile: auto
  extend-role: auto
  allow-egress: auto
  create-endpoint: auto
  agent: apply
  default-host-management: never   # acts on every instance of the Region without a working profile
  session-preferences: never       # turns off what the preferences ask for and the account cannot give
  wait-for: never                  # hand: hosts with a cause that no step fixes wait in their wave until somebody does
  timer-role: auto                 # this and the following have no never: without them no door closes
  recovery-group: auto
  recovery-rule: auto
  recovery-key: apply
managed_by: ["managed*by=*terraform*", "managed*by=*tofu*", "managed*by=*pulumi*", "terraform=true", "opentofu=true"]  # TAG=PATTERN of things that code owns
profile: ""              # instance profile for hosts without one; empty: migrate makes its own
agent_floor: ""          # version that agents have after their fix; empty: readiness.functional_floor
agent_source: ""         # https://mirror.example.com/ssm-agent/{folder}/{file}: a mirror of the Region's bucket, for rpm and deb
endpoint_policy: account # whom new endpoints let through: account, o-… (an organization's ID) or open
endpoint_sources: []     # blocks of addresses besides the VPC's own that new endpoints let in: networks that ask its name server
wait: 24h                # how long to wait for what others bring about; 0s: for ever
bastions: []             # hosts that act as bastions, besides those that the inventory came through
#  - name: jump-*

# --- the way back in. Without a key and the operators' addresses nothing is closed. -------------
recovery:
  public_key: ""         # ssh-ed25519 AAAA… recovery (the private key stays with you); empty: the newest of migrate recovery init
  from: []               # blocks of addresses from which operators come, such as 198.51.100.0/24
  type: t3.micro
  image: ""              # AMI; empty: that of the VPC's present bastion, or of its newest Linux host
  user: ""               # login user of the image; empty: by the image's family
  options: [restrict, pty]  # of the key's line on hosts
  bind: true             # take the key only from the bastion's subnets and those of Instance Connect Endpoints
  ca: false              # true: the key signs short-lived certificates, and does not log in itself
  key_age: 2160h         # how old the key may be before it is to be rotated; 0s: any age
  rotate: never          # after a drill that succeeded: never, due (when the key is older than key_age) or always
  drill_sample: 3        # hosts of each VPC that a drill logs in to, and one of each image and wave

hooks:                   # run by sh with MIGRATE_PLAN, MIGRATE_WAVE and MIGRATE_HOSTS
  before_wave: ""        # one that fails stops the run ahead of the wave
  after_wave: ""         # one that fails is a failed gate
`
