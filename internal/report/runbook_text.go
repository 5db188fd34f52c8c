package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ssm-migrate/internal/fleet"
)

// writeRunbook writes all chapters.
func writeRunbook(r Runbook) *paper {
	b := &book{paper: &paper{Title: "Recovery runbook"}, Runbook: r}
	for i, n := range r.Networks {
		k := slices.IndexFunc(r.Accounts, func(a RunbookAccount) bool { return a.ID == n.At.Account })
		one := network{RunbookNetwork: n, bastion: fmt.Sprintf("bastion-%d", i+1)}
		if k >= 0 {
			one.account = r.Accounts[k]
		}
		b.networks = append(b.networks, one)
	}
	b.opening()
	b.sessionManagerDown()
	b.oneHost()
	b.noLaunch()
	b.noAPIs()
	b.keyLost()
	b.databaseLost()
	b.keyFiles()
	b.rules()
	b.afterwards()
	b.facts()
	return b.paper
}

// book is a runbook while it is written.
type book struct {
	*paper
	Runbook
	networks []network
}

func (n network) title() string {
	name := n.VPC
	if n.Name != "" {
		name += " (" + n.Name + ")"
	}
	return name + ", " + n.At.Region + ", account " + n.At.Account
}

func (b *book) opening() {
	b.say("Made %s by migrate %s, from the inventory of %s and %s.", minute(b.Made), b.Version, cmp.Or(minute(b.Snapshot.Started), "a time not known"), planText(b.Plan))
	b.say("It leads back into the hosts with **AWS CLI and OpenSSH alone**: without migrate, without its database, and with the AWS console down. Keep it where an outage of AWS does not block it, next to the recovery key, and make it anew after each cutover, rotation, or change of the fleet: `migrate recovery runbook -o runbook.md`.")
	b.say("Commands are for bash or zsh. Copy them from the Markdown or the HTML file: on paper, long lines are broken. Run them in one terminal from top to bottom; later chapters use what the first has set up.")
	b.heading(2, "What is broken?")
	b.table("What you see", "Where to read on")
	for _, r := range [][2]string{
		{"Sessions do not start, on many hosts or in a whole Region; EC2 answers", "Session Manager is down"},
		{"Sessions do not start on one host", "One host is lost"},
		{"The bastion does not come up: InsufficientInstanceCapacity, launches fail, or nothing happens for ten minutes", "EC2 cannot launch"},
		{"AWS CLI gets no answer from the Region at all", "The Region's APIs are down"},
		{"Nobody can open the recovery key", "The key is lost"},
		{"migrate's database is gone or unreadable", "The database is lost"},
	} {
		b.row(spans("%s", r[0]), spans("%s", r[1]))
	}
	b.say("You need: AWS CLI 2 with credentials that do not come from the broken Region, an OpenSSH client (7.3 or newer), and the recovery key.")
	if b.Proxy != "" {
		b.say("Operators reach the bastions by the SOCKS proxy `%s`: netcat of OpenBSD (`nc`) has to be there, too.", b.Proxy)
	}
}

func planText(id string) string {
	if id == "" {
		return "no plan yet"
	}
	return "plan " + id
}

func (b *book) sessionManagerDown() {
	b.heading(2, "Session Manager is down")
	b.say("Three steps: make a folder with the key and the settings for ssh; start the bastion of a VPC; log in through it. The bastion is an Auto Scaling group that is held at zero instances; it needs neither Systems Manager nor anything of the hosts' today.")
	b.heading(3, "Folder, key and settings")
	b.run("umask 077", `mkdir -p "$HOME/migrate-recovery" && cd "$HOME/migrate-recovery"`)
	b.key()
	b.say("Settings for ssh, and the host keys that were known when this was written:")
	b.run(sshConfig(b.Runbook, b.networks)...)
	b.run(knownHosts(b.networks)...)
	if len(b.networks) == 0 {
		b.say("**There is no recovery way yet**: no plan has made a bastion. Apply a plan first, then make this anew.")
	}
	for _, n := range b.networks {
		b.network(n)
	}
}

