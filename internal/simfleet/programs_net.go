package simfleet

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"ssm-migrate/internal/fleet"
)

// Waits of a machine's network stack, in simulated time.
const (
	resolverPatience = 10 * time.Second  // glibc: 2 attempts of 5 s (resolv.conf(5))
	connectPatience  = 130 * time.Second // Linux: 6 SYN retransmissions (tcp(7))
)

// egress asks the world how a connection to a service fares.
func (p *process) egress(service string) PathResult {
	w := p.x.hosts.w
	w.Mu.RLock()
	defer w.Mu.RUnlock()
	return w.EgressTo(p.m.inst, service)
}

// serviceOf gives the service of the machine's Region that a DNS name stands for.
func (m *machine) serviceOf(name string) (string, bool) {
	region := m.Region.Name
	return strings.CutSuffix(strings.TrimSuffix(name, "."), "."+region+"."+fleet.DNSSuffix(region))
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
	r := p.egress(service)
	if len(r.Addresses) == 0 && len(PublicAddresses(service, p.m.Region.Name)) > 0 {
		// The name exists, so it is the resolver that does not answer.
		return nil, p.wait(ctx, resolverPatience)
	}
	return r.Addresses, nil
}

// transfer is one curl transfer.
type transfer struct {
	p       *process
	o       options
	verbose bool
	host    string
	port    string
	secure  bool
	limit   time.Duration // -m; 0: none

	status  int
	message string
	code    int // HTTP
	ip      string
	connect bool
	tls     bool
	verify  int // OpenSSL's verification result
}

// runCurl knows -s -S -v -k -q -f -I -L -m -o -w and --connect-timeout.
func runCurl(ctx context.Context, p *process) int {
	o := parseOptions(p.args[1:], "mowHXATdu", "connect-timeout", "max-time", "output", "write-out", "noproxy", "url", "request", "header", "cacert")
	urls := slices.Concat(o.operands, o.flags["url"])
	if len(urls) == 0 {
		_, _ = fmt.Fprintln(p.stderr, "curl: try 'curl --help' or 'curl --manual' for more information")
		return 2
	}
	status := 0
	for _, u := range urls {
		status = curlOne(ctx, p, o, u)
		if status == statusTimedOut {
			return status
		}
	}
	return status
}

func curlOne(ctx context.Context, p *process, o options, target string) int {
	if !strings.Contains(target, "://") {
		target = "http://" + target
	}
	u, err := url.Parse(target)
	if err != nil || u.Hostname() == "" {
		_, _ = fmt.Fprintln(p.stderr, "curl: (3) URL using bad/illegal format or missing URL")
		return 3
	}
	r := &transfer{p: p, o: o, verbose: o.has("v", "verbose"), host: u.Hostname(), port: u.Port(), secure: u.Scheme == "https"}
	if r.port == "" {
		r.port = "80"
		if r.secure {
			r.port = "443"
		}
	}
	if v, ok := o.value("m", "max-time"); ok {
		r.limit, _ = duration(v)
	}
	if err := r.run(ctx); err != nil {
		return waited(err, 0)
	}
	if r.status != 0 && (!o.has("s", "silent") || o.has("S", "show-error")) {
		_, _ = fmt.Fprintf(p.stderr, "curl: (%d) %s\n", r.status, r.message)
	}
	if format, ok := o.value("w", "write-out"); ok {
		p.printf("%s", r.writeOut(format))
	}
	return r.status
}

func (r *transfer) say(format string, args ...any) {
	if r.verbose {
		_, _ = fmt.Fprintf(r.p.stderr, format+"\n", args...)
	}
}

// patient waits as long as the network would let it, at most up to -m; it
// gives the time waited.
func (r *transfer) patient(ctx context.Context, d time.Duration) (time.Duration, error) {
	if r.limit > 0 {
		d = min(d, r.limit)
	}
	return d, r.p.wait(ctx, d)
}

func (r *transfer) fail(status int, format string, args ...any) {
	r.status, r.message = status, fmt.Sprintf(format, args...)
	r.say("* %s", r.message)
}

