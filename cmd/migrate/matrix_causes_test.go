package main

import (
	"slices"

	"ssm-migrate/internal/simfleet"
)

// expectations are by the cause's name.
var expectations = map[string]expectation{
	"endpoint-missing":                 {codes: []string{"endpoint-missing"}, fix: "ssmmessages"},
	"private-dns-off":                  {codes: []string{"private-dns-off", "dns-split"}, fix: "private DNS"},
	"endpoint-group-closed":            {codes: []string{"endpoint-group-closed"}, fix: "443"},
	"endpoint-breaks-neighbours":       {codes: []string{"endpoint-group-closed"}, also: []string{"endpoint-shuts-out-neighbours"}, fix: "443"},
	"dns-domain-taken":                 {codes: []string{"dns-zone-conflict", "dns-zone-hides"}, fix: "zone"},
	"vpc-dns-off":                      {codes: []string{"dns-off"}, fix: "enableDnsSupport"},
	"acl-drops-replies":                {codes: []string{"acl-closed"}, fix: "acl-"},
	"endpoint-policy":                  {codes: []string{"endpoint-policy-denies"}, fix: "policy"},
	"firewall-drops-ssm":               {codes: []string{"firewall-drops"}, fix: "firewall"},
	"tls-inspection":                   {codes: []string{"tls-intercepted"}, fix: "inspection"},
	"trust-store-without-amazon":       {codes: []string{"root-ca-missing"}, also: []string{"trust-store-incomplete"}, fix: "Amazon Root CA 1"},
	"proxy-missing":                    {codes: []string{"proxy-missing"}, fix: "https_proxy"},
	"proxy-answers-metadata":           {codes: []string{"proxy-answers-metadata"}, fix: "no_proxy"},
	"ipv6-only":                        {codes: []string{"ipv6-only"}, also: []string{"ssh-not-scanned"}, fix: "UseDualStackEndpoint"},
	"nat-swapped":                      {codes: []string{"channel-stale"}, fix: "restart"},
	"metadata-off":                     {codes: []string{"imds-disabled"}, fix: "modify-instance-metadata-options"},
	"metadata-hop-limit":               {codes: []string{"agent-behind-hop-limit"}, fix: "hop limit"},
	"no-profile":                       {codes: []string{"profile-missing"}, fix: "instance profile"},
	"shared-role-without-ssm":          {codes: []string{"role-lacks-session-actions"}, also: []string{"role-serves-application", "run-command-denied", "state-manager-denied", "kms-decrypt-denied", "log-check-denied"}, fix: "ssm:UpdateInstanceInformation"},
	"channel-actions-missing":          {codes: []string{"role-lacks-session-actions"}, also: []string{"run-command-denied", "state-manager-denied"}, fix: "ssmmessages:OpenDataChannel"},
	"scp-denies-channels":              {codes: []string{"controls-deny-session-actions"}, also: []string{"run-command-denied"}, fix: "service control policy"},
	"boundary-without-kms":             {codes: []string{"kms-decrypt-denied"}, fix: "boundary"},
	"agent-sleeps":                     {codes: []string{"agent-sleeping"}, fix: "restart"},
	"profile-shadows-default-role":     {codes: []string{"default-role-shut-out"}, fix: "UpdateInstanceInformation"},
	"default-role-changes-credentials": {codes: []string{"default-role-runs-commands"}, fix: "role"},
	"root-credentials":                 {codes: []string{"credentials-file"}, fix: "/root/.aws/credentials"},
	"leftover-registration":            {codes: []string{"hybrid-registration"}, also: []string{"nodes-without-instance"}, fix: "registration"},
	"document-grant-opens-shell":       {codes: []string{"operator-document-unchecked", "operator-document-implicit"}, also: []string{"access-gained"}, fix: "SessionDocumentAccessCheck"},
	"kms-decrypt-missing":              {codes: []string{"kms-decrypt-denied"}, fix: "kms:Decrypt"},
	"log-encryption-unverifiable":      {codes: []string{"log-check-denied", "bucket-check-denied"}, fix: "logs:DescribeLogGroups"},
	"run-as-user-missing":              {codes: []string{"runas-user-missing"}, fix: "useradd"},
	"ssm-user-foreign":                 {codes: []string{"ssm-user-without-sudo"}, fix: "/etc/sudoers.d/ssm-agent-users"},
	"idle-timeout":                     {codes: []string{"idle-timeout-short"}, fix: "idleSessionTimeout"},
	"disk-full":                        {codes: []string{"disk-full"}, fix: "free space on /"},
	"inodes-exhausted":                 {codes: []string{"disk-full"}, fix: "free inodes on /var"},
	"inotify-exhausted":                {codes: []string{"inotify-exhausted"}, fix: "max_user_instances"},
	"noexec-var":                       {codes: []string{"noexec-agent-data"}, fix: "exec"},
	"agent-too-old":                    {codes: []string{"agent-too-old"}, fix: "update"},
	"agent-installed-twice":            {codes: []string{"agent-installed-twice"}, fix: "remove"},
	"agent-disabled":                   {codes: []string{"agent-not-enabled", "agent-disabled"}, fix: "systemctl enable"},
	"hardening-stops-agent":            {codes: []string{"agent-stopped", "agent-disabled"}, fix: "systemctl enable"},
	"clock-skew":                       {codes: []string{"clock-skew"}, fix: "chrony"},
	"keys-bound-to-addresses":          {codes: []string{"key-with-options"}, fix: "from="},
	"match-address":                    {codes: []string{"sshd-refuses-loopback"}, fix: "Match"},
	"listen-address":                   {codes: []string{"sshd-refuses-loopback"}, fix: "ListenAddress"},
	"keys-by-instance-connect":         {codes: []string{"key-commands"}, fix: "Instance Connect"},
	"keys-by-command":                  {codes: []string{"key-commands"}, fix: "AuthorizedKeysCommand"},
	"keys-by-authority":                {codes: []string{"key-authorities"}, fix: "TrustedUserCAKeys"},
	"bulk-copies":                      {codes: []string{"ssh-copies"}, fix: "S3"},
	"ansible":                          {codes: []string{"ssh-ansible"}, fix: "aws_ssm"},
	"forgotten-script":                 {codes: []string{"consumer-forgotten"}, fix: "owner"},
	"git-over-agent":                   {codes: []string{"ssh-git", "ssh-agent-forwarding"}, fix: "deploy key"},
	"long-lists":                       {also: []string{"nodes-without-instance"}, miss: "there is nothing to find: every list is read to its end. A note counts the machines outside EC2, all of them, beside the instances"},
	"template-undoes-fix":              {codes: []string{"template-undoes-fixes"}, fix: "launch template"},
}