// key tells how to come to the private key.
func (b *book) key() {
	k := b.Key
	switch k.Store {
	case KeyInFile:
		b.say("The recovery key is a file in OpenSSH's format: `%s`, as named on the machine that this was written on. If yours lies elsewhere, name that file instead.", k.Location)
	case KeyInAge:
		b.say("The recovery key is encrypted by age (age-encryption.org), whose program `age` is needed here: `%s`, as named on the machine that this was written on.", k.Location)
	case KeyInKMS:
		b.say("The recovery key is the file `%s`, encrypted under a data key that the KMS key `%s` opens. It takes kms:Decrypt, and openssl. While it runs, others on this machine can see the data key among the processes.", k.Location, k.KMSKey)
	case KeyInSecrets:
		b.say("The recovery key is the secret `%s` of Secrets Manager.", k.Location)
	default:
		b.say("**Where the recovery key is kept is not configured** (recovery in migrate.yaml). Put its private part into the file `login_key` of this folder, and name it so.")
		return
	}
	b.run(takeKey(k)...)
	if !k.CA {
		b.say("If it asks for a passphrase at each login, type it once only: `eval \"$(ssh-agent -s)\" && ssh-add login_key`")
	}
	if k.CA {
		b.say("The key is a certificate authority: the last two commands make a key for today and sign it, for eight hours.")
	}
	if k.Public != "" {
		b.say("Its public part: `%s`", k.Public)
	}
}

func (b *book) network(n network) {
	b.heading(3, "VPC %s", n.title())
	if !n.Made {
		b.say("**When this was written, the bastion's group had not been seen.** The plan makes it.")
	}
	b.credentials(n)
	b.heading(4, "Start the bastion of %s", n.VPC)
	b.say("Auto Scaling group `%s`. One to three minutes are usual. If nothing comes in ten, stop it with Ctrl-C and read on at \"EC2 cannot launch\".", n.Group)
	b.run(n.start()...)
	b.run(n.address()...)
	b.say("Its host keys are read from its console, which shows them once it has booted, up to five minutes later. Trust nothing else. (Types that are not Nitro refuse `--latest`: leave it out, and wait longer.)")
	b.run(consoleKeys(shellWord(n.At.Region), `"$BASTION"`, "$ADDRESS")...)
	b.run(fmt.Sprintf("ssh -n -F ssh_config %s true && echo 'the bastion lets you in'", n.bastion))
	b.hosts(n)
	b.heading(4, "Back at zero: %s", n.VPC)
	b.say("When you are done: a bastion that runs costs money and is a way in.")
	b.run(n.zero()...)
}

func (b *book) credentials(n network) {
	a := n.account
	switch {
	case a.Role != "":
		lines := []string{"aws configure set --profile migrate-recovery-" + safe(n.At.Account) + " role_arn " + shellWord(a.Role)}
		if a.ExternalID != "" {
			lines = append(lines, "aws configure set --profile migrate-recovery-"+safe(n.At.Account)+" external_id "+shellWord(a.ExternalID))
		}
		lines = append(lines, "aws configure set --profile migrate-recovery-"+safe(n.At.Account)+" source_profile "+shellWord(cmp.Or(a.Profile, "default")),
			"export AWS_PROFILE=migrate-recovery-"+safe(n.At.Account))
		b.run(lines...)
	case a.Profile != "":
		b.run("export AWS_PROFILE=" + shellWord(a.Profile))
	}
	b.say("This must print %s:", n.At.Account)
	b.run("aws sts get-caller-identity --region " + shellWord(n.At.Region) + " --query Account --output text")
}

func (b *book) hosts(n network) {
	b.heading(4, "Log in to a host of %s as root", n.VPC)
	if len(n.Hosts) == 0 {
		b.say("No host is known to take the recovery key.")
	} else {
		b.say("One line for each host; each opens a shell of root's. `exit` leaves it.")
		for _, h := range n.Hosts {
			b.run(hostLine(h), n.shell(h))
		}
	}
	if i := slices.IndexFunc(n.Hosts, func(h RunbookHost) bool { return len(h.Keys) == 0 }); i >= 0 {
		var names []string
		for _, h := range n.Hosts {
			if len(h.Keys) == 0 {
				names = append(names, h.ID)
			}
		}
		b.say("No host key was known of %s: %s. ssh refuses them until you have read their keys from their own consoles, as here for the first:", fleet.Count(len(names), "host"), strings.Join(names, ", "))
		id := n.Hosts[i].ID
		b.run(consoleKeys(shellWord(n.At.Region), shellWord(id), safe(id))...)
	}
	if len(n.Lacking) > 0 {
		b.say("**These hosts have no recovery key**, so far as is known. They are not reached this way:")
		for _, h := range n.Lacking {
			b.item("%s `%s`", h.Name, h.ID)
		}
	}
}

