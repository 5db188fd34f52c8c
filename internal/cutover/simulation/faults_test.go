package simulation_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"ssm-migrate/internal/simfleet"
)

// transport carries a process's requests to the simulated AWS, in its turns
// and with faults.
type transport struct{ p *process }

var errLostConnection = errors.New("simulated network: the connection was lost")

// RoundTrip answers one request.
func (t transport) RoundTrip(q *http.Request) (res *http.Response, err error) {
	body, err := bodyOf(q)
	if err != nil {
		return nil, err
	}
	label := apiLabel(q, body)
	fault := ""
	err = t.p.call(label, func() error {
		fault = t.p.s.drawFault(t.p)
		if fault != "" {
			t.p.s.log("fault %s on %s", fault, firstLine(label))
		}
		if fault == "lost" {
			return errLostConnection
		}
		if fault == "slow" {
			time.Sleep(time.Duration(1+t.p.s.random.IntN(90)) * time.Second)
			if t.p.dead() {
				return errKilled
			}
		}
		t.p.s.faults.Set()
		switch fault {
		case "deny":
			t.p.s.faults.Set(simfleet.Fault{Kind: simfleet.FaultDeny, Times: 1})
		case "throttle":
			t.p.s.faults.Set(simfleet.Fault{Kind: simfleet.FaultThrottle, Times: 1})
		case "twice":
			t.answer(q, body)
		}
		c := change{what: label, ours: true, group: t.p.closing(q, body), disarms: q.Method == http.MethodDelete}
		t.p.s.changed = false
		res = t.answer(q, body)
		if t.p.s.changed {
			t.p.s.check(c)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case fault == "cut":
		return nil, errLostConnection
	}
	if err := q.Context().Err(); err != nil {
		return nil, err
	}
	return res, nil
}

func (t transport) answer(q *http.Request, body []byte) *http.Response {
	return answer(t.p.s.aws, q, body)
}

// answer lets a handler answer a request, without a connection.
func answer(h http.Handler, q *http.Request, body []byte) *http.Response {
	w := httptest.NewRecorder()
	c := q.Clone(q.Context())
	c.Body = io.NopCloser(bytes.NewReader(body))
	h.ServeHTTP(w, c)
	res := w.Result()
	res.Request = q
	return res
}

func bodyOf(q *http.Request) ([]byte, error) {
	if q.Body == nil {
		return nil, nil
	}
	return io.ReadAll(q.Body)
}

// apiLabel names a request, the same in every replay.
func apiLabel(q *http.Request, body []byte) string {
	api := q.Header.Get("X-Amz-Target")
	if api == "" {
		for part := range strings.SplitSeq(string(body), "&") {
			if action, ok := strings.CutPrefix(part, "Action="); ok {
				api = action
			}
		}
	}
	return fmt.Sprintf("%s %s %s %s", q.Method, q.URL.Path, api, body)
}

func firstLine(s string) string {
	if len(s) > 400 {
		s = s[:400] + "…"
	}
	return strings.ReplaceAll(s, "\n", " ")
}

// faultKinds are what goes wrong with a call: refused, throttled, never
// arrived, acted but not answered, acted twice, slow.
var faultKinds = []string{"deny", "throttle", "lost", "cut", "cut", "twice", "slow", "slow"}

// drawFault decides what goes wrong with the next call; mostly nothing.
func (s *simulation) drawFault(p *process) string {
	if p.calm || s.random.Float64() >= s.faultRate {
		return ""
	}
	s.count.faults++
	return faultKinds[s.random.IntN(len(faultKinds))]
}

// closing is the group in which a request closes port 22, or whose timer it
// takes away; empty: neither.
func (p *process) closing(q *http.Request, body []byte) string {
	s := p.s
	form, err := url.ParseQuery(string(body))
	if err == nil && form.Get("Action") == "RevokeSecurityGroupIngress" && p.closes[form.Get("GroupId")] {
		return form.Get("GroupId")
	}
	if name, ok := strings.CutPrefix(q.URL.Path, "/schedules/"); ok && q.Method == http.MethodDelete {
		s.world.Mu.RLock()
		defer s.world.Mu.RUnlock()
		for _, t := range s.world.Timers() {
			if t.ID == name {
				return t.Group
			}
		}
	}
	return ""
}