// hides are pairs of which the first to act keeps the other from showing.
var hides = map[[2]string]string{
	{"no-profile", "shared-role-without-ssm"}:                            ownProfile,
	{"no-profile", "channel-actions-missing"}:                            ownProfile,
	{"no-profile", "scp-denies-channels"}:                                ownProfile,
	{"no-profile", "boundary-without-kms"}:                               ownProfile,
	{"no-profile", "profile-shadows-default-role"}:                       ownProfile,
	{"no-profile", "default-role-changes-credentials"}:                   ownProfile,
	{"no-profile", "kms-decrypt-missing"}:                                ownProfile,
	{"no-profile", "log-encryption-unverifiable"}:                        ownProfile,
	{"shared-role-without-ssm", "profile-shadows-default-role"}:          ownRights,
	{"shared-role-without-ssm", "kms-decrypt-missing"}:                   ownRights,
	{"shared-role-without-ssm", "log-encryption-unverifiable"}:           ownRights,
	{"default-role-changes-credentials", "kms-decrypt-missing"}:          ownRights,
	{"default-role-changes-credentials", "log-encryption-unverifiable"}:  ownRights,
	{"channel-actions-missing", "profile-shadows-default-role"}:          "it is the same lack: where the default role is on, it shuts that out",
	{"shared-role-without-ssm", "default-role-changes-credentials"}:      defaultServes,
	{"channel-actions-missing", "default-role-changes-credentials"}:      defaultServes,
	{"scp-denies-channels", "default-role-changes-credentials"}:          defaultServes,
	{"boundary-without-kms", "default-role-changes-credentials"}:         defaultServes,
	{"profile-shadows-default-role", "default-role-changes-credentials"}: defaultServes,
	{"default-role-changes-credentials", "root-credentials"}:             unheard,
	{"default-role-changes-credentials", "leftover-registration"}:        unheard,
	{"agent-sleeps", "default-role-changes-credentials"}:                 unheard,
	{"no-profile", "agent-sleeps"}:                                       sleepFollows,
	{"shared-role-without-ssm", "agent-sleeps"}:                          sleepFollows,
	{"channel-actions-missing", "agent-sleeps"}:                          sleepFollows,
	{"scp-denies-channels", "agent-sleeps"}:                              sleepFollows,
	{"agent-sleeps", "profile-shadows-default-role"}:                     sleepFollows,
	{"agent-sleeps", "root-credentials"}:                                 sleepFollows,
	{"agent-sleeps", "leftover-registration"}:                            "the registration's agent has other credentials, whose refusal is not in the log",
	{"agent-sleeps", "agent-installed-twice"}:                            stopped,
	{"agent-sleeps", "hardening-stops-agent"}:                            stopped,
	{"run-as-user-missing", "ssm-user-foreign"}:                          "sessions run as another user, so that what ssm-user may do does not matter",
}