func (b *book) oneHost() {
	b.heading(2, "One host is lost")
	b.say("Log in to it as in \"Session Manager is down\": its VPC's bastion, then its line. On the host, as root, look at the agent and start it again:")
	b.run("systemctl status amazon-ssm-agent || systemctl status snap.amazon-ssm-agent.amazon-ssm-agent",
		"tail -n 50 /var/log/amazon/ssm/amazon-ssm-agent.log /var/log/amazon/ssm/errors.log",
		"systemctl restart amazon-ssm-agent || systemctl restart snap.amazon-ssm-agent.amazon-ssm-agent")
	b.say("Usual causes: the instance profile was taken off or changed; the way to the endpoints ssm, ssmmessages and ec2messages is cut (security group, route, endpoint, DNS); the disk is full; the clock is wrong. If ssh is refused too, the host's security group has lost the rule from the bastion's group (`%s`), or sshd does not run: then EC2 serial console, or a reboot, is what is left.", b.groupNames())
}

func (b *book) groupNames() string {
	var names []string
	for _, n := range b.networks {
		names = append(names, n.Group)
		if len(names) == 3 && len(b.networks) > 3 {
			return strings.Join(append(names, "…"), ", ")
		}
	}
	return cmp.Or(strings.Join(names, ", "), "migrate-recovery-VPC")
}

func (b *book) noLaunch() {
	b.heading(2, "EC2 cannot launch")
	b.say("It has happened for hours in a whole Region. See first what Auto Scaling says; `InsufficientInstanceCapacity` in one Availability Zone may be no trouble in another.")
	for _, n := range b.networks {
		b.run("# "+safe(n.VPC), n.scaling("describe-scaling-activities")+" \\", "    --max-items 3 --query 'Activities[].StatusMessage' --output text")
	}
	b.heading(3, "EC2 Instance Connect Endpoint")
	b.say("It launches nothing, and carries 20 connections at once, each for an hour at most. AWS CLI 2.12 or newer can use it. The hosts' security groups must let port 22 in from the endpoint's.")
	some := false
	for _, n := range b.networks {
		if len(n.Endpoints) == 0 {
			continue
		}
		some = true
		b.heading(4, "Endpoint %s of VPC %s", strings.Join(n.Endpoints, ", "), n.VPC)
		for _, h := range n.Hosts {
			b.run(hostLine(h), n.endpoint(h))
		}
	}
	var without []string
	for _, n := range b.networks {
		if len(n.Endpoints) == 0 {
			without = append(without, n.VPC)
		}
	}
	if len(without) > 0 {
		b.say("None was known in %s. It must be there before it is needed; making one takes minutes, and may fail in the same outage.", strings.Join(without, ", "))
	}
	if some {
		b.say("Where a recovery key line is bound to addresses (`from=`), those of the endpoint's subnet have to be among them.")
	}
	b.serial()
	b.heading(3, "Another bastion")
	b.say("A host that runs, that you can log in to, and that lies in one of the bastion's subnets can stand in for it: give it the security group of the bastion besides its own, and use its address in place of the bastion's in `ssh_config`.")
}

// serial tells of the serial console, where anybody could log in at it.
func (b *book) serial() {
	b.heading(3, "EC2 serial console")
	b.say("It works without a network, on Nitro instances, if the account allows it in the Region, and if a user of the host has a password. It takes no SSH key of the host's.")
	n := 0
	for _, one := range b.networks {
		if one.Serial.Known && !one.Serial.Value {
			b.say("Account %s does not allow it in %s (`aws ec2 enable-serial-console-access` would).", one.At.Account, one.At.Region)
			continue
		}
		if fleet.Partition(one.At.Region) != "aws" {
			continue // other partitions have other names for it
		}
		for _, h := range one.Hosts {
			if !h.Password {
				continue
			}
			n++
			region := safe(one.At.Region)
			b.run(hostLine(h),
				"[ -f serial_key ] || ssh-keygen -q -t rsa -b 4096 -N '' -f serial_key",
				fmt.Sprintf("aws ec2-instance-connect send-serial-console-ssh-public-key --region %s \\", region),
				fmt.Sprintf("    --instance-id %s --serial-port 0 --ssh-public-key file://serial_key.pub &&", safe(h.ID)),
				fmt.Sprintf("    ssh -i serial_key %s.port0@serial-console.ec2-instance-connect.%s.aws", safe(h.ID), region))
		}
	}
	if n == 0 {
		b.say("Of no host is a user with a password known, by a login with it: it would let nobody in.")
	}
}

