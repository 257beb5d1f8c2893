package extauthz_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

const (
	td      = "mesh.test"
	webID   = "spiffe://mesh.test/ns/default/wl/web"
	batchID = "spiffe://mesh.test/ns/default/wl/batch"
)

var dev = policy.Name{Namespace: "default", Name: "dev"}

func name(s string) policy.Name { return policy.Name{Namespace: "default", Name: s} }

// callers knows one proxy per connection by what the test says.
type callers func(context.Context) (policy.ProxyID, error)

func (c callers) Caller(ctx context.Context) (policy.ProxyID, error) { return c(ctx) }

type verifier func(ctx context.Context, raw string, accepted []policy.Name) (*decide.User, error)

func (v verifier) Verify(ctx context.Context, raw string, accepted []policy.Name) (*decide.User, error) {
	return v(ctx, raw, accepted)
}

// users verifies tokens of the form "<subject>~<scope>~<scope>".
func users(_ context.Context, raw string, accepted []policy.Name) (*decide.User, error) {
	switch {
	case strings.HasPrefix(raw, "bad"):
		return nil, fmt.Errorf("%w: no such token", token.ErrInvalid)
	case strings.HasPrefix(raw, "later"):
		return nil, fmt.Errorf("%w: no keys", token.ErrUnavailable)
	case raw == "panic":
		panic("token " + raw)
	case raw == "odd":
		return nil, errors.New("odd")
	case raw == "nobody":
		return nil, nil
	}
	subject, scopes, ok := strings.Cut(raw, "~")
	u := &decide.User{Credential: policy.BearerToken, Issuer: accepted[0], IssuerURL: "https://dev.test", Subject: subject, Client: "cli"}
	if ok {
		u.Scopes = strings.Split(scopes, "~")
	}
	return u, nil
}

// peerIDs takes "cert <id>" for the certificate of id.
func peerIDs(certificate string) (string, error) {
	id, ok := strings.CutPrefix(certificate, "cert ")
	if !ok {
		return "", errors.New("not a certificate")
	}
	return id, nil
}

// records is a log that tests read.
type records struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(p)
}

func (r *records) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

func (r *records) last(t *testing.T) map[string]any {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(r.text()), "\n")
	var m map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &m); err != nil {
		t.Fatalf("the last log line %q: %v", lines[len(lines)-1], err)
	}
	return m
}

// rig is a Server with its collaborators; a test changes options before the server is made.
type rig struct {
	*extauthz.Server
	log      *records
	clock    time.Time
	registry *prometheus.Registry
}

const (
	edge = policy.ProxyID("gateway/default/edge")
	own  = policy.ProxyID("sidecar/default/orders")
)

func newRig(t testing.TB, change ...func(*extauthz.Options)) *rig {
	t.Helper()
	r := &rig{log: &records{}, clock: time.Unix(1_800_000_000, 0), registry: prometheus.NewRegistry()}
	o := extauthz.Options{
		Callers:  callers(func(context.Context) (policy.ProxyID, error) { return own, nil }),
		Verifier: verifier(users),
		PeerID:   peerIDs,
		Log:      slog.New(slog.NewJSONHandler(r.log, nil)),
		Now:      func() time.Time { return r.clock },
		Metrics:  r.registry,
	}
	for _, c := range change {
		c(&o)
	}
	s, err := extauthz.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Publish(orders(), 1)
	r.Server = s
	return r
}

// port is one route of the orders sidecar decided by one policy.
func port(id policy.RouteID, policies ...string) policy.Port {
	p := policy.Port{Name: string(id), Route: id, Access: policy.Access{Levels: []policy.Level{{Kind: policy.WorkloadLevel}}}}
	for _, n := range policies {
		p.Access.Levels[0].Policies = append(p.Access.Levels[0].Policies, name(n))
	}
	return p
}

func under(segments ...string) []policy.Operation {
	return []policy.Operation{{Paths: []policy.PathPattern{{Segments: segments, Prefix: true}}}}
}

// orders is a Set of one sidecar: "http" reads tokens, "plain" reads none and allows all, "broken" has an issuer that leads nowhere.
func orders() *policy.Set {
	return &policy.Set{
		Mesh:    policy.Mesh{TrustDomain: td},
		Issuers: []policy.Issuer{{Name: dev, Issuers: []string{"https://dev.test"}}},
		Policies: []policy.Policy{
			{Name: name("broken"), MissingIssuers: []policy.Name{name("gone")}, Rules: []policy.Rule{{Name: "all", Action: policy.Allow}}},
			{Name: name("plain"), Rules: []policy.Rule{{Name: "all", Action: policy.Allow}}},
			{Name: name("tokens"), Issuers: []policy.Name{dev}, Rules: []policy.Rule{
				{Name: "read", Action: policy.Allow, NeedsUser: true, From: []policy.Peer{{ID: webID}}, AllScopes: []string{"orders:read"}, To: under("orders")},
				{Name: "public", Action: policy.Allow, To: under("public")},
			}},
		},
		Workloads: []policy.Workload{{
			Name: name("orders"), SPIFFEID: "spiffe://mesh.test/ns/default/wl/orders",
			Ports: []policy.Port{port("http", "tokens"), port("plain", "plain"), port("broken", "broken")},
		}},
	}
}

