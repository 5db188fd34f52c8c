package simfleet

import (
	"bytes"
	"cmp"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ssm-migrate/internal/fleet"
)

// AWSOptions say how the simulated AWS behaves. The zero value throttles as
// AWS publishes it and has no faults.
type AWSOptions struct {
	NoThrottle bool             // no token buckets
	Clock      func() time.Time // of the token buckets; default time.Now
	Faults     *Faults          // may be nil; may change while the server runs
	Hosts      *Hosts           // on which commands and sessions run; nil: none do
	Frames     *FrameFaults     // of sessions' data channels; may be nil
	// Secret is the secret access key with which presigned URLs have to be
	// signed; empty: their signatures are not verified either.
	Secret string
	// Changed, where set, is called after every request that may have changed
	// the world, with "service:Action". No lock is held.
	Changed func(api string)
	// Lag is by how much EC2's and IAM's reads lag behind changes, and by how
	// much other services see IAM's roles and profiles later. 0: not at all.
	Lag time.Duration
}

// AWS is the simulated AWS: one HTTP handler that speaks EC2, IAM, Auto
// Scaling, STS, Systems Manager, Organizations, Route 53 and its Resolver, S3
// (path style), CloudWatch Logs, KMS and Secrets Manager in their own
// wire protocols.
//
// Service and Region come from the credential scope in the Authorization
// header, so one endpoint URL serves all of them. The access key ID decides
// the account: AccessKey(account), an ID that AssumeRole gave, or any other
// for the first account. Signatures are not verified, but for presigned URLs
// where AWSOptions.Secret says so: every secret will do.
type AWS struct {
	w        *World
	o        AWSOptions
	throttle throttle
	requests atomic.Int64

	mu       sync.Mutex
	calls    map[string]int
	sessions map[string]*liveSession // guarded by mu: open ones by ID
	// Tunnels of EC2 Instance Connect Endpoints; guarded by mu.
	tunnels        map[string]int // open ones, by endpoint
	tunnelsMost    int            // of one endpoint at once
	tunnelsRefused int            // for one too many
	commands       commandLog

	// Past states, guarded by World.Mu. Kept only with AWSOptions.Lag.
	regions  map[*Region][]past[*Region]
	accounts map[*Account][]past[*Account]
}

// ServeAWS makes the AWS side of a world. It takes w.Mu for reading while it
// computes an answer.
func ServeAWS(w *World, o AWSOptions) *AWS {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	s := &AWS{
		w: w, o: o, calls: map[string]int{}, tunnels: map[string]int{}, sessions: map[string]*liveSession{}, throttle: throttle{buckets: map[string]*bucket{}},
		regions: map[*Region][]past[*Region]{}, accounts: map[*Account][]past[*Account]{},
	}
	if o.Hosts != nil {
		var served http.Handler = s
		o.Hosts.aws.Store(&served)
	}
	return s
}

// AccessKey is the access key ID that selects an account.
func AccessKey(account string) string { return "SIMA" + account + "DEMO" }

// UserAccessKey is an access key ID of an account's IAM user. AccessKey's
// belongs to the user "operator".
func UserAccessKey(account, user string) string { return userPrefix + account + user }

const (
	assumedPrefix = "SIMR"
	userPrefix    = "SIMU"
)

// Calls counts the requests so far by "service:Action", refused ones included.
func (s *AWS) Calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

// call is one request to one API.
type call struct {
	w       *World
	server  *AWS
	account *Account
	region  *Region // of the account; one without anything when the account does not use it
	service string
	action  string
	key     string // access key ID
	token   string // session token
	id      string // request ID
	origin  string // of the data channels' URLs: "ws://127.0.0.1:4566"

	form url.Values // query protocols; a REST protocol's query string
	json []byte     // JSON protocols
	name string     // the resource that a REST protocol's path names: hosted zone ID or bucket

	ranged string // the Range header
}