// run makes the transfer. Its error is that of waiting; what went wrong with
// the transfer is in r.
func (r *transfer) run(ctx context.Context) error {
	service, ours := r.p.m.serviceOf(r.host)
	path := r.p.egress(service)
	switch {
	case !ours || len(path.Addresses) == 0 && len(PublicAddresses(service, r.p.m.Region.Name)) == 0:
		r.fail(6, "Could not resolve host: %s", r.host)
		return nil
	case len(path.Addresses) == 0:
		spent, err := r.patient(ctx, resolverPatience)
		if err == nil && r.limit > 0 && spent == r.limit {
			r.fail(28, "Resolving timed out after %d milliseconds", spent.Milliseconds()+1)
		} else {
			r.fail(6, "Could not resolve host: %s", r.host)
		}
		return err
	}
	for _, a := range path.Addresses {
		r.say("*   Trying %s...", netip.AddrPortFrom(a, 443))
	}
	if !path.TCP || r.port != "443" {
		d := connectPatience
		if v, ok := r.o.value("connect-timeout"); ok {
			d, _ = duration(v)
		}
		spent, err := r.patient(ctx, d)
		if err == nil {
			r.fail(28, "Failed to connect to %s port %s after %d ms: Timeout was reached", r.host, r.port, spent.Milliseconds()+1)
		}
		return err
	}
	r.connect, r.ip = true, path.Addresses[0].String()
	r.say("* Connected to %s (%s) port %s (#0)", r.host, r.ip, r.port)
	r.handshake(path)
	return nil
}

// issuerWords is what OpenSSL says of a chain that ends in an unknown authority.
const issuerWords = "self-signed certificate in certificate chain"

func (r *transfer) handshake(path PathResult) {
	insecure := r.o.has("k", "insecure")
	r.say("* ALPN: offers h2,http/1.1\n* TLSv1.3 (OUT), TLS handshake, Client hello (1):\n* TLSv1.3 (IN), TLS handshake, Server hello (2):")
	if !path.TLS {
		r.verify = 19
		if !insecure {
			r.say("* TLSv1.3 (OUT), TLS alert, unknown CA (560):")
			r.fail(60, "SSL certificate problem: %s", issuerWords)
			r.message += "\nMore details here: https://curl.se/docs/sslcerts.html\n\ncurl failed to verify the legitimacy of the server and therefore could not\nestablish a secure connection to it. To learn more about this situation and\nhow to fix it, please visit the web page mentioned above."
			r.say("* Closing connection 0")
			return
		}
	}
	r.tls = true
	now := r.p.m.clock()
	r.say("* SSL connection using TLSv1.3 / TLS_AES_128_GCM_SHA256\n* Server certificate:\n*  subject: CN=%s\n*  start date: %s\n*  expire date: %s",
		r.host, now.AddDate(0, -3, 0).Format("Jan _2 00:00:00 2006 GMT"), now.AddDate(0, 10, 0).Format("Jan _2 23:59:59 2006 GMT"))
	r.say("*  issuer: %s", strings.ReplaceAll(path.Issuer, ", ", "; "))
	if path.TLS {
		r.say("*  SSL certificate verify ok.")
	} else {
		r.say("*  SSL certificate verify result: %s (%d), continuing anyway.", issuerWords, r.verify)
	}
	r.code = 404
	r.say("> GET / HTTP/1.1\n> Host: %s\n> User-Agent: curl/7.88.1\n> Accept: */*\n>", r.host)
	// The server's clock is the world's, not this machine's.
	r.say("< HTTP/1.1 404 Not Found\n< date: %s\n< content-length: 29\n<", now.Add(-r.p.m.Skew).Format("Mon, 02 Jan 2006 15:04:05 GMT"))
	if _, ok := r.o.value("o", "output"); !ok {
		r.p.printf("<UnknownOperationException/>\n")
	}
	r.say("* Connection #0 to host %s left intact", r.host)
	if r.o.has("f", "fail") {
		r.status, r.message = 22, "The requested URL returned error: 404"
	}
}

// writeOut fills curl's -w format.
func (r *transfer) writeOut(format string) string {
	seconds := func(done bool, s string) string {
		if done {
			return s
		}
		return "0.000000"
	}
	return strings.NewReplacer(
		"%{http_code}", fmt.Sprintf("%03d", r.code), "%{response_code}", fmt.Sprintf("%03d", r.code), "%{remote_ip}", r.ip,
		"%{remote_port}", r.port, "%{ssl_verify_result}", strconv.Itoa(r.verify), "%{exitcode}", strconv.Itoa(r.status), "%{errormsg}", r.message,
		"%{time_namelookup}", "0.002113", "%{time_connect}", seconds(r.connect, "0.003241"), "%{time_appconnect}", seconds(r.tls, "0.014322"),
		"%{time_total}", "0.021530", "%{num_connects}", strconv.Itoa(map[bool]int{true: 1}[r.connect]), `\n`, "\n", `\t`, "\t", "%%", "%",
	).Replace(format)
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
	path := p.egress(service)
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
