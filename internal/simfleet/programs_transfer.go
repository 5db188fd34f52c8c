package simfleet

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
)

var curlConfigURL = regexp.MustCompile(`^\s*url\s*=\s*"([^"]*)"\s*$`)

// configURLs reads the URLs of curl's -K, of which it knows nothing else.
func configURLs(p *process, o options) ([]string, error) {
	var out []string
	for _, name := range append(o.flags["K"], o.flags["config"]...) {
		text, err := p.input(name)
		if err != nil {
			return nil, err
		}
		for _, line := range lines(text) {
			if m := curlConfigURL.FindStringSubmatch(line); m != nil {
				out = append(out, m[1])
			}
		}
	}
	return out, nil
}

// presigned reports whether a URL is one for S3 that carries its own signature:
// it leads to the simulated AWS whatever its host is.
func presigned(u *url.URL) bool { return u.Query().Has("X-Amz-Signature") }

// storage carries a request by a presigned URL to S3, over the network of the
// machine as if the URL named the Region's own endpoint.
func (r *transfer) storage(ctx context.Context, u *url.URL) error {
	name := "s3." + r.p.m.Region.Name + ".amazonaws.com"
	to := r.p.egress("s3", map[string]string{"https_proxy": proxyFor(r.proxy, "https", name)})
	server := r.p.x.hosts.aws.Load()
	switch {
	case len(to.Addresses) == 0:
		r.fail(6, "Could not resolve host: %s", r.host)
		return r.p.wait(ctx, resolverPatience)
	case !to.TCP || server == nil:
		return r.unanswered(ctx, r.host, r.port)
	case !to.TLS && !r.o.has("k", "insecure"):
		r.fail(60, "SSL certificate problem: %s", issuerWords)
		return nil
	}
	r.connected(to.Addresses[0].String(), r.port)
	var body []byte
	if file, ok := r.o.value("T", "upload-file"); ok {
		var err error
		if body, err = r.p.input(file); err != nil {
			r.fail(26, "Failed to open/read local data from file/application")
			return nil //nolint:nilerr // curl's own failure, told by its exit status
		}
	}
	method := r.method()
	if to.Policy != "" && !r.admitted(to.Policy, method, u.Path) {
		r.answer(response{code: http.StatusForbidden, header: map[string]string{"Content-Type": "application/xml"}, body: "<Error><Code>AccessDenied</Code></Error>"})
		return nil
	}
	request, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		r.fail(3, "URL using bad/illegal format or missing URL")
		return nil //nolint:nilerr // curl's own failure, told by its exit status
	}
	if v, ok := r.o.value("r", "range"); ok {
		request.Header.Set("Range", "bytes="+v)
	}
	var got answerWriter
	(*server).ServeHTTP(&got, request)
	header := map[string]string{}
	for name := range got.header {
		header[name] = got.header.Get(name)
	}
	r.answer(response{code: got.status, header: header, body: got.body.String()})
	return nil
}

// admitted asks an endpoint's policy about a request that an operator has signed.
func (r *transfer) admitted(policy, method, at string) bool {
	action := map[string]string{http.MethodPut: "s3:PutObject"}[method]
	if action == "" {
		action = "s3:GetObject"
	}
	q := instanceRequest(r.p.m.inst, action)
	q.resource, q.principal = "arn:aws:s3:::"+strings.TrimPrefix(at, "/"), ""
	return q.decide(policy).yes()
}

// answerWriter keeps an answer.
type answerWriter struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (w *answerWriter) Header() http.Header {
	if w.header == nil {
		w.header = http.Header{}
	}
	return w.header
}

func (w *answerWriter) WriteHeader(status int) { w.status = status }

func (w *answerWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.body.Write(b)
}

// runDd knows if=, of=, bs=, count= and skip=, with sizes in bytes or with k and M behind them.
func runDd(_ context.Context, p *process) int {
	text := map[string]string{}
	for _, a := range p.args[1:] {
		name, v, ok := strings.Cut(a, "=")
		if !ok {
			return p.fail(1, "unrecognized operand '%s'", a)
		}
		text[name] = v
	}
	number := func(name string, fallback int) int {
		v, unit := text[name], 1
		switch {
		case v == "":
			return fallback
		case strings.HasSuffix(v, "k"):
			v, unit = v[:len(v)-1], 1<<10
		case strings.HasSuffix(v, "M"):
			v, unit = v[:len(v)-1], 1<<20
		}
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return fallback
		}
		return n * unit
	}
	from := "-"
	if v := text["if"]; v != "" {
		from = v
	}
	data, err := p.input(from)
	if err != nil {
		return p.fail(1, "failed to open '%s': %s", from, errorText(err))
	}
	block := number("bs", 512)
	start := min(number("skip", 0)*block, len(data))
	data = data[start:]
	if n := number("count", -1); n >= 0 {
		data = data[:min(n*block, len(data))]
	}
	if to := text["of"]; to != "" {
		err = p.writeInto(to, data, false)
	} else {
		_, err = p.stdout.Write(data)
	}
	if err != nil {
		return p.fail(1, "writing: %s", errorText(err))
	}
	_, _ = fmt.Fprintf(p.stderr, "%d bytes copied\n", len(data))
	return 0
}

// runTar is tar -c and -x with -f, -C, -o and -p, of regular files, directories
// and links.
func runTar(_ context.Context, p *process) int {
	o := parseOptions(p.args[1:], "fC", "file", "directory")
	file, ok := o.value("f", "file")
	if !ok {
		file = "-"
	}
	dir := p.dir
	if v, ok := o.value("C", "directory"); ok {
		dir = p.abs(v)
	}
	switch {
	case o.has("c"):
		var b bytes.Buffer
		if err := p.pack(&b, dir, o.operands); err != nil {
			return p.fail(2, "%s", errorText(err))
		}
		if file == "-" {
			_, _ = io.Copy(p.stdout, &b)
			return 0
		}
		if err := p.writeInto(file, b.Bytes(), false); err != nil {
			return p.fail(2, "%s: %s", path.Base(file), errorText(err))
		}
		return 0
	case o.has("x"):
		data, err := p.input(file)
		if err == nil {
			err = p.unpack(bytes.NewReader(data), dir, o.has("p"))
		}
		if err != nil {
			return p.fail(2, "%s", errorText(err))
		}
		return 0
	}
	return p.fail(2, "You must specify one of the '-Acdtrux' options")
}