// apiError is an error as the service words it.
type apiError struct {
	status        int
	code, message string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func refuse(code, format string, args ...any) *apiError {
	return &apiError{http.StatusBadRequest, code, fmt.Sprintf(format, args...)}
}

// operation computes an answer.
type operation func(*call) (any, error)

// operations are all APIs of the simulated AWS that only read, by service and
// action. The services go by the names under which their requests are signed.
var operations = map[string]map[string]operation{
	"ec2": ec2Operations, "iam": iamOperations, "autoscaling": scalingOperations, "sts": stsOperations, "ssm": ssmOperations,
	"organizations": organizationsOperations, "route53resolver": resolverOperations, "logs": logsOperations, "kms": kmsOperations,
	"route53": route53Operations, "s3": s3Operations, "scheduler": schedulerOperations, "secretsmanager": secretsOperations,
}

// changes are the APIs that change the world: World.Mu is held for writing.
var changes = map[string][]map[string]operation{
	"ec2":         {ec2RuleChanges, ec2GroupChanges, ec2ProfileChanges, ec2EndpointChanges, ec2TemplateChanges, ec2ImageChanges, ec2PowerChanges},
	"iam":         {iamChanges},
	"autoscaling": {scalingChanges},
	"ssm":         {ssmChanges},
	"scheduler":   {schedulerChanges},
	"s3":          {s3Changes},

	"secretsmanager": {secretsChanges},
}

// tasks are the APIs that take World.Mu by themselves, since what they begin
// runs on machines.
var tasks = map[string][]map[string]operation{"ssm": {sessionTasks, commandTasks}}

// locking says how World.Mu is held while an operation runs.
type locking int

const (
	lockRead locking = iota
	lockWrite
	lockNone
)

// operationOf finds an operation; nil when there is none.
func operationOf(service, action string) (operation, locking) {
	if op := operations[service][action]; op != nil {
		return op, lockRead
	}
	for _, list := range changes[service] {
		if op := list[action]; op != nil {
			return op, lockWrite
		}
	}
	for _, list := range tasks[service] {
		if op := list[action]; op != nil {
			return op, lockNone
		}
	}
	return nil, lockNone
}

// protocol is how a service puts requests and answers into HTTP.
type protocol int

const (
	protocolQuery    protocol = iota // form in, XML out
	protocolEC2                      // the same with EC2's own lists and errors
	protocolJSON                     // AWS JSON 1.1
	protocolREST                     // method, path and query string in, XML out
	protocolRESTJSON                 // method, path and query string or JSON in, JSON out
)

// protocolOf is a service's protocol. A service that is not known is answered
// as a query service.
func protocolOf(service string) protocol {
	switch service {
	case "ec2":
		return protocolEC2
	case "ssm", "organizations", "route53resolver", "logs", "kms", "secretsmanager":
		return protocolJSON
	case "route53", "s3":
		return protocolREST
	case "scheduler":
		return protocolRESTJSON
	}
	return protocolQuery
}

// reply is an answer on its way to the client. Operations whose answer is more
// than a document give one themselves.
type reply struct {
	status int // 0: 200
	kind   string
	header map[string]string
	body   []byte
}

const maxRequest = 1 << 20

// ServeHTTP answers one API request.
func (s *AWS) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if id, ok := strings.CutPrefix(r.URL.Path, dataChannelPath); ok {
		s.serveDataChannel(rw, r, id)
		return
	}
	if r.URL.Path == tunnelPath {
		s.serveTunnel(rw, r)
		return
	}
	c, err := s.read(r)
	if err == nil {
		s.mu.Lock()
		s.calls[c.service+":"+c.action]++
		s.mu.Unlock()
	}
	var out reply
	var fault Fault
	if err == nil {
		fault = s.o.Faults.take(c)
		if !fault.before(r.Context()) {
			return
		}
		s.w.Advance()
		out, err = s.answer(c, fault)
	}
	if fault.Kind == FaultHTML {
		writeHTML(rw)
		return
	}
	if !fault.after(r.Context()) {
		return
	}
	if err != nil {
		out = errorReply(c, err)
	}
	h := rw.Header()
	h.Set("Content-Type", out.kind)
	h.Set("X-Amzn-RequestId", c.id)
	for k, v := range out.header {
		h.Set(k, v)
	}
	body := out.body
	if fault.Kind == FaultCut {
		// The declared length is never reached: the server closes the connection.
		h.Set("Content-Length", fmt.Sprint(len(body)+1))
		body = body[:len(body)/2]
	}
	rw.WriteHeader(cmp.Or(out.status, http.StatusOK))
	_, _ = rw.Write(body)
}