func (b *book) noAPIs() {
	b.heading(2, "The Region's APIs are down")
	b.say("Without EC2's and Auto Scaling's APIs nothing can be launched and no rule changed. What runs goes on running. What is left:")
	b.item("A bastion that runs already: `ssh_config` of this folder has its address if it was used before.")
	b.item("Hosts whose port 22 is still open to you, by VPN, Direct Connect or a public address; the recovery key opens them from the addresses that its line allows.")
	if open := b.openGroups(); len(open) > 0 {
		b.item("When this was written, these security groups were not closed yet: %s.", strings.Join(open, ", "))
	}
	b.item("Systems Manager, if only EC2's API is down: `aws ssm start-session --target INSTANCE`.")
	b.say("If AWS CLI fails only to get credentials, name another Region for them: `export AWS_REGION=us-west-2 AWS_STS_REGIONAL_ENDPOINTS=regional`. Watch health.aws.amazon.com, and try the first command of your VPC again every few minutes.")
}

func (b *book) openGroups() []string {
	var out []string
	for _, g := range b.Groups {
		if !g.Closed {
			out = append(out, g.ID)
		}
	}
	return out
}

func (b *book) keyLost() {
	b.heading(2, "The key is lost")
	b.say("**Session Manager works**: nothing is locked. Make a new key at once, and put it on the hosts: `migrate recovery rotate`. Without migrate, by hand, for each host; the new public line is in `new_key.pub`:")
	b.run("ssh-keygen -t ed25519 -C migrate-recovery -f new_key")
	b.say("In a session on the host, as root, append that line, with the options of the old one (such as `restrict,pty`), to the key file that holds the old line, and take the old line out. Then the launch template of the bastion: a new version whose user data holds the new line.")
	b.say("**Session Manager is down as well**: the recovery way is shut until it is back, or until a way without the key is found:")
	b.item("EC2 Instance Connect, on hosts that have its package: `aws ec2-instance-connect send-ssh-public-key` puts a key of yours on the host for 60 seconds. The way to port 22 is the bastion's or an endpoint's.")
	b.item("The serial console, where a user has a password (\"EC2 cannot launch\").")
	b.item("The disk: stop the instance, attach its root volume to another, put a key into the account's `.ssh/authorized_keys`, and attach it again. Instance store volumes are lost by that.")
	b.say("A key that is in wrong hands is no lost key: scale in every bastion first (\"Back at zero\"), since without one it opens nothing.")
}

func (b *book) databaseLost() {
	b.heading(2, "The database is lost")
	b.say("No host needs it. All that it would be asked for in need stands elsewhere:")
	b.item("Key files as they were: on each host, in `/var/lib/migrate`, readable for root alone. Chapter \"Put the key files back\".")
	b.item("Rules as they were: chapter \"Open the closed rules again\". For changes made since, CloudTrail has the calls of the last 90 days:")
	for _, region := range b.regions() {
		b.run("aws cloudtrail lookup-events --region "+shellWord(region)+" \\", "    --lookup-attributes AttributeKey=EventName,AttributeValue=RevokeSecurityGroupIngress")
	}
	b.say("What migrate made carries the tag `%s`:", fleet.TagStep)
	for _, region := range b.regions() {
		filter := " --region " + shellWord(region) + " --filters Name=key,Values=" + fleet.TagStep + " --output text"
		b.run("aws ec2 describe-tags"+filter, "aws autoscaling describe-tags"+filter)
	}
	b.say("To go on with migrate: `migrate inventory`, then `migrate plan`. It recognises what is there. What was closed before is not in the new journal, so a rollback of it is done by the two chapters below.")
}

func (b *book) regions() []string {
	var out []string
	for _, n := range b.networks {
		if !slices.Contains(out, n.At.Region) {
			out = append(out, n.At.Region)
		}
	}
	return out
}

