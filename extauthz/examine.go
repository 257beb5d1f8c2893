package extauthz

import (
	"context"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// Examination is one Check as it went, for people.
type Examination struct {
	ID   string
	Time time.Time
	// Proxy that asked; Route that was asked about, nil where none was found.
	Proxy policy.ProxyID
	Route *decide.Route
	// Method, Host and Path (without query) of the canonical request, as far as it was made; Peer is the caller's SPIFFE ID.
	Method, Host, Path, Peer string
	// User of the credential, nil without one that is good.
	User *decide.User
	// Facts that were decided by; nil: the request was refused before any rule was asked. Never changed.
	Facts *decide.Facts
	// Class and Reason of the answer, as in the log.
	Class, Reason, Detail string
	// Revocation that covers the credential, empty: none.
	Revocation string
	Allowed    bool
	// Status is the HTTP status of a refusal.
	Status int
}

// Explanation asks the route once more: the same rules and the same facts, so the same Decision.
func (e *Examination) Explanation() (decide.Explanation, bool) {
	if e.Route == nil || e.Facts == nil {
		return decide.Explanation{}, false
	}
	return e.Route.Explain(e.Facts), true
}

// Limits of what is remembered: each keeps the memory of its request alive, 70 KB at the most. Refusals are asked about more, and an
const (
	recentAllowed = 256
	recentRefused = 1024
)

// recent remembers the last Examinations. Safe for concurrent use.
type recent struct {
	mu               sync.Mutex
	allowed, refused ring
}

type ring struct {
	entries []remembered
	next    int
}

// remembered is what an Examination is made of. Its strings are parts of the request's own memory.
type remembered struct {
	check   check
	allowed bool
	status  int
}

func (r *ring) add(size int, e remembered) {
	if len(r.entries) < size {
		r.entries = append(r.entries, e)
		return
	}
	r.entries[r.next] = e
	r.next = (r.next + 1) % size
}

func (r *recent) add(c *check, resp *authv3.CheckResponse) {
	e := remembered{check: *c, allowed: resp.GetOkResponse() != nil, status: statusOf(resp)}
	e.check.internal, e.check.http = "", nil // no credential is within reach of who asks
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.allowed {
		r.allowed.add(recentAllowed, e)
	} else {
		r.refused.add(recentRefused, e)
	}
}

// Recent finds one of the last Checks by its decision id: the last 256 that were allowed and the last 1,024 that were not.
func (s *Server) Recent(id string) (Examination, bool) {
	s.recent.mu.Lock()
	defer s.recent.mu.Unlock()
	for _, r := range [...]*ring{&s.recent.refused, &s.recent.allowed} {
		for i := range r.entries {
			if r.entries[i].check.id == id {
				return r.entries[i].examination(), true
			}
		}
	}
	return Examination{}, false
}

func (r *remembered) examination() Examination {
	c := &r.check
	return Examination{
		ID: c.id, Time: c.started, Proxy: c.proxy, Route: c.route, Method: c.method, Host: c.host, Path: c.path, Peer: c.peer, User: c.user, Facts: c.facts,
		Class: c.outcome.class(), Reason: c.reason(), Detail: c.detail(), Revocation: c.revocation, Allowed: r.allowed, Status: r.status,
	}
}

// statusOf is the HTTP status that a client gets; 503 where the answer is an error.
func statusOf(resp *authv3.CheckResponse) int {
	switch {
	case resp.GetOkResponse() != nil:
		return 200
	case resp.GetDeniedResponse() != nil:
		return int(resp.GetDeniedResponse().GetStatus().GetCode())
	case resp.GetErrorResponse() != nil:
		return int(resp.GetErrorResponse().GetStatus().GetCode())
	}
	return 503
}

// Question is a request as a proxy would ask about it.
type Question struct {
	Route policy.RouteID
	// Path has the query.
	Method, Scheme, Host, Path string
	Headers                    []decide.Header
	// Certificate of the peer, as PeerID of Options takes it; empty: none.
	Certificate string
}

// Examine answers q as Check would, and says how; it neither logs nor counts. Callers of Options must know ctx.
func (s *Server) Examine(ctx context.Context, q *Question) Examination {
	http := &authv3.AttributeContext_HttpRequest{Method: q.Method, Scheme: q.Scheme, Host: q.Host, Path: q.Path, HeaderMap: &corev3.HeaderMap{}}
	for _, h := range q.Headers {
		http.HeaderMap.Headers = append(http.HeaderMap.Headers, &corev3.HeaderValue{Key: h.Name, RawValue: []byte(h.Value)})
	}
	c := check{started: s.now(), id: newDecisionID(), dry: true}
	resp := s.answer(ctx, &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source:            &authv3.AttributeContext_Peer{Certificate: q.Certificate},
		Request:           &authv3.AttributeContext_Request{Http: http},
		ContextExtensions: map[string]string{routeExtension: string(q.Route)},
	}}, &c)
	r := remembered{check: c, allowed: resp.GetOkResponse() != nil, status: statusOf(resp)}
	return r.examination()
}

// answer is Check without its log.
func (s *Server) answer(ctx context.Context, req *authv3.CheckRequest, c *check) *authv3.CheckResponse {
	err := s.run(ctx, req, c)
	if err != nil {
		c.failed(err)
		return nil
	}
	resp, err := seal(ctx, respond(c))
	if err != nil {
		c.failed(err)
		return nil
	}
	return resp
}
