package readiness

import (
	"cmp"
	"fmt"
	"strings"

	"ssm-migrate/internal/fleet"
)

// family is a family of operating systems that are put right by the same commands.
type family int

const (
	familyOther family = iota
	familyDebian
	familyUbuntu
	familyRPM
	familySUSE
)

// family is the host's; familyOther while its probe does not tell.
func (j *judge) family() family {
	if !j.h.Probe.Known {
		return familyOther
	}
	switch j.h.Probe.Value.OS.ID {
	case "debian":
		return familyDebian
	case "ubuntu":
		return familyUbuntu
	case "amzn", "rhel", "centos", "rocky", "almalinux", "ol", "fedora":
		return familyRPM
	case "sles", "opensuse-leap":
		return familySUSE
	}
	return familyOther
}

// installer is the package manager of an RPM system.
func (j *judge) installer() string {
	os := j.h.Probe.Value.OS
	major, _, _ := strings.Cut(os.Version, ".")
	if major == "7" || os.ID == "amzn" && major == "2" {
		return "yum"
	}
	return "dnf"
}

// unit is the agent's systemd unit on the host. Its name comes from the
// package and not from the host's own words, as it goes into commands.
func (j *judge) unit() string {
	kind := ""
	if p := j.h.Probe; p.Known && p.Value.Agent.Known {
		kind = p.Value.Agent.Value.Package
		if kind == "" && strings.HasPrefix(p.Value.Agent.Value.Unit, "snap.") {
			kind = "snap"
		}
	}
	if kind == "snap" || kind == "" && j.family() == familyUbuntu && !j.installed() {
		return "snap.amazon-ssm-agent.amazon-ssm-agent.service"
	}
	return "amazon-ssm-agent"
}

func (j *judge) installed() bool {
	a := j.h.Probe.Value.Agent
	return j.h.Probe.Known && a.Known && a.Value.Installed
}

func (j *judge) restart() string { return "systemctl restart " + j.unit() }

// packageCommand is the command that installs the agent's newest package, or
// puts it in an older one's place; empty where the system is not one that AWS
// gives a command for. Source: AWS Systems Manager User Guide,
// manually-install-ssm-agent-linux.
func (j *judge) packageCommand(kind string) string {
	arch := map[string]string{"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}[cmp.Or(j.h.Probe.Value.OS.Arch, j.h.Architecture)]
	if arch == "" || !j.h.Probe.Known {
		return ""
	}
	bucket := fmt.Sprintf("https://s3.%s.%s/amazon-ssm-%[1]s/latest", j.h.Region, fleet.DNSSuffix(j.h.Region))
	switch family := j.family(); {
	case kind == "snap":
		return "snap install amazon-ssm-agent --classic"
	case kind == "deb" && (family == familyDebian || family == familyUbuntu):
		return fmt.Sprintf("curl -fsSo /tmp/amazon-ssm-agent.deb %s/debian_%s/amazon-ssm-agent.deb && dpkg -i /tmp/amazon-ssm-agent.deb", bucket, arch)
	case family == familyRPM:
		return fmt.Sprintf("%s install -y %s/linux_%s/amazon-ssm-agent.rpm", j.installer(), bucket, arch)
	case family == familySUSE:
		return "zypper install -y amazon-ssm-agent"
	}
	return ""
}

// install is the command that installs the agent and starts it; empty where
// AWS gives none for the system.
func (j *judge) install() string {
	kind := map[family]string{familyUbuntu: "snap", familyDebian: "deb"}[j.family()]
	command := j.packageCommand(kind)
	if command == "" {
		return ""
	}
	return command + " && systemctl enable --now " + j.unit()
}

// installFix says how to bring an agent to the host; empty where its system is
// not known. Source: AWS Systems Manager User Guide,
// operating-systems-and-machine-types.
func (j *judge) installFix() string {
	if command := j.install(); command != "" {
		return "install the agent: " + command
	}
	os := j.h.Probe.Value.OS
	switch {
	case os.ID == "" || j.family() != familyOther || os.ID == "bottlerocket":
		return ""
	default:
		return fmt.Sprintf("AWS does not support the SSM Agent on %s and has no package for it: move what runs here to a supported system (Amazon Linux, Ubuntu, Debian, RHEL and its like, SLES), or keep SSH on this host, with a waiver in the owners file", quoted(cmp.Or(os.Name, os.ID)))
	}
}

// updateFix says how to bring the agent up to date by the package that it came
// from; empty where that is not known. A snap is left to snap, whose refresh
// would take back what Run Command installs.
// Source: aws/amazon-ssm-agent issues 255 and 680.
func (j *judge) updateFix() string {
	kind := ""
	if a := j.h.Probe.Value.Agent; j.h.Probe.Known && a.Known {
		kind = a.Value.Package
	}
	if kind == "snap" {
		return "snap refresh amazon-ssm-agent --channel=latest/candidate (latest/stable lags behind: snap info amazon-ssm-agent shows which channel has which version); leave AWS-UpdateSSMAgent, which snap would undo"
	}
	command := ""
	if kind != "" {
		command = j.packageCommand(kind)
	}
	if command == "" {
		return ""
	}
	command += " && " + j.restart()
	if !j.heartbeat {
		return "update the agent on the host: " + command
	}
	return fmt.Sprintf("update the agent with Run Command (aws ssm send-command --document-name AWS-UpdateSSMAgent --instance-ids %s --region %s), or on the host: %s", j.h.ID, j.h.Region, command)
}
