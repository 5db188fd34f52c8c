package simfleet

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// transfer is one curl transfer.
type transfer struct {
	p       *process
	o       options
	verbose bool
	host    string
	port    string
	path    string
	secure  bool
	proxy   map[string]string // as proxyFor takes them
	limit   time.Duration     // -m; 0: none

	status  int
	message string
	code    int // HTTP
	ip      string
	connect bool
	tls     bool
	verify  int // OpenSSL's verification result
}

// runCurl knows -s -S -v -k -q -f -I -i -L -m -o -w -X -H -D -T -r -K -x, --noproxy and
// --connect-timeout, and the proxy variables.
func runCurl(ctx context.Context, p *process) int {
	o := parseOptions(p.args[1:], "mowHXATdDuxCKr", "connect-timeout", "max-time", "output", "write-out", "noproxy", "url", "request", "header", "cacert", "dump-header", "proxy", "retry", "retry-delay", "retry-max-time", "proto", "proto-redir", "max-filesize", "config", "range", "upload-file")
	configured, err := configURLs(p, o)
	if err != nil {
		_, _ = fmt.Fprintln(p.stderr, "curl: cannot read config")
		return 26
	}
	urls := slices.Concat(o.operands, o.flags["url"], configured)
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
	r := &transfer{p: p, o: o, verbose: o.has("v", "verbose"), host: u.Hostname(), port: u.Port(), path: cmp.Or(u.Path, "/"), secure: u.Scheme == "https", proxy: curlProxy(p, o)}
	if r.port == "" {
		r.port = "80"
		if r.secure {
			r.port = "443"
		}
	}
	if v, ok := o.value("m", "max-time"); ok {
		r.limit, _ = duration(v)
	}
	run := func() error { return r.run(ctx) }
	if presigned(u) {
		run = func() error { return r.storage(ctx, u) }
	}
	if err := run(); err != nil {
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

// curlProxy gives the proxies of a transfer. curl takes http_proxy in lower
// case only, the others in either case (curl(1), ENVIRONMENT).
func curlProxy(p *process, o options) map[string]string {
	env := map[string]string{
		"http_proxy":  cmp.Or(p.env["http_proxy"], p.env["all_proxy"], p.env["ALL_PROXY"]),
		"https_proxy": cmp.Or(p.env["https_proxy"], p.env["HTTPS_PROXY"], p.env["all_proxy"], p.env["ALL_PROXY"]),
		"no_proxy":    cmp.Or(p.env["no_proxy"], p.env["NO_PROXY"]),
	}
	if v, ok := o.value("x", "proxy"); ok {
		env["http_proxy"], env["https_proxy"] = v, v
	}
	if v, ok := o.value("noproxy"); ok {
		env["no_proxy"] = v
	}
	return env
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
	scheme := "http"
	if r.secure {
		scheme = "https"
	}
	if proxy := proxyFor(r.proxy, scheme, r.host); proxy != "" {
		return r.throughProxy(ctx, proxy)
	}
	if r.host == metadataAddress && !r.secure {
		r.connected(metadataAddress, "80")
		r.answer(r.metadata())
		return nil
	}
	if files, ok := r.p.x.hosts.w.Mirrors[r.host]; ok {
		return r.fromMirror(ctx, files)
	}
	service, ours := r.p.m.serviceOf(r.host)
	to := r.p.egress(service, nil)
	switch {
	case !ours || len(to.Addresses) == 0 && len(PublicAddresses(service, r.p.m.Region.Name)) == 0:
		r.fail(6, "Could not resolve host: %s", r.host)
		return nil
	case len(to.Addresses) == 0:
		spent, err := r.patient(ctx, resolverPatience)
		if err == nil && r.limit > 0 && spent == r.limit {
			r.fail(28, "Resolving timed out after %d milliseconds", spent.Milliseconds()+1)
		} else {
			r.fail(6, "Could not resolve host: %s", r.host)
		}
		return err
	}
	for _, a := range to.Addresses {
		r.say("*   Trying %s...", netip.AddrPortFrom(a, 443))
	}
	if !to.TCP || r.port != "443" {
		return r.unanswered(ctx, r.host, r.port)
	}
	r.connected(to.Addresses[0].String(), r.port)
	r.handshake(to)
	return nil
}

// unanswered waits for a connection that nobody accepts.
func (r *transfer) unanswered(ctx context.Context, host, port string) error {
	d := connectPatience
	if v, ok := r.o.value("connect-timeout"); ok {
		d, _ = duration(v)
	}
	spent, err := r.patient(ctx, d)
	if err == nil {
		r.fail(28, "Failed to connect to %s port %s after %d ms: Timeout was reached", host, port, spent.Milliseconds()+1)
	}
	return err
}

func (r *transfer) connected(ip, port string) {
	r.connect, r.ip = true, ip
	r.say("* Connected to %s (%s) port %s (#0)", r.host, ip, port)
}

// throughProxy asks a proxy for the transfer. What it cannot have itself, such
// as another machine's metadata service, it answers for.
func (r *transfer) throughProxy(ctx context.Context, proxy string) error {
	host, port := proxyAddress(proxy)
	if a, _ := netip.ParseAddr(host); !a.IsValid() {
		r.fail(5, "Could not resolve proxy: %s", host)
		return nil
	}
	r.say("*   Trying %s:%d...", host, port)
	service, ours := r.p.m.serviceOf(r.host)
	probe := service
	if !ours {
		probe = "ssm" // whether the proxy answers at all does not depend on what it is asked
	}
	to := r.p.egress(probe, map[string]string{"https_proxy": proxy})
	if !to.TCP {
		return r.unanswered(ctx, host, strconv.Itoa(port))
	}
	r.connected(host, strconv.Itoa(port))
	if !ours || !r.secure {
		r.answer(response{code: http.StatusServiceUnavailable, header: map[string]string{"Server": "squid/5.7", "X-Squid-Error": "ERR_CONNECT_FAIL 110"},
			body: "<html><head><title>ERROR: The requested URL could not be retrieved</title></head></html>\n"})
		return nil
	}
	r.say("> CONNECT %s:%s HTTP/1.1\n< HTTP/1.1 200 Connection established\n* CONNECT phase completed", r.host, r.port)
	r.handshake(to)
	return nil
}

// issuerWords is what OpenSSL says of a chain that ends in an unknown authority.
const issuerWords = "self-signed certificate in certificate chain"

func (r *transfer) handshake(to PathResult) {
	insecure := r.o.has("k", "insecure")
	r.say("* ALPN: offers h2,http/1.1\n* TLSv1.3 (OUT), TLS handshake, Client hello (1):\n* TLSv1.3 (IN), TLS handshake, Server hello (2):")
	if !to.TLS {
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
	r.say("*  issuer: %s", strings.ReplaceAll(to.Issuer, ", ", "; "))
	if to.TLS {
		r.say("*  SSL certificate verify ok.")
	} else {
		r.say("*  SSL certificate verify result: %s (%d), continuing anyway.", issuerWords, r.verify)
	}
	if service, _ := r.p.m.serviceOf(r.host); service == "s3" {
		r.answer(r.object(to.Policy))
		return
	}
	r.answer(response{code: http.StatusNotFound, header: map[string]string{}, body: "<UnknownOperationException/>\n"})
}

// response is what an HTTP server answers.
type response struct {
	code   int
	header map[string]string
	body   string
}

// method is the request's, as -X, -I and the data options set it.
func (r *transfer) method() string {
	if v, ok := r.o.value("X", "request"); ok {
		return v
	}
	switch {
	case r.o.has("I", "head"):
		return http.MethodHead
	case r.o.has("T", "upload-file"):
		return http.MethodPut
	}
	return http.MethodGet
}

// requestHeader gives a header of the request; its name is compared without
// regard to case.
func (r *transfer) requestHeader(name string) (string, bool) {
	for _, line := range slices.Concat(r.o.flags["H"], r.o.flags["header"]) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(key), name) {
			return strings.TrimSpace(value), true
		}
	}
	return "", false
}

// answer shows a response where the options want it. Its Date is the server's:
// the world's clock, not this machine's.
func (r *transfer) answer(a response) {
	r.code = a.code
	r.say("> %s %s HTTP/1.1\n> Host: %s\n> User-Agent: curl/7.88.1\n> Accept: */*\n>", r.method(), r.path, r.host)
	head := maps.Clone(a.header)
	if head == nil {
		head = map[string]string{}
	}
	head["Date"] = r.p.m.clock().Add(-r.p.m.Skew).Format(http.TimeFormat)
	head["Content-Length"] = strconv.Itoa(len(a.body))
	lines := []string{fmt.Sprintf("HTTP/1.1 %d %s", a.code, http.StatusText(a.code))}
	for _, name := range slices.Sorted(maps.Keys(head)) {
		lines = append(lines, name+": "+head[name])
	}
	for _, line := range append(lines, "") {
		r.say("< %s", line)
	}
	text := strings.Join(lines, "\r\n") + "\r\n\r\n"
	if file, ok := r.o.value("D", "dump-header"); ok {
		r.write(file, text)
	}
	body := a.body
	if r.o.has("f", "fail") && a.code >= 400 {
		r.status, r.message = 22, fmt.Sprintf("The requested URL returned error: %d", a.code)
		body = ""
	}
	switch {
	case r.o.has("I", "head"):
		body = text
	case r.o.has("i", "include"):
		body = text + body
	}
	file, ok := r.o.value("o", "output")
	if !ok {
		file = "-"
	}
	if !ok && r.o.has("O", "remote-name") {
		file = path.Base(r.path)
	}
	if r.status == 0 || file == "-" {
		r.write(file, body)
	}
	r.say("* Connection #0 to host %s left intact", r.host)
}

// write puts a part of the response into a file, or on standard output for "-".
func (r *transfer) write(file, text string) {
	if file == "-" {
		_, _ = io.WriteString(r.p.stdout, text)
		return
	}
	if file == "/dev/null" {
		return
	}
	if err := r.p.writeInto(file, []byte(text), false); err != nil {
		r.fail(23, "Failure writing output to destination")
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
