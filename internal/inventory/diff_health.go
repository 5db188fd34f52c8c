package inventory

import "ssm-migrate/internal/fleet"

// health compares what about a host's machinery and agent may break sessions,
// but for what always moves: free space, inotify use, the clock.
func (d *differ) health(a, b fleet.Probe) {
	if known(d, "health", "", a.Health, b.Health) {
		before, after := byID(a.Health.Value.Filesystems, mount), byID(b.Health.Value.Filesystems, mount)
		for name, f := range after {
			if was, ok := before[name]; ok {
				d.text("file system options", name, sorted(was.Options), sorted(f.Options))
			}
		}
		if known(d, "trust store", "", a.Health.Value.TrustStore, b.Health.Value.TrustStore) {
			d.text("trust store", "", yesNo(a.Health.Value.TrustStore.Value), yesNo(b.Health.Value.TrustStore.Value))
		}
	}
	if known(d, "metadata service", "", a.Metadata, b.Metadata) {
		d.text("metadata service reachable", "", yesNo(a.Metadata.Value.Reachable), yesNo(b.Metadata.Value.Reachable))
		d.text("metadata service role", "", a.Metadata.Value.Role, b.Metadata.Value.Role)
	}
	if known(d, "cloud-init", "", a.CloudInit, b.CloudInit) {
		d.text("cloud-init adds keys at every boot", "", sorted(a.CloudInit.Value.AlwaysKeys), sorted(b.CloudInit.Value.AlwaysKeys))
		d.text("cloud-init key files", "", sorted(a.CloudInit.Value.KeyFiles), sorted(b.CloudInit.Value.KeyFiles))
	}
}

func mount(f fleet.Filesystem) string { return f.Mount }

// agentSetup compares how the agent is installed and configured.
func (d *differ) agentSetup(a, b fleet.HostAgent) {
	d.text("agent installed", "", yesNo(a.Installed), yesNo(b.Installed))
	d.text("agent version", "", a.Version, b.Version)
	d.text("agent service", "", a.Active, b.Active)
	d.text("agent service at boot", "", a.Enabled, b.Enabled)
	d.text("agent packages", "", packages(a), packages(b))
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy"} {
		d.text("agent "+name, "", a.Proxy[name], b.Proxy[name])
	}
	if known(d, "agent registration", "", a.Registration, b.Registration) {
		d.text("agent registration", "", a.Registration.Value.ID, b.Registration.Value.ID)
	}
	if known(d, "agent credentials files", "", a.Credentials, b.Credentials) {
		d.text("agent credentials files", "", sorted(a.Credentials.Value), sorted(b.Credentials.Value))
	}
	if !known(d, "ssm-user", "", a.SSMUser, b.SSMUser) {
		return
	}
	d.text("ssm-user exists", "", yesNo(a.SSMUser.Value.Exists), yesNo(b.SSMUser.Value.Exists))
	if known(d, "ssm-user sudo", "", a.SSMUser.Value.Sudo, b.SSMUser.Value.Sudo) {
		d.text("ssm-user sudo", "", yesNo(a.SSMUser.Value.Sudo.Value), yesNo(b.SSMUser.Value.Sudo.Value))
	}
}

func packages(a fleet.HostAgent) string {
	var names []string
	for _, i := range a.Installs {
		names = append(names, i.Package)
	}
	return sorted(names)
}