const (
	stopped       = "an agent that does not run does not sleep"
	ownProfile    = "the second gives the host a role of its own, and with it a profile"
	ownRights     = "the second gives the host's role all but what it is about"
	defaultServes = "the default role takes the host over, so that the profile's role no longer matters"
	unheard       = "only an agent that Systems Manager hears says that it runs under the default role"
	sleepFollows  = "the agent sleeps because of the other, and is named as what follows from it"
)

// whyHidden gives the reason why one cause rightly does not show beside
// another; empty without one.
func whyHidden(missing, other simfleet.Cause) string {
	switch m, o := missing.Name, other.Name; {
	case m == "nat-swapped" && other.Breaks:
		return "a control channel that cannot open cannot be seen to have died unnoticed"
	case m == "agent-sleeps" && other.Breaks:
		return "the other cause stops the agent, or makes it sleep by itself: its sleep follows from that"
	case m == "default-role-changes-credentials" && other.Breaks:
		return "the default role manages no host that Systems Manager does not hear"
	case m == "profile-shadows-default-role" && (o == "agent-too-old" || o == "metadata-off"):
		return "such an agent could not use the default role anyway: the role's own lack is named"
	case o == "ipv6-only" && slices.Contains(onTheHost, m):
		return "the host has no IPv4 address, nobody logs in over SSH, and no API shows it"
	case o == "ipv6-only" && slices.Contains(onTheWay, m):
		return "the host has no IPv4 address, so that nothing on the way of IPv4 decides"
	case o == "metadata-hop-limit":
		return "the agent runs in a container, and nothing on the host shows how"
	case m == "metadata-hop-limit" && (o == "no-profile" || o == "leftover-registration"):
		return "an agent in a container that never registered leaves no trace outside of it"
	case o == "proxy-answers-metadata" && slices.Contains(onTheWay, m):
		return "the agent goes through its proxy, so that the VPC's own way does not decide"
	case m == "disk-full" && o == "noexec-var":
		return "that one makes /var a file system of its own, so that the agent's folders are no longer on the full one"
	case m == "trust-store-without-amazon" && o == "tls-inspection":
		return "the firewall's certificate is all that the host is shown"
	case slices.Contains(onTheWay, m) && slices.Contains(onTheWay, o):
		return "on one way the first thing that stops a connection is named; the next shows once that is mended"
	}
	return ""
}

// onTheWay are causes that a connection meets one after the other; onTheHost
// are those that only the host itself shows.
var (
	onTheWay = []string{
		"endpoint-missing", "private-dns-off", "endpoint-group-closed", "endpoint-breaks-neighbours", "dns-domain-taken", "vpc-dns-off", "acl-drops-replies",
		"endpoint-policy", "firewall-drops-ssm", "tls-inspection", "trust-store-without-amazon", "proxy-missing",
	}
	onTheHost = []string{
		"proxy-answers-metadata", "root-credentials", "leftover-registration", "run-as-user-missing", "ssm-user-foreign", "idle-timeout", "disk-full", "inodes-exhausted", "inotify-exhausted",
		"noexec-var", "agent-installed-twice", "agent-disabled", "hardening-stops-agent", "clock-skew", "metadata-hop-limit", "keys-bound-to-addresses", "match-address",
		"listen-address", "keys-by-instance-connect", "keys-by-command", "keys-by-authority", "bulk-copies", "ansible", "forgotten-script", "git-over-agent", "agent-sleeps",
		"trust-store-without-amazon",
	}
)