// read parses a request as far as all protocols agree.
func (s *AWS) read(r *http.Request) (*call, error) {
	c := &call{w: s.w, server: s, id: fmt.Sprintf("%08x-0000-4000-8000-51f1ee700000", s.requests.Add(1)), token: r.Header.Get("X-Amz-Security-Token"), origin: channelOrigin(r)}
	scope, ok := credentialScope(r.Header.Get("Authorization"))
	if !ok {
		var err error
		if scope, ok, err = s.presignedObject(r); err != nil {
			c.service, c.token = scope.service, r.URL.Query().Get("X-Amz-Security-Token")
			return c, err
		}
	}
	if !ok {
		return c, &apiError{http.StatusForbidden, "MissingAuthenticationToken", "Missing Authentication Token"}
	}
	c.key, c.service = scope.key, scope.service
	c.account = s.accountOf(scope.key)
	c.region = find(c.account.Regions, func(rg *Region) bool { return rg.Name == scope.region })
	if c.region == nil {
		c.region = &Region{Account: c.account, Name: scope.region}
	}
	most := maxRequest
	if c.service == "s3" {
		most = maxObject
	}
	body, err := readBody(r, most)
	if err != nil {
		return c, refuse("RequestTimeout", "reading the request: %v", err)
	}
	if len(body) == most {
		return c, &apiError{http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "the request is too large"}
	}
	switch protocolOf(c.service) {
	case protocolJSON:
		_, c.action, _ = strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		c.json = body
		return c, nil
	case protocolRESTJSON:
		c.form, c.json = r.URL.Query(), body
		c.action, c.name = schedulerAction(r.Method, r.URL.Path)
		return c, nil
	case protocolREST:
		c.form, c.ranged = r.URL.Query(), r.Header.Get("Range")
		if c.json, err = plainBody(r, body); err != nil {
			return c, refuse("IncompleteBody", "The request body terminated unexpectedly")
		}
		c.action, c.name = restAction(c.service, r.Method, r.URL.Path, c.form)
		return c, nil
	}
	if c.form, err = url.ParseQuery(string(body)); err != nil {
		return c, refuse("MalformedQueryString", "%v", err)
	}
	for k, v := range r.URL.Query() {
		c.form[k] = v
	}
	c.action = c.form.Get("Action")
	return c, nil
}

// readBody reads at most so many bytes, without copying a large body as it grows.
func readBody(r *http.Request, most int) ([]byte, error) {
	if n := r.ContentLength; n > 0 && n < int64(most) {
		body := make([]byte, n)
		_, err := io.ReadFull(r.Body, body)
		return body, err
	}
	return io.ReadAll(io.LimitReader(r.Body, int64(most)))
}

type scope struct{ key, region, service string }

// credentialScope reads "AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, ...".
func credentialScope(authorization string) (scope, bool) {
	_, rest, ok := strings.Cut(authorization, "Credential=")
	rest, _, _ = strings.Cut(rest, ",")
	parts := strings.Split(strings.TrimSpace(rest), "/")
	if !ok || len(parts) != 5 {
		return scope{}, false
	}
	return scope{key: parts[0], region: parts[2], service: parts[3]}, true
}

func (s *AWS) accountOf(key string) *Account {
	for _, a := range s.w.Accounts {
		if len(key) > len(assumedPrefix) && strings.HasPrefix(key[len(assumedPrefix):], a.ID) {
			return a
		}
	}
	return s.w.Accounts[0]
}

func (s *AWS) answer(c *call, fault Fault) (reply, error) {
	op, lock := operationOf(c.service, c.action)
	switch {
	case operations[c.service] == nil && changes[c.service] == nil:
		return reply{}, refuse("InvalidAction", "the simulated AWS has no service %q", c.service)
	case op == nil:
		return reply{}, c.noSuchAction()
	case fault.Kind == FaultDeny:
		return reply{}, c.denied()
	case fault.Kind == FaultThrottle, !s.o.NoThrottle && !s.throttle.take(c, s.o.Clock()):
		return reply{}, c.throttled()
	case lock == lockWrite && c.service == "ec2" && c.form.Get("DryRun") == "true":
		return reply{}, &apiError{http.StatusPreconditionFailed, "DryRunOperation", "Request would have succeeded, but DryRun flag is set."}
	}
	s.w.Mu.RLock()
	down := c.region.Outages[c.service]
	s.w.Mu.RUnlock()
	if down {
		return reply{}, &apiError{http.StatusServiceUnavailable, "ServiceUnavailable", "Service Unavailable"}
	}
	if fault.Kind == FaultTwice && lock != lockRead {
		// What the first of the two says is lost.
		_, _ = s.operate(c, op, lock)
	}
	return s.operate(c, op, lock)
}

