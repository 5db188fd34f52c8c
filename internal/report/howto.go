package report

import (
	"fmt"
	"io"
	"time"
)

// Howto is what the page for users is filled with: how they do after the move
// what they did over SSH.
type Howto struct {
	Made     time.Time
	Version  string
	Snapshot int64

	Hosts  []HowtoHost // in the order in which they are shown
	More   int         // hosts that are not shown
	Bucket string      // that copies pass through; empty: none is configured
	// What the Regions' session preferences say; a list of several says all.
	Users  []string // accounts in which shells run: "ssm-user", "RunAs: alice"
	Logged []string // where what sessions print is kept; empty and LoggedKnown: nowhere
	// LoggedKnown: the preferences of all Regions were read.
	LoggedKnown bool
}

// HowtoHost is a host as users call it.
type HowtoHost struct {
	Call   string // by migrate's commands: its name, or its ID where that is not its alone
	SSH    string // by ssh with the exported configuration
	ID     string
	Region string
}

// HowtoMarkdown writes the page as Markdown.
func HowtoMarkdown(w io.Writer, h Howto) error {
	if _, err := io.WriteString(w, writeHowto(h).markdown()); err != nil {
		return fmt.Errorf("write Markdown page: %w", err)
	}
	return nil
}

// HowtoHTML writes the page as one file that needs nothing else. Nothing in it runs.
func HowtoHTML(w io.Writer, h Howto) error { return writeHowto(h).html(w) }

func writeHowto(h Howto) *paper {
	d := &paper{Title: "How do I now …"}
	d.say("Hosts of this fleet are reached through AWS Systems Manager Session Manager: no open port 22, no bastion, no VPN. You need AWS credentials (for example `aws sso login`) and the program `migrate`. Made %s by migrate %s from inventory %s.", minute(h.Made), h.Version, fmt.Sprint(h.Snapshot))
	one := HowtoHost{Call: "HOST", SSH: "HOST", ID: "INSTANCE-ID", Region: "REGION"}
	if len(h.Hosts) > 0 {
		one = h.Hosts[0]
	}
	two := HowtoHost{Call: "OTHER"}
	if len(h.Hosts) > 1 {
		two = h.Hosts[1]
	}
	d.howtoShell(h, one)
	d.howtoCopy(h, one.Call, two.Call)
	d.howtoTunnel(one.Call)
	d.howtoSSH(one.SSH)
	d.howtoAnsible(h, one)
	d.howtoGit(one.SSH)
	d.howtoTrouble(h, one.Call)
	return d
}

func (d *paper) howtoShell(h Howto, one HowtoHost) {
	d.heading(2, "Get a shell")
	d.run("migrate connect " + shellWord(one.Call))
	d.say("Without `migrate`, with the AWS CLI and its session-manager-plugin:")
	d.run("aws ssm start-session --region " + shellWord(one.Region) + " --target " + shellWord(one.ID))
	for _, u := range h.Users {
		d.item("Shells run as %s.", u)
	}
	switch {
	case len(h.Logged) > 0:
		for _, l := range h.Logged {
			d.item("What a session prints is kept in %s.", l)
		}
	case h.LoggedKnown:
		d.item("What a session prints is kept nowhere; that there was a session is in AWS CloudTrail.")
	}
	d.item("On a terminal, Enter `~.` ends a session that no longer answers.")
	d.say("One command, and its output:")
	d.run("migrate connect " + shellWord(one.Call) + " --document AWS-StartInteractiveCommand --parameter command='df -h'")
}

func (d *paper) howtoCopy(h Howto, one, two string) {
	d.heading(2, "Copy a file")
	if h.Bucket == "" {
		d.say("Copies pass through an S3 bucket. None is configured: add `--bucket NAME`, or name one in migrate.yaml.")
	} else {
		d.say("Copies pass through the S3 bucket %s, in parts that are deleted as they arrive. The same command again goes on where a copy was broken off.", h.Bucket)
	}
	d.run("migrate cp report.pdf "+shellWord(one+":/var/tmp/"), "migrate cp -p "+shellWord(one+":/var/log/syslog")+" .", "migrate cp -r "+shellWord(one+":/etc/nginx")+" "+shellWord(two+":/root/nginx"))
	d.say("It reads and writes as root; `--as USER` does so as that user. Who may open sessions but may not run commands as root copies over SSH, below.")
}

