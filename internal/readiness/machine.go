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

// install is the command that installs the agent and starts it; empty where
// the system is not one that AWS gives a command for. Source: AWS Systems
// Manager User Guide, manually-install-ssm-agent-linux.
func (j *judge) install() string {
	arch := map[string]string{"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}[cmp.Or(j.h.Probe.Value.OS.Arch, j.h.Architecture)]
	if arch == "" || !j.h.Probe.Known {
		return ""
	}
	bucket := fmt.Sprintf("https://s3.%s.%s/amazon-ssm-%[1]s/latest", j.h.Region, fleet.DNSSuffix(j.h.Region))
	var command string
	switch j.family() {
	case familyUbuntu:
		command = "snap install amazon-ssm-agent --classic"
	case familyDebian:
		command = fmt.Sprintf("curl -fsSo /tmp/amazon-ssm-agent.deb %s/debian_%s/amazon-ssm-agent.deb && dpkg -i /tmp/amazon-ssm-agent.deb", bucket, arch)
	case familyRPM:
		command = fmt.Sprintf("%s install -y %s/linux_%s/amazon-ssm-agent.rpm", j.installer(), bucket, arch)
	case familySUSE:
		command = "zypper install -y amazon-ssm-agent"
	default:
		return ""
	}
	return command + " && systemctl enable --now " + j.unit()
}