func (s *AWS) operate(c *call, op operation, lock locking) (reply, error) {
	if lock != lockRead && s.o.Changed != nil {
		defer s.o.Changed(c.service + ":" + c.action)
	}
	switch lock {
	case lockRead:
		s.w.Mu.RLock()
		defer s.w.Mu.RUnlock()
		s.lag(c)
	case lockWrite:
		s.w.Mu.Lock()
		defer s.w.Mu.Unlock()
		s.remember(c)
	}
	out, err := op(c)
	if err != nil {
		return reply{}, err
	}
	return encode(c, out)
}

func (c *call) noSuchAction() *apiError {
	switch protocolOf(c.service) {
	case protocolJSON:
		return refuse("UnknownOperationException", "")
	case protocolREST, protocolRESTJSON:
		return &apiError{http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource."}
	}
	return refuse("InvalidAction", "The action %s is not valid for this web service.", c.action)
}

// denied is the service's own way of saying no.
func (c *call) denied() *apiError {
	who := c.callerARN()
	message := fmt.Sprintf("User: %s is not authorized to perform: %s:%s", who, c.service, c.action)
	switch protocolOf(c.service) {
	case protocolEC2:
		return &apiError{http.StatusForbidden, "UnauthorizedOperation", "You are not authorized to perform this operation. " + message}
	case protocolJSON:
		return refuse("AccessDeniedException", "%s", message)
	case protocolRESTJSON:
		return &apiError{http.StatusForbidden, "AccessDeniedException", message}
	}
	return &apiError{http.StatusForbidden, "AccessDenied", message}
}

func (c *call) throttled() *apiError {
	switch {
	case c.service == "ec2":
		return &apiError{http.StatusServiceUnavailable, "RequestLimitExceeded", "Request limit exceeded."}
	case c.service == "s3":
		return &apiError{http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate."}
	case c.service == "organizations":
		return refuse("TooManyRequestsException", "You have sent too many requests in too short a period of time.")
	case protocolOf(c.service) == protocolJSON:
		return refuse("ThrottlingException", "Rate exceeded")
	case protocolOf(c.service) == protocolRESTJSON:
		return &apiError{http.StatusTooManyRequests, "ThrottlingException", "Rate exceeded"}
	}
	return refuse("Throttling", "Rate exceeded")
}

var namespaces = map[string]string{
	"ec2":         "http://ec2.amazonaws.com/doc/2016-11-15/",
	"iam":         "https://iam.amazonaws.com/doc/2010-05-08/",
	"autoscaling": "http://autoscaling.amazonaws.com/doc/2011-01-01/",
	"sts":         "https://sts.amazonaws.com/doc/2011-06-15/",
	"route53":     "https://route53.amazonaws.com/doc/2013-04-01/",
	"s3":          "http://s3.amazonaws.com/doc/2006-03-01/",
}

const (
	xmlHeader = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"
	kindXML   = "text/xml;charset=UTF-8"
	kindJSON  = "application/x-amz-json-1.1"
)

// encode writes an answer in the service's protocol.
func encode(c *call, out any) (reply, error) {
	if r, ok := out.(reply); ok {
		return r, nil
	}
	switch protocolOf(c.service) {
	case protocolJSON:
		body, err := json.Marshal(out)
		return reply{kind: kindJSON, body: body}, err
	case protocolRESTJSON:
		body, err := json.Marshal(out)
		return reply{kind: "application/json", body: body}, err
	}
	root := c.action + "Response"
	switch protocolOf(c.service) {
	case protocolQuery:
		root = c.action + "Result"
		if _, none := out.(nothing); none {
			text := fmt.Sprintf("%s<%sResponse xmlns=%q><ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata></%sResponse>", xmlHeader, c.action, namespaces[c.service], c.id, c.action)
			return reply{kind: kindXML, body: []byte(text)}, nil
		}
	case protocolREST:
		return encodeREST(c, root, out)
	}
	body, err := element(root, "", out)
	if err != nil {
		return reply{}, err
	}
	var b bytes.Buffer
	b.Grow(len(body) + 512)
	b.WriteString(xmlHeader)
	if c.service == "ec2" {
		// The request ID is the first child, so it goes behind the root's start tag.
		rest := bytes.TrimPrefix(body, []byte("<"+root+">"))
		fmt.Fprintf(&b, "<%s xmlns=%q><requestId>%s</requestId>", root, namespaces["ec2"], c.id)
		b.Write(rest)
		return reply{kind: kindXML, body: b.Bytes()}, nil
	}
	fmt.Fprintf(&b, "<%sResponse xmlns=%q>", c.action, namespaces[c.service])
	b.Write(body)
	fmt.Fprintf(&b, "<ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata></%sResponse>", c.id, c.action)
	return reply{kind: kindXML, body: b.Bytes()}, nil
}

// encodeREST writes a document with a root of its own.
func encodeREST(c *call, root string, out any) (reply, error) {
	body, err := element(root, namespaces[c.service], out)
	return reply{kind: kindXML, body: append([]byte(xmlHeader), body...)}, err
}

func element(name, namespace string, of any) ([]byte, error) {
	var b bytes.Buffer
	if err := xml.NewEncoder(&b).EncodeElement(of, xml.StartElement{Name: xml.Name{Space: namespace, Local: name}}); err != nil {
		return nil, fmt.Errorf("encoding the answer %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// errorReply writes an error in the service's protocol.
func errorReply(c *call, err error) reply {
	var e *apiError
	if !errors.As(err, &e) {
		e = &apiError{http.StatusInternalServerError, "InternalError", err.Error()}
	}
	switch protocolOf(c.service) {
	case protocolJSON:
		return reply{status: e.status, kind: kindJSON, body: must(json.Marshal(map[string]string{"__type": e.code, "message": e.message}))}
	case protocolRESTJSON:
		return reply{status: e.status, kind: "application/json", header: map[string]string{"X-Amzn-ErrorType": e.code}, body: must(json.Marshal(map[string]string{"Message": e.message}))}
	}
	var b bytes.Buffer
	text := func(s string) string {
		var t bytes.Buffer
		_ = xml.EscapeText(&t, []byte(s))
		return t.String()
	}
	switch c.service {
	case "ec2":
		fmt.Fprintf(&b, "%s<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>%s</RequestID></Response>",
			xmlHeader, text(e.code), text(e.message), c.id)
	case "s3":
		fmt.Fprintf(&b, "%s<Error><Code>%s</Code><Message>%s</Message><BucketName>%s</BucketName><RequestId>%s</RequestId></Error>",
			xmlHeader, text(e.code), text(e.message), text(c.name), c.id)
	default:
		kind := "Sender"
		if e.status >= 500 {
			kind = "Receiver"
		}
		fmt.Fprintf(&b, "%s<ErrorResponse xmlns=%q><Error><Type>%s</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>%s</RequestId></ErrorResponse>",
			xmlHeader, namespaces[c.service], kind, text(e.code), text(e.message), c.id)
	}
	return reply{status: e.status, kind: kindXML, body: b.Bytes()}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic("simfleet: " + err.Error())
	}
	return b
}

// callerARN is who the caller is, as STS tells it.
func (c *call) callerARN() string {
	if c.account == nil {
		return "anonymous"
	}
	if role, session, ok := strings.Cut(c.token, "~"); ok {
		return "arn:aws:sts::" + c.account.ID + ":assumed-role/" + role + "/" + session
	}
	name := "operator"
	if own, ok := strings.CutPrefix(c.key, userPrefix+c.account.ID); ok && own != "" {
		name = own
	}
	if u := find(c.account.Users, func(u *fleet.IAMUser) bool { return u.Name == name }); u != nil {
		return u.ARN
	}
	return "arn:aws:iam::" + c.account.ID + ":user/" + name
}
