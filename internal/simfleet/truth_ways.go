package simfleet

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/crypto/ssh"

	"ssm-migrate/internal/fleet"
)

// Ways says which ways into an instance work now. Each is the first thing in
// the way; empty: a login or session would succeed and reach root's rights.
type Ways struct {
	SessionManager string
	SSH            string // as the operator comes in today
	Recovery       string
}

// Open reports whether any of the ways works.
func (w Ways) Open() bool { return w.SessionManager == "" || w.SSH == "" || w.Recovery == "" }

// Recovery is a bastion that need not run: one that would be launched in the
// VPC of the instance that is to be recovered.
type Recovery struct {
	Groups []string // its security groups
	Subnet string   // where it stands; empty: the instance's own subnet
	User   string   // who logs in on the instance
	Key    string   // public key, as authorized_keys lists it
}

// WaysIn computes the ways into an instance as they are now, without any
// connection. The zero Recovery is none. The caller holds w.Mu, at least for reading.
func (w *World) WaysIn(in *Instance, r Recovery) Ways {
	ways := Ways{SessionManager: w.SessionReason(in), SSH: w.OperatorLoginReason(in), Recovery: "no recovery key"}
	if ways.SessionManager == "" && !in.SessionSudo() {
		ways.SessionManager = "the session's user may not sudo"
	}
	if r.Key != "" {
		ways.Recovery = w.RecoveryReason(in, r)
	}
	return ways
}

// RecoveryReason gives the first thing that keeps a login from a recovery
// bastion out; empty when it would succeed. The caller holds w.Mu, at least for reading.
func (w *World) RecoveryReason(in *Instance, r Recovery) string {
	subnet := cmp.Or(r.Subnet, in.Host.Subnet)
	s := find(in.Region.Subnets, func(s *fleet.Subnet) bool { return s.ID == subnet })
	if s == nil {
		return "subnet " + subnet + " does not exist"
	}
	bastion := &Instance{Region: in.Region, Host: fleet.Host{State: "running", VPC: s.VPC, Subnet: subnet, Groups: r.Groups, PrivateIP: lastAddress(s.CIDR)}}
	if reason := w.LoginReason(Origin{Instance: bastion}, in, r.User, r.Key); reason != "" {
		return reason
	}
	if !w.hostSide().lockedMachine(in).maySudo(r.User) {
		return r.User + " may not sudo"
	}
	return ""
}

// lastAddress is the last of a subnet that an instance can have.
func lastAddress(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		a[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(a).Prev() // the last one of all is reserved
}

// OperatorLoginReason gives the first thing that keeps the operator from the
// instance by the operator's SSH configuration of today, see OperatorFiles: by
// the VPC's bastion where it has one, and to root's rights by sudo. Empty:
// nothing does. The caller holds w.Mu, at least for reading.
func (w *World) OperatorLoginReason(in *Instance) string {
	operator := Origin{Addr: OperatorAddr}
	if reason := w.operatorEnters(operator, in); reason != "" {
		return reason
	}
	if !w.hostSide().lockedMachine(in).maySudo(OperatorUser) {
		return OperatorUser + " may not sudo"
	}
	return ""
}

func (w *World) operatorEnters(operator Origin, in *Instance) string {
	b := w.Bastion(in)
	if b == nil || in.Role == "bastion" {
		return w.LoginReason(operator, in, OperatorUser, w.OperatorLine(in))
	}
	g, reason := w.login(operator, b, OperatorUser, w.OperatorLine(b))
	if reason != "" {
		return "bastion " + b.Host.ID + ": " + reason
	}
	if !g.mayOpen(in.Host.PrivateIP.String(), 22) {
		return "bastion " + b.Host.ID + ": no tunnel to " + in.Host.PrivateIP.String()
	}
	return w.LoginReason(Origin{Instance: b}, in, OperatorUser, w.OperatorLine(in))
}

// OperatorLine is the operator's public key for an instance, as authorized_keys lists it.
func (w *World) OperatorLine(in *Instance) string {
	if w.healthy {
		g := generator{seed: w.Seed}
		return publicOf(g.operatorSeed(in.Host.ID), operatorComment(in.Host.ID)).line()
	}
	_, public := w.OperatorKey()
	return public
}

// LoginReason gives the first thing that keeps a login by SSH out: network,
// sshd and its settings, account, key files. Empty: it would succeed. The key is
// a public one as authorized_keys lists it. Connections from outside of the
// world go to the public address where there is one, all others to the private
// one. The caller holds w.Mu, at least for reading.
func (w *World) LoginReason(from Origin, to *Instance, user, key string) string {
	_, reason := w.login(from, to, user, key)
	return reason
}

// LoginReasonAt is LoginReason for a client that connects to one of the
// instance's addresses.
func (w *World) LoginReasonAt(from Origin, to *Instance, dst netip.Addr, user, key string) string {
	_, reason := w.loginAt(from, to, dst, user, key)
	return reason
}

func (w *World) login(from Origin, to *Instance, user, key string) (*grant, string) {
	dst := to.Host.PrivateIP
	if from.Instance == nil && from.ConnectEndpoint == nil && to.Host.PublicIP.IsValid() {
		dst = to.Host.PublicIP
	}
	return w.loginAt(from, to, dst, user, key)
}

func (w *World) loginAt(from Origin, to *Instance, dst netip.Addr, user, key string) (*grant, string) {
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(key))
	if err != nil {
		return nil, "the key is none: " + err.Error()
	}
	reach := w.CanReach(from, to, dst, 22)
	switch {
	case !reach.OK:
		return nil, reach.Reason
	case to.OS.Family == "windows":
		return nil, "no SSH server"
	case to.Down:
		return nil, "sshd does not answer"
	case slices.Contains([]MachineFault{MachineSilent, MachineHostKey}, to.Fault):
		return nil, "the machine is at fault: " + string(to.Fault)
	}
	m := w.hostSide().lockedMachine(to)
	conf, err := m.sshdEffective(root, m.sshdArguments()[1:], nil)
	if err != nil {
		return nil, "sshd does not start: " + err.Error()
	}
	if conf.port() != 22 {
		return nil, fmt.Sprintf("sshd listens on port %d", conf.port())
	}
	j := &judge{m: m, from: netip.AddrPortFrom(reach.Source, firstEphemeral), to: netip.AddrPortFrom(dst, 22)}
	g, err := j.publicKey(user, public)
	if err != nil {
		return nil, err.Error()
	}
	return g, ""
}

// hostSide is the world's host side; where nobody has made one, its machines
// are as the model has them.
func (w *World) hostSide() *Hosts {
	if h := w.hosts.Load(); h != nil {
		return h
	}
	return NewHosts(w, HostOptions{})
}