// ask is a request that the policies allow; edits change it.
func ask(edits ...func(*authv3.AttributeContext)) *authv3.CheckRequest {
	a := &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{Certificate: "cert " + webID, Principal: webID},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: "GET", Path: "/orders/7?x=1", Host: "orders:8080",
			HeaderMap: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{
				{Key: ":path", RawValue: []byte("/orders/7?x=1")}, {Key: "authorization", RawValue: []byte("Bearer alice~orders:read")},
			}},
		}},
		ContextExtensions: map[string]string{"route": "http"},
	}
	for _, e := range edits {
		e(a)
	}
	return &authv3.CheckRequest{Attributes: a}
}

func withAuth(values ...string) func(*authv3.AttributeContext) {
	return func(a *authv3.AttributeContext) {
		h := []*corev3.HeaderValue{}
		for _, v := range values {
			h = append(h, &corev3.HeaderValue{Key: "authorization", RawValue: []byte(v)})
		}
		a.Request.Http.HeaderMap.Headers = h
	}
}

func withPath(p string) func(*authv3.AttributeContext) {
	return func(a *authv3.AttributeContext) { a.Request.Http.Path = p }
}

func withHost(h string) func(*authv3.AttributeContext) {
	return func(a *authv3.AttributeContext) { a.Request.Http.Host = h }
}

func withMethod(m string) func(*authv3.AttributeContext) {
	return func(a *authv3.AttributeContext) { a.Request.Http.Method = m }
}

func withRoute(r string) func(*authv3.AttributeContext) {
	return func(a *authv3.AttributeContext) { a.ContextExtensions["route"] = r }
}

func withPeer(certificate, principal string) func(*authv3.AttributeContext) {
	return func(a *authv3.AttributeContext) { a.Source.Certificate, a.Source.Principal = certificate, principal }
}

// answer is a CheckResponse as a person would say it.
type answer struct {
	Code      int
	Reason    string
	Challenge string
}

func read(t testing.TB, resp *authv3.CheckResponse) answer {
	t.Helper()
	if resp.GetStatus() == nil {
		t.Fatal("a response without a status is an allow to Envoy")
	}
	denied := resp.GetDeniedResponse()
	if denied == nil {
		denied = resp.GetErrorResponse()
	}
	if denied == nil {
		if resp.GetOkResponse() == nil || resp.GetStatus().GetCode() != 0 {
			t.Fatalf("neither an allow nor a refusal: %v", resp)
		}
		return answer{Code: 200, Reason: "allowed"}
	}
	if resp.GetStatus().GetCode() == 0 {
		t.Fatal("a refusal with status OK is an allow to Envoy")
	}
	a := answer{Code: int(denied.GetStatus().GetCode())}
	for _, h := range denied.GetHeaders() {
		if h.GetAppend() != nil { //nolint:staticcheck // the deprecated field must not be set
			t.Errorf("header %s has append set: Envoy loses it", h.GetHeader().GetKey())
		}
		if h.GetHeader().GetKey() == "www-authenticate" {
			value, described, _ := strings.Cut(h.GetHeader().GetValue(), `, error_description="`)
			if strings.Contains(value, `error="`) != (described != "") {
				t.Errorf("challenge %q: an error and its description go together", h.GetHeader().GetValue())
			}
			if a.Challenge != "" {
				a.Challenge += "; "
			}
			a.Challenge += value
		}
	}
	if rpc, ok := readRPC(t, resp, denied); ok {
		rpc.Challenge = a.Challenge
		return rpc
	}
	var body struct{ Reason, Message, Decision, Error string }
	if err := json.Unmarshal([]byte(denied.GetBody()), &body); err != nil {
		t.Fatalf("body %q: %v", denied.GetBody(), err)
	}
	if body.Decision == "" || body.Message == "" || body.Error == "" {
		t.Errorf("body %q lacks a message, an error or the decision id", denied.GetBody())
	}
	a.Reason = body.Reason
	return a
}

func (r *rig) answer(t testing.TB, req *authv3.CheckRequest) answer {
	t.Helper()
	resp, err := r.Check(context.Background(), req)
	if err != nil {
		t.Fatalf("Check: %v", err)
	}
	return read(t, resp)
}
