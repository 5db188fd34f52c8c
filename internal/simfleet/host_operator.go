package simfleet

import (
	"crypto/ed25519"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Names of the operator's files in their folder.
const (
	OperatorKeyFile        = "operator_key"
	OperatorKnownHostsFile = "known_hosts"
)

// OperatorFiles are what the operator of a world needs to log in to its hosts.
type OperatorFiles struct {
	// SSHConfig is an ssh_config for a client that takes its connections
	// through the SOCKS proxy by itself.
	SSHConfig string
	// OpenSSHConfig is the same for OpenSSH, which needs nc for the proxy.
	OpenSSHConfig string
	// KnownHosts has a line for each host with an SSH server.
	KnownHosts string
	// PrivateKey is the operator's key; it wants file mode 0600.
	PrivateKey []byte
	// HostKeys are keys for one host each, by the file's name in the folder.
	// A healthy world has them in place of PrivateKey; others have none.
	HostKeys map[string][]byte
}

// OperatorFiles writes the operator's files for a SOCKS proxy at socksAddr
// ("127.0.0.1:1080") and a folder in which the caller will put PrivateKey as
// OperatorKeyFile and KnownHosts as OperatorKnownHostsFile.
//
// Hosts are named by private address. Those of a VPC with a bastion are
// reached through it, those with a public address in other VPCs by that.
func (w *World) OperatorFiles(socksAddr, dir string) OperatorFiles {
	w.Mu.RLock()
	defer w.Mu.RUnlock()
	var direct, blocks, known strings.Builder
	keys := w.hostKeys()
	for _, a := range w.Accounts {
		for _, rg := range a.Regions {
			for _, v := range rg.VPCs {
				b := find(rg.Instances, func(in *Instance) bool {
					return in.Role == "bastion" && in.Host.VPC == v.ID && in.Host.Running() && in.Host.PublicIP.IsValid()
				})
				if b == nil {
					continue
				}
				for _, cidr := range v.CIDRs {
					if cidr.Addr().Is4() {
						fmt.Fprintf(&blocks, "Host %s\n    ProxyJump %s\n\n", addressPattern(cidr), b.Host.PublicIP)
					}
				}
			}
			for _, in := range rg.Instances {
				operatorHost(&direct, &known, w, in)
				if name := hostKeyFile(in); keys[name] != nil && in.Host.PrivateIP.IsValid() {
					fmt.Fprintf(&blocks, "Host %s\n    IdentityFile %s\n\n", strings.Join(in.addresses(), " "), quotePath(filepath.Join(dir, name)))
				}
			}
		}
	}
	identity := fmt.Sprintf("    IdentityFile %s\n", quotePath(filepath.Join(dir, OperatorKeyFile)))
	if w.healthy {
		identity = ""
	}
	common := fmt.Sprintf("Host *\n    User %s\n%s    IdentitiesOnly yes\n    UserKnownHostsFile %s\n    StrictHostKeyChecking yes\n",
		OperatorUser, identity, quotePath(filepath.Join(dir, OperatorKnownHostsFile)))
	private, _ := w.OperatorKey()
	text := "# Written by the simulated fleet. The first value of a setting wins.\n\n" + direct.String() + blocks.String() + common
	return OperatorFiles{
		SSHConfig:     text,
		OpenSSHConfig: text + fmt.Sprintf("    ProxyCommand nc -X 5 -x %s %%h %%p\n", socksAddr),
		KnownHosts:    known.String(),
		PrivateKey:    private,
		HostKeys:      keys,
	}
}

func hostKeyFile(in *Instance) string { return OperatorKeyFile + "_" + in.Host.ID }

// hostKeys are the operator's keys for each host of a healthy world, by file name.
func (w *World) hostKeys() map[string][]byte {
	if !w.healthy {
		return nil
	}
	g := generator{seed: w.Seed}
	keys := map[string][]byte{}
	for in := range w.Instances() {
		if in.OS.Family != "windows" {
			keys[hostKeyFile(in)] = privatePEM(g.operatorSeed(in.Host.ID), operatorComment(in.Host.ID))
		}
	}
	return keys
}

// addresses are those by which ssh_config names the instance.
func (in *Instance) addresses() []string {
	names := []string{in.Host.PrivateIP.String()}
	if in.Host.PublicIP.IsValid() {
		names = append(names, in.Host.PublicIP.String())
	}
	return names
}

// operatorHost writes what one instance needs: its host key, and its public
// address where that is the way in.
func operatorHost(direct, known *strings.Builder, w *World, in *Instance) {
	h := in.Host
	if in.OS.Family == "windows" || !h.PrivateIP.IsValid() {
		return
	}
	names := in.addresses()
	public, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed(in.HostKey).Public())
	if err != nil {
		panic(fmt.Sprintf("simfleet: host key of %s: %v", h.ID, err)) // Ed25519 always works
	}
	fmt.Fprintf(known, "%s %s", strings.Join(names, ","), ssh.MarshalAuthorizedKey(public))
	switch alone := w.Bastion(in) == nil; {
	case h.PublicIP.IsValid() && (in.Role == "bastion" || alone):
		fmt.Fprintf(direct, "Host %s\n    HostName %s\n    ProxyJump none\n\n", strings.Join(names, " "), h.PublicIP)
	case alone && w.ways[in] != "":
		// Its addresses are those of the VPC that it came from.
		fmt.Fprintf(direct, "Host %s\n    ProxyJump none\n\n", h.PrivateIP)
	}
}

// addressPattern is an ssh_config pattern for a block of addresses, which at
// most covers too much.
func addressPattern(p netip.Prefix) string {
	parts := strings.Split(p.Masked().Addr().String(), ".")
	whole := p.Bits() / 8
	if whole == 4 {
		return strings.Join(parts, ".")
	}
	return strings.Join(append(parts[:whole:whole], "*"), ".")
}

// quotePath makes one ssh_config word of a path.
func quotePath(p string) string { return `"` + strings.ReplaceAll(p, "%", "%%") + `"` }
