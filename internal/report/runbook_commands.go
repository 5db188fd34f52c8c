package report

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// network is a network of the runbook with the name that its bastion has in ssh_config.
type network struct {
	RunbookNetwork
	bastion string
	account RunbookAccount
}

// scaling are commands about the network's Auto Scaling group.
func (n network) scaling(action string) string {
	flag := "--auto-scaling-group-name"
	if strings.HasPrefix(action, "describe-auto-scaling-groups") {
		flag += "s"
	}
	return fmt.Sprintf("aws autoscaling %s --region %s %s %s", action, shellWord(n.At.Region), flag, shellWord(n.Group))
}

func (n network) start() []string {
	return []string{
		n.scaling("update-auto-scaling-group") + " \\", "    --min-size 0 --desired-capacity 1",
		"until BASTION=$(" + n.scaling("describe-auto-scaling-groups") + " \\",
		`        --query "AutoScalingGroups[0].Instances[?LifecycleState=='InService'].InstanceId | [0]" --output text) &&`,
		`    [ "${BASTION#i-}" != "$BASTION" ]`,
		"do sleep 5; done",
		`echo "$BASTION"`,
	}
}

// address sets the bastion's address, and begins its part of ssh_config: the
// newest comes first there, and the first counts.
func (n network) address() []string {
	field := "PrivateIpAddress"
	if n.Public {
		field = "PublicIpAddress"
	}
	return []string{
		fmt.Sprintf(`ADDRESS=$(aws ec2 describe-instances --region %s --instance-ids "$BASTION" \`, shellWord(n.At.Region)),
		"    --query 'Reservations[0].Instances[0]." + field + "' --output text)",
		fmt.Sprintf(`printf 'Host %s\n    HostName %%s\n\n' "$ADDRESS" | cat - ssh_config >ssh_config.new && mv ssh_config.new ssh_config`, n.bastion),
	}
}

// consoleKeys reads host keys from an instance's console into known_hosts.
func consoleKeys(region, instance, name string) []string {
	return []string{
		fmt.Sprintf("until aws ec2 get-console-output --region %s --instance-id %s --latest \\", region, instance),
		"        --query Output --output text >console.txt &&",
		"    grep -q 'END SSH HOST KEY KEYS' console.txt",
		"do sleep 5; done",
		"sed -n '/BEGIN SSH HOST KEY KEYS/,/END SSH HOST KEY KEYS/p' console.txt |",
		"    grep -oE '(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp[0-9]+) [A-Za-z0-9+/]+=*' |",
		fmt.Sprintf(`    sed "s|^|%s |" >>known_hosts`, name),
	}
}

func (n network) zero() []string {
	return []string{
		n.scaling("update-auto-scaling-group") + " \\", "    --min-size 0 --desired-capacity 0",
		`until [ "$(` + n.scaling("describe-auto-scaling-groups") + " \\",
		`        --query 'length(AutoScalingGroups[0].Instances)' --output text)" = 0 ]`,
		"do sleep 5; done",
	}
}

// ssh is a login to a host by the bastion. The host's own name for its key is the
// instance ID: addresses may be taken in several VPCs.
func (n network) ssh(h RunbookHost, options string) string {
	return fmt.Sprintf("ssh -F ssh_config -J %s -o HostKeyAlias=%s -l %s%s %s", n.bastion, safe(h.ID), shellWord(h.User), options, h.Address)
}

// shell opens a shell of root's.
func (n network) shell(h RunbookHost) string {
	if h.User == "root" {
		return n.ssh(h, " -t")
	}
	return n.ssh(h, " -t") + " sudo -i"
}

// asRoot runs a command, which leaves alone what is typed or pasted after it.
func (n network) asRoot(h RunbookHost, command string) string {
	if h.User == "root" {
		return n.ssh(h, " -n") + " " + command
	}
	return n.ssh(h, " -n") + " sudo -n " + command
}

// endpoint opens a shell of root's by EC2 Instance Connect Endpoint.
func (n network) endpoint(h RunbookHost) string {
	proxy := fmt.Sprintf("aws ec2-instance-connect open-tunnel --region %s --instance-id %s", safe(n.At.Region), safe(h.ID))
	line := fmt.Sprintf("ssh -F ssh_config -o ProxyCommand=%s -l %s -t %s", shellWord(proxy), shellWord(h.User), safe(h.ID))
	if h.User != "root" {
		line += " sudo -i"
	}
	return line
}

// hostLine is a comment that names a host.
func hostLine(h RunbookHost) string {
	if h.Name == "" || h.Name == h.ID {
		return "# " + safe(h.ID)
	}
	return "# " + safe(h.Name) + " " + safe(h.ID)
}

// authorize is the command that gives a security group a rule again, word for word.
func authorize(g RunbookGroup, r fleet.Rule) []string {
	lines := []string{
		fmt.Sprintf("aws ec2 authorize-security-group-ingress --region %s --group-id %s \\", shellWord(g.At.Region), shellWord(g.ID)),
		"    --ip-permissions " + shellWord(asciiJSON([]any{permissionOf(r)})),
	}
	if tags := ruleTags(r); len(tags) > 0 {
		lines[1] += " \\"
		lines = append(lines, "    --tag-specifications "+shellWord(asciiJSON([]any{map[string]any{"ResourceType": "security-group-rule", "Tags": tags}})))
	}
	return lines
}

// permissionOf is a rule as the EC2 API takes it.
func permissionOf(r fleet.Rule) map[string]any {
	p := map[string]any{"IpProtocol": r.Protocol}
	if r.Protocol != "-1" {
		p["FromPort"], p["ToPort"] = r.From, r.To
	}
	source := map[string]any{}
	if r.Description != "" {
		source["Description"] = r.Description
	}
	list := "IpRanges"
	switch {
	case r.PrefixList != "":
		list, source["PrefixListId"] = "PrefixListIds", r.PrefixList
	case r.Group != "":
		list, source["GroupId"] = "UserIdGroupPairs", r.Group
		if r.GroupAccount != "" {
			source["UserId"] = r.GroupAccount
		}
	case r.CIDR.Addr().Is4():
		source["CidrIp"] = r.CIDR.String()
	default:
		list, source["CidrIpv6"] = "Ipv6Ranges", r.CIDR.String()
	}
	p[list] = []any{source}
	return p
}

// ruleTags are a rule's tags but for AWS's own, which nobody may set.
func ruleTags(r fleet.Rule) []map[string]string {
	var out []map[string]string
	for _, k := range slices.Sorted(maps.Keys(r.Tags)) {
		if !strings.HasPrefix(k, "aws:") {
			out = append(out, map[string]string{"Key": k, "Value": r.Tags[k]})
		}
	}
	return out
}

// asciiJSON is JSON of which every byte can be seen.
func asciiJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps, lists, strings and numbers always can be
	}
	var b strings.Builder
	for _, r := range string(text) {
		switch {
		case r < 0x7f:
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		}
	}
	return b.String()
}