func (b *book) keyFiles() {
	b.heading(2, "Put the key files back")
	b.say("On a host whose keys were taken away lies a script that puts the files back as they were, with owner, mode and attributes. A file that somebody wrote anew since keeps its lines and gets the old ones, too. The line prints what became of each file; `restore`, how many were put back, are foreign, and failed.")
	n := 0
	for _, one := range b.networks {
		var lines []string
		for _, h := range one.Hosts {
			for _, folder := range h.Saved {
				lines = append(lines, hostLine(h), one.asRoot(h, "sh "+shellWord(folder+"/restore")+" now"))
				n++
			}
		}
		if len(lines) > 0 {
			b.heading(3, "Key files of %s", one.title())
			b.run(lines...)
		}
	}
	if n == 0 {
		b.say("When this was written, no host's keys were taken away.")
		return
	}
	b.say("By hand, as root on the host, if the script is not there: `manifest` has one line for each file (number, owner, group, mode, time, SHA-256 before and after, path), `files/NUMBER` is the file. Copy it over the path with `cp -a`, from a folder that is root's alone.")
}

func (b *book) rules() {
	b.heading(2, "Open the closed rules again")
	b.say("Only if the way by the bastion is not enough: this opens SSH for everybody whom the rules let in. `InvalidPermission.Duplicate` says that a rule is there already.")
	closed := 0
	for _, g := range b.Groups {
		if !g.Closed || len(g.Rules) == 0 {
			continue
		}
		closed++
		name := g.ID
		if g.Name != "" {
			name += " (" + g.Name + ")"
		}
		b.heading(3, "Security group %s", name)
		b.say("%s, %s. With credentials of account %s, as at its VPC.", fleet.Count(g.Hosts, "host"), g.At.Region, g.At.Account)
		if !g.Exact {
			b.say("The rules are as the plan knew them: descriptions and tags may be missing.")
		}
		for _, r := range g.Rules {
			b.run(authorize(g, r)...)
		}
	}
	if closed == 0 {
		b.say("When this was written, no security group was closed.")
	}
}

func (b *book) afterwards() {
	b.heading(2, "Afterwards")
	b.item("Scale in every bastion that you started (\"Back at zero\"), and see that no instance of it is left.")
	b.item("Remove the private key from this folder: `rm -f login_key* ca_key data_key serial_key*`.")
	b.item("Rotate the recovery key: whoever was near it in the hurry may have a copy. `migrate recovery rotate`.")
	b.item("Look at what was changed by hand: `migrate inventory`, `migrate drift`, `migrate recovery status`. Rules and key files that were put back by hand are taken away again by a new plan, or a rollback of the old one finds them in place.")
	b.item("Write down when what was done, by whom and why: CloudTrail has the API calls, `last` and the journal of sshd the logins.")
	b.item("Drill: `migrate recovery drill --yes`. Then make this runbook anew.")
}

func (b *book) facts() {
	b.heading(2, "Appendix: what is where")
	if len(b.Accounts) > 0 {
		b.table("Account", "Name", "AWS CLI profile", "Role")
		for _, a := range b.Accounts {
			b.row(spans("`%s`", a.ID), spans("%s", a.Label), spans("%s", cmp.Or(a.Profile, "from the environment")), spans("%s", cmp.Or(a.Role, "none")))
		}
	}
	for _, n := range b.networks {
		b.heading(3, "The bastion of %s", n.title())
		b.item("Auto Scaling group, launch template and security group: `%s`", n.Group)
		b.item("Image `%s`, type `%s`, login user `%s`", n.Image, n.Type, n.User)
		b.item("Subnets: %s", strings.Join(n.Subnets, ", "))
		if len(n.Doors) > 0 {
			b.item("Security groups of hosts that let it in: %s", strings.Join(n.Doors, ", "))
		}
		b.item("Lets SSH in from: %s; reached by its %s address", strings.Join(n.From, ", "), map[bool]string{true: "public", false: "private"}[n.Public])
		if len(n.Hosts) == 0 {
			continue
		}
		b.table("Host", "Instance", "Address", "User", "Host key")
		for _, h := range n.Hosts {
			key := "known"
			if len(h.Keys) == 0 {
				key = "not known"
			}
			b.row(spans("%s", h.Name), spans("`%s`", h.ID), spans("%s", h.Address.String()), spans("`%s`", h.User), spans("%s", key))
		}
	}
}
