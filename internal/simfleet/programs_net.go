package simfleet

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// Waits of a machine's network stack, in simulated time.
const (
	resolverPatience = 10 * time.Second  // glibc: 2 attempts of 5 s (resolv.conf(5))
	connectPatience  = 130 * time.Second // Linux: 6 SYN retransmissions (tcp(7))
)

// egress asks the world how a connection to a service fares, by the proxy that
// the variables name, if any.
func (p *process) egress(service string, proxy map[string]string) PathResult {
	w := p.x.hosts.w
	w.Mu.RLock()
	defer w.Mu.RUnlock()
	return w.egressBy(p.m.inst, service, proxy)
}

// serviceOf gives the service of the machine's Region that a DNS name stands for.
func (m *machine) serviceOf(name string) (string, bool) {
	region := m.Region.Name
	service, ok := strings.CutSuffix(strings.TrimSuffix(name, "."), "."+region+"."+fleet.DNSSuffix(region))
	// A bucket's own name has the same addresses as the service's.
	if strings.HasSuffix(service, ".s3") {
		service = "s3"
	}
	return service, ok
}

// lookup resolves a name as the machine does. No addresses and no error: there
// is no such name, or nobody answered for resolverPatience.
func (p *process) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a}, nil
	}
	switch name {
	case "localhost":
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
	case p.m.Hostname, p.m.Host.PrivateDNS:
		return []netip.Addr{p.m.Host.PrivateIP}, nil
	}
	service, ok := p.m.serviceOf(name)
	if !ok {
		return nil, nil
	}
	r := p.egress(service, nil)
	if len(r.Addresses) == 0 && len(PublicAddresses(service, p.m.Region.Name)) > 0 {
		// The name exists, so it is the resolver that does not answer.
		return nil, p.wait(ctx, resolverPatience)
	}
	return r.Addresses, nil
}

// runOpenSSL is openssl s_client -connect HOST:443; everything else only tells the version.
func runOpenSSL(ctx context.Context, p *process) int {
	if len(p.args) < 2 || p.args[1] != "s_client" {
		p.printf("OpenSSL 3.0.13 30 Jan 2024\n")
		return 0
	}
	target := ""
	for i, a := range p.args {
		if a == "-connect" && i+1 < len(p.args) {
			target = p.args[i+1]
		}
	}
	host, _, _ := strings.Cut(target, ":")
	service, ours := p.m.serviceOf(host)
	path := p.egress(service, nil)
	failed := func(text string) int {
		_, _ = io.WriteString(p.stderr, text+"\n")
		return 1
	}
	switch {
	case !ours || len(path.Addresses) == 0 && len(PublicAddresses(service, p.m.Region.Name)) == 0:
		return failed("40C7D6A3:error:10080002:BIO routines:BIO_lookup_ex:system lib:Name or service not known\nconnect:errno=0")
	case len(path.Addresses) == 0:
		return waited(p.wait(ctx, resolverPatience), failed("40C7D6A3:error:10080002:BIO routines:BIO_lookup_ex:system lib:Temporary failure in name resolution\nconnect:errno=0"))
	case !path.TCP:
		if err := p.wait(ctx, connectPatience); err != nil {
			return waited(err, 1)
		}
		return failed("40C7D6A3:error:8000006E:system library:BIO_connect:Connection timed out\nconnect:errno=110")
	}
	verdict := "0 (ok)"
	if !path.TLS {
		verdict = "19 (" + issuerWords + ")"
	}
	p.printf("CONNECTED(00000003)\n---\nCertificate chain\n 0 s:CN = %s\n   i:%s\n---\nsubject=CN = %s\nissuer=%s\n---\nSSL handshake has read 5000 bytes\n---\nVerify return code: %s\n---\n",
		host, spaced(path.Issuer), host, spaced(path.Issuer), verdict)
	return 0
}

// spaced is a distinguished name in the form of OpenSSL 3: "C = US, O = Amazon".
func spaced(name string) string { return strings.ReplaceAll(name, "=", " = ") }

// runSS is ss -tn, with -H and -p: the connections of open SSH sessions. Whose
// they are is shown to root, and to a user for the own ones.
func runSS(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "")
	if !o.has("H") {
		p.printf("State Recv-Q Send-Q Local Address:Port Peer Address:PortProcess\n")
	}
	port := 22
	if conf, err := p.m.sshdEffective(root, p.m.sshdArguments()[1:], nil); err == nil {
		port = conf.port()
	}
	show := func(local, peer string, uid, priv, pid int) {
		name := p.m.loginProcess()
		users := ""
		if o.has("p") && (p.cred.root() || p.cred.uid == uid) {
			users = fmt.Sprintf(` users:(("%s",pid=%d,fd=4),("%s",pid=%d,fd=4))`, name, pid, name, priv)
		}
		p.printf("ESTAB 0      0      %s %s%s\n", local, peer, users)
	}
	for _, s := range p.m.Sessions {
		a, _ := p.m.account(s.User)
		peer := netip.AddrPortFrom(s.From, uint16(40000+s.PID%20000)) //nolint:gosec // below 60000
		show(netip.AddrPortFrom(p.m.Host.PrivateIP, uint16(port)).String(), peer.String(), a.uid, s.PID-1, s.PID)
	}
	for _, l := range p.m.live {
		show(l.local, l.from, l.user.uid, l.priv, l.priv+1)
	}
	return 0
}