// sshConfig writes the settings that all logins share, and those of the bastions but
// for their addresses, which are known only when they run.
func sshConfig(r Runbook, list []network) []string {
	lines := []string{"cat >ssh_config <<'EOF'"}
	for _, n := range list {
		lines = append(lines, "Host "+n.bastion, "    User "+safe(n.User))
		if r.Proxy != "" {
			lines = append(lines, "    ProxyCommand nc -X 5 -x "+safe(r.Proxy)+" %h %p")
		}
		lines = append(lines, "")
	}
	lines = append(lines, "Host *", "    IdentityFile login_key")
	if r.Key.CA {
		lines = append(lines, "    CertificateFile login_key-cert.pub")
	}
	return append(lines, "    IdentitiesOnly yes", "    UserKnownHostsFile known_hosts", "    StrictHostKeyChecking yes", "    ConnectTimeout 30", "EOF")
}

// knownHosts writes the host keys that are known today.
func knownHosts(list []network) []string {
	lines := []string{"cat >known_hosts <<'EOF'"}
	for _, n := range list {
		for _, h := range n.Hosts {
			for _, k := range h.Keys {
				if typ, blob, ok := strings.Cut(k, " "); ok {
					lines = append(lines, safe(h.ID)+" "+safe(typ)+" "+keepBase64(blob))
				}
			}
		}
	}
	return append(lines, "EOF")
}

// keepBase64 keeps of a public key what belongs to base64: its comment is left out.
func keepBase64(s string) string {
	s, _, _ = strings.Cut(s, " ")
	return strings.Map(func(r rune) rune {
		if r < 0x7f && (r == '+' || r == '/' || r == '=' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z') {
			return r
		}
		return -1
	}, s)
}

// takeKey puts the private key to login_key. What a store keeps may be the keys of
// several generations, newest first: ssh takes the first of a file.
func takeKey(k RunbookKey) []string {
	target := "login_key"
	if k.CA {
		target = "ca_key"
	}
	where := shellWord(k.Location)
	var lines []string
	switch k.Store {
	case KeyInAge:
		line := "age --decrypt"
		for _, i := range k.Identities {
			line += " -i " + shellWord(i)
		}
		lines = append(lines, line+" -o "+target+" "+where)
	case KeyInSecrets:
		lines = append(lines,
			fmt.Sprintf("aws secretsmanager get-secret-value --region %s --secret-id %s \\", shellWord(k.Region), where),
			"    --query SecretString --output text >"+target)
	case KeyInKMS:
		lines = append(lines,
			`field() { sed -n "s|.*\"$1\": \"\([^\"]*\)\".*|\1|p" `+where+` | base64 -d; }`,
			"field dataKey >data_key",
			fmt.Sprintf("DATA_KEY=$(aws kms decrypt --region %s --key-id %s --ciphertext-blob fileb://data_key \\", shellWord(k.Region), shellWord(k.KMSKey)),
			"    --encryption-context purpose=migrate-recovery-key --query Plaintext --output text |",
			"    base64 -d | od -An -v -tx1 | tr -d ' \\n')",
			"field ciphertext | openssl enc -d -aes-256-ctr -K \"$DATA_KEY\" \\",
			"    -iv \"$(field nonce | od -An -v -tx1 | tr -d ' \\n')00000002\" | LC_ALL=C sed '/-----END/q' >"+target,
			"unset DATA_KEY")
	default:
		lines = append(lines, "ln -sfn "+where+" "+target)
	}
	if k.CA {
		lines = append(lines,
			"ssh-keygen -q -t ed25519 -N '' -C '' -f login_key",
			"ssh-keygen -q -s ca_key -I recovery -n "+fleet.RecoveryPrincipal+" -V -5m:+8h login_key.pub")
	}
	return lines
}
