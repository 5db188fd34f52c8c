package simfleet

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	"ssm-migrate/internal/fleet"
)

// tunnelPath is where EC2 Instance Connect Endpoints open tunnels: a WebSocket
// whose binary messages are the bytes of one TCP connection. The request is a URL signed
// for the service "ec2-instance-connect". Source: AWS CLI, eicesigner.py and
// websocket.py of its customization ec2instanceconnect.
const tunnelPath = "/openTunnel"

// tunnelFrame is the most that the AWS CLI puts into one message.
const tunnelFrame = 65_000

// tunnelRequest is a tunnel that somebody asks for.
type tunnelRequest struct {
	region   *Region
	endpoint *fleet.ConnectEndpoint
	target   netip.AddrPort
	most     time.Duration
}

// serveTunnel answers one request for a tunnel.
func (s *AWS) serveTunnel(rw http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.calls["ec2-instance-connect:OpenTunnel"]++
	s.mu.Unlock()
	s.w.Advance()
	q, err := s.tunnelRequest(r.URL.Query())
	if err != nil {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(err.status)
		_ = json.NewEncoder(rw).Encode(map[string]string{"ErrorCode": err.code, "Message": err.message})
		return
	}
	defer s.closeTunnel(q.endpoint.ID)
	conn, accepted := websocket.Accept(rw, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // the signature admits, not the origin
	if accepted != nil {
		return // Accept has answered
	}
	defer func() { _ = conn.CloseNow() }()
	ctx, cancel := context.WithTimeout(r.Context(), q.most)
	defer cancel()
	// What cannot be reached shows by the connection's end, not by a refused request.
	host, dialed := s.o.Hosts.Dial(ctx, Origin{Addr: OperatorAddr, ConnectEndpoint: q.endpoint}, q.target)
	if dialed != nil {
		_ = conn.Close(websocket.StatusInternalError, "Unable to connect to target")
		return
	}
	defer func() { _ = host.Close() }()
	tunnel := websocket.NetConn(ctx, conn, websocket.MessageBinary)
	join(ctx, tunnel, host)
	if ctx.Err() != nil {
		_ = conn.Close(websocket.StatusPolicyViolation, "Max tunnel duration reached")
		return
	}
	_ = conn.Close(websocket.StatusNormalClosure, "")
}

// join copies both ways until either side ends.
func join(ctx context.Context, tunnel, host net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	back := make(chan struct{})
	go func() {
		defer close(back)
		_, _ = io.CopyBuffer(struct{ io.Writer }{tunnel}, struct{ io.Reader }{host}, make([]byte, tunnelFrame))
		cancel()
	}()
	stop := context.AfterFunc(ctx, func() { _ = host.Close() })
	defer stop()
	go func() {
		_, _ = io.Copy(host, struct{ io.Reader }{tunnel})
		cancel()
	}()
	<-back
}

// tunnelRequest reads a signed request and takes a place of its endpoint, which
// closeTunnel gives back. As with the APIs, every secret will do.
func (s *AWS) tunnelRequest(v url.Values) (tunnelRequest, *apiError) {
	var q tunnelRequest
	scope, err := s.presigned(v)
	if err != nil {
		return q, err
	}
	invalid := func(text string) (tunnelRequest, *apiError) {
		return q, refuse("InvalidParameter", "%s", text)
	}
	addr, parsed := netip.ParseAddr(v.Get("privateIpAddress"))
	seconds, number := strconv.Atoi(v.Get("maxTunnelDuration"))
	if !v.Has("maxTunnelDuration") {
		seconds, number = 3600, nil
	}
	port := v.Get("remotePort")
	switch {
	case port != "22" && port != "3389":
		return invalid("The specified RemotePort is not valid. Specify either 22 or 3389 as the RemotePort and retry your request.")
	case parsed != nil || !addr.Is4():
		return invalid("The specified PrivateIpAddress is not valid.")
	case number != nil || seconds < 1 || seconds > 3600:
		return invalid("The specified MaxTunnelDuration is not valid.")
	}
	n, _ := strconv.ParseUint(port, 10, 16)
	q.target, q.most = netip.AddrPortFrom(addr, uint16(n)), time.Duration(seconds)*time.Second
	s.w.Mu.RLock()
	defer s.w.Mu.RUnlock()
	q.region = find(s.accountOf(scope.key).Regions, func(rg *Region) bool { return rg.Name == scope.region })
	if q.region == nil || q.region.Outages["ec2-instance-connect"] || s.o.Hosts == nil {
		return q, &apiError{http.StatusServiceUnavailable, "ServiceUnavailable", "Service Unavailable"}
	}
	q.endpoint = find(q.region.ConnectEndpoints, func(e *fleet.ConnectEndpoint) bool { return e.ID == v.Get("instanceConnectEndpointId") })
	if q.endpoint == nil || !q.endpoint.Usable() {
		return invalid("The specified InstanceConnectEndpointId is not valid.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tunnels[q.endpoint.ID] >= fleet.ConnectEndpointTunnels {
		s.tunnelsRefused++
		return q, &apiError{http.StatusTooManyRequests, "LimitExceeded", fmt.Sprintf("The endpoint has %d connections.", fleet.ConnectEndpointTunnels)}
	}
	s.tunnels[q.endpoint.ID]++
	s.tunnelsMost = max(s.tunnelsMost, s.tunnels[q.endpoint.ID])
	return q, nil
}

func (s *AWS) closeTunnel(endpoint string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tunnels[endpoint]--
}

// MostTunnels is how many tunnels an endpoint has carried at once so far.
func (s *AWS) MostTunnels() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tunnelsMost
}

// presigned checks a signed URL as far as it can be without the secret.
func (s *AWS) presigned(v url.Values) (scope, *apiError) {
	denied := func(message string) (scope, *apiError) {
		return scope{}, &apiError{http.StatusForbidden, "AccessDenied", message}
	}
	parts := strings.Split(v.Get("X-Amz-Credential"), "/")
	at, err := time.Parse("20060102T150405Z", v.Get("X-Amz-Date"))
	seconds, number := strconv.Atoi(v.Get("X-Amz-Expires"))
	switch {
	case v.Get("X-Amz-Algorithm") != "AWS4-HMAC-SHA256", len(parts) != 5, parts[4] != "aws4_request", len(v.Get("X-Amz-Signature")) != 64:
		return denied("The request is not signed.")
	case parts[3] != "ec2-instance-connect":
		return denied("Credential should be scoped to correct service: 'ec2-instance-connect'.")
	case v.Get("X-Amz-SignedHeaders") != "host":
		return denied("The signature covers the wrong headers.")
	case err != nil || number != nil || s.o.Clock().After(at.Add(time.Duration(seconds)*time.Second)):
		return denied("The signature has expired.")
	}
	return scope{key: parts[0], region: parts[2], service: parts[3]}, nil
}

// TunnelsRefused is how often an endpoint had too many tunnels for one more so far.
func (s *AWS) TunnelsRefused() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tunnelsRefused
}
