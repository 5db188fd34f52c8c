package simfleet

import (
	"fmt"
	"hash/fnv"
)

// agentCurrent is the newest agent release known (September 2026).
const agentCurrent = "3.3.5226.0"

var systemNamed = map[string]OS{
	"al2": {Family: "amzn", Version: "2", Pretty: "Amazon Linux 2", Kernel: "5.10.240-238.959.amzn2.x86_64",
		SSHDBuild: "OpenSSH_7.4p1", SSHUnit: "sshd", AuthLog: "/var/log/secure", User: "ec2-user"},
	"al2023": {Family: "amzn", Version: "2023", Pretty: "Amazon Linux 2023.9.20260820", Kernel: "6.1.147-172.266.amzn2023.x86_64",
		SSHDBuild: "OpenSSH_8.7p1", SSHUnit: "sshd", User: "ec2-user"},
	"ubuntu20": {Family: "ubuntu", Version: "20.04", Pretty: "Ubuntu 20.04.6 LTS", Kernel: "5.15.0-1084-aws",
		SSHDBuild: "OpenSSH_8.2p1 Ubuntu-4ubuntu0.13", SSHUnit: "ssh", AuthLog: "/var/log/auth.log", User: "ubuntu"},
	"ubuntu22": {Family: "ubuntu", Version: "22.04", Pretty: "Ubuntu 22.04.5 LTS", Kernel: "6.8.0-1029-aws",
		SSHDBuild: "OpenSSH_8.9p1 Ubuntu-3ubuntu0.13", SSHUnit: "ssh", AuthLog: "/var/log/auth.log", User: "ubuntu"},
	"ubuntu24": {Family: "ubuntu", Version: "24.04", Pretty: "Ubuntu 24.04.3 LTS", Kernel: "6.8.0-1029-aws",
		SSHDBuild: "OpenSSH_9.6p1 Ubuntu-3ubuntu13.14", SSHUnit: "ssh", AuthLog: "/var/log/auth.log", User: "ubuntu"},
	"debian12": {Family: "debian", Version: "12", Pretty: "Debian GNU/Linux 12 (bookworm)", Kernel: "6.1.0-37-cloud-amd64",
		SSHDBuild: "OpenSSH_9.2p1 Debian-2+deb12u7", SSHUnit: "ssh", User: "admin"},
	"rhel8": {Family: "rhel", Version: "8.10", Pretty: "Red Hat Enterprise Linux 8.10 (Ootpa)", Kernel: "4.18.0-553.el8_10.x86_64",
		SSHDBuild: "OpenSSH_8.0p1", SSHUnit: "sshd", AuthLog: "/var/log/secure", User: "ec2-user"},
	"rhel9": {Family: "rhel", Version: "9.6", Pretty: "Red Hat Enterprise Linux 9.6 (Plow)", Kernel: "5.14.0-570.12.1.el9_6.x86_64",
		SSHDBuild: "OpenSSH_8.7p1", SSHUnit: "sshd", AuthLog: "/var/log/secure", User: "ec2-user"},
	"sles15": {Family: "sles", Version: "15.6", Pretty: "SUSE Linux Enterprise Server 15 SP6", Kernel: "6.4.0-150600.23.60-default",
		SSHDBuild: "OpenSSH_9.6p1", SSHUnit: "sshd", User: "ec2-user"},
	"alpine": {Family: "alpine", Version: "3.20.3", Pretty: "Alpine Linux v3.20", Kernel: "6.6.54-0-virt",
		SSHDBuild: "OpenSSH_9.7p1", SSHUnit: "sshd", AuthLog: "/var/log/messages", User: "alpine"},
	"win2019": {Family: "windows", Version: "10.0.17763", Pretty: "Microsoft Windows Server 2019 Datacenter", Kernel: "10.0.17763", User: "Administrator"},
	"win2022": {Family: "windows", Version: "10.0.20348", Pretty: "Microsoft Windows Server 2022 Datacenter", Kernel: "10.0.20348", User: "Administrator"},
}

// packageOf says how the agent comes to a system.
func packageOf(family string) string {
	switch family {
	case "ubuntu":
		return "snap"
	case "debian":
		return "deb"
	case "windows", "alpine":
		return ""
	}
	return "rpm"
}

// platformDetails is EC2's name for what an instance runs.
func platformDetails(family string) string {
	switch family {
	case "windows":
		return "Windows"
	case "rhel":
		return "Red Hat Enterprise Linux"
	case "sles":
		return "SUSE Linux"
	}
	return "Linux/UNIX"
}

// imageID is the same for the same system in the same Region, as AMIs are.
func imageID(region, system string) string {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, region, " ", system)
	return fmt.Sprintf("ami-0%016x", h.Sum64())
}