func (d *paper) howtoTunnel(one string) {
	d.heading(2, "Open a tunnel")
	d.say("A port of the host, or of a database that the host reaches, on a port of your machine:")
	d.run("migrate connect "+shellWord(one)+" -L 8080:localhost:8080", "migrate connect "+shellWord(one)+" -L 5432:db.internal:5432")
}

func (d *paper) howtoSSH(one string) {
	d.heading(2, "Go on using ssh, scp and rsync")
	d.say("An ssh_config leads them through Session Manager. The host still has to know your key or certificate, as before; ask who runs the fleet if keys were put aside on it.")
	d.run("migrate export ssh-config -o ~/.ssh/config.fleet", "ssh -F ~/.ssh/config.fleet "+shellWord(one), "scp -F ~/.ssh/config.fleet report.pdf "+shellWord(one+":"), "rsync -e 'ssh -F ~/.ssh/config.fleet' -av site/ "+shellWord(one+":site/"))
	d.say("For all of your ssh, add the lines `Match all` and `Include config.fleet` at the end of `~/.ssh/config`.")
}

func (d *paper) howtoAnsible(h Howto, one HowtoHost) {
	d.heading(2, "Run Ansible")
	d.say("Over SSH, with the ssh_config from above, an inventory stays as it is:")
	d.run("ansible -i "+shellWord(one.SSH+",")+" all -m ping --ssh-common-args='-F ~/.ssh/config.fleet'", "# or in ansible.cfg, section [ssh_connection]: ssh_args = -F ~/.ssh/config.fleet")
	d.say("Without SSH, Ansible's own connection through Session Manager (collections community.aws, or amazon.aws since 10); it needs the session-manager-plugin and a bucket:")
	bucket := h.Bucket
	if bucket == "" {
		bucket = "BUCKET"
	}
	d.run("ansible -i "+shellWord(one.SSH+",")+" all -m ping -c community.aws.aws_ssm \\", "  -e ansible_aws_ssm_instance_id="+shellWord(one.ID)+" -e ansible_aws_ssm_region="+shellWord(one.Region)+" -e ansible_aws_ssm_bucket_name="+shellWord(bucket))
}

func (d *paper) howtoGit(one string) {
	d.heading(2, "Use git")
	d.say("A repository on a host, with the ssh_config from above:")
	d.run("git -c core.sshCommand='ssh -F ~/.ssh/config.fleet' clone "+shellWord("ssh://"+one+"/srv/repository.git"), "git config core.sshCommand 'ssh -F ~/.ssh/config.fleet'   # in a clone, for good")
	d.say("git on a host that used your forwarded agent (`ssh -A`) still can, by ssh through the same file. A deploy key or token of the host's own is better: it works when you are away.")
}

func (d *paper) howtoTrouble(h Howto, one string) {
	d.heading(2, "When it does not work")
	d.run("migrate hosts " + shellWord(one) + "   # what stands between it and Session Manager")
	d.item("\"not connected\": the agent on the host does not answer. \"not authorized\": your AWS credentials lack a permission; the message names it.")
	d.item("Credentials have run out: sign in again, for example by `aws sso login`.")
	d.heading(2, "The hosts")
	d.table("For migrate", "For ssh", "Instance", "Region")
	for _, each := range h.Hosts {
		d.row([]span{{Text: each.Call, Code: true}}, []span{{Text: each.SSH, Code: true}}, []span{{Text: each.ID, Code: true}}, []span{{Text: each.Region}})
	}
	if h.More > 0 {
		d.say("And %s more: `migrate hosts` lists all.", fmt.Sprint(h.More))
	}
}
