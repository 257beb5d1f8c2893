package extauthz_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

func discard(o *extauthz.Options) { o.Log = nil }

const realm = `Bearer realm="credence"`

// One row per answer that a client can get.
func TestCheck(t *testing.T) {
	r := newRig(t)
	type edits []func(*authv3.AttributeContext)
	for _, tt := range []struct {
		name  string
		edits edits
		want  answer
	}{
		{"right user and workload", edits{}, answer{200, "allowed", ""}},
		{"no token", edits{withAuth()}, answer{401, "token_missing", realm}},
		{"invalid token", edits{withAuth("Bearer bad")}, answer{401, "token_invalid", realm + `, error="invalid_token"`}},
		{"keys not known", edits{withAuth("Bearer later")}, answer{503, "token_unavailable", ""}},
		{"the verifier fails in its own way", edits{withAuth("Bearer odd")}, answer{503, "token_unavailable", ""}},
		{"the verifier says nothing", edits{withAuth("Bearer nobody")}, answer{503, "token_unavailable", ""}},
		{"scope missing", edits{withAuth("Bearer alice~other")}, answer{403, "insufficient_scope", realm + `, error="insufficient_scope", scope="orders:read"`}},
		{"right user, wrong workload", edits{withPeer("cert "+batchID, batchID)}, answer{403, "peer_not_allowed", ""}},
		{"right user, no workload", edits{withPeer("", "")}, answer{403, "peer_not_allowed", ""}},
		{"public path, no token", edits{withPath("/public/x"), withAuth()}, answer{200, "allowed", ""}},
		{"public path, invalid token", edits{withPath("/public/x"), withAuth("Bearer bad")}, answer{401, "token_invalid", realm + `, error="invalid_token"`}},
		{"another path", edits{withPath("/other")}, answer{403, "no_rule_matches", ""}},
		{"missing issuer", edits{withRoute("broken")}, answer{503, "issuer_missing", ""}},
		{"route never seen", edits{withRoute("nowhere")}, answer{403, "route_unknown", ""}},
		{"no route", edits{func(a *authv3.AttributeContext) { a.ContextExtensions = nil }}, answer{403, "route_unknown", ""}},
		{"principal differs from the certificate", edits{withPeer("cert "+webID, batchID)}, answer{403, "peer_mismatch", ""}},
		{"principal without a certificate", edits{withPeer("", webID)}, answer{403, "peer_mismatch", ""}},
		{"certificate alone", edits{withPeer("cert "+webID, "")}, answer{200, "allowed", ""}},
		{"certificate that is none", edits{withPeer("x", webID)}, answer{403, "peer_invalid", ""}},
		{"certificate without an ID", edits{withPeer("cert ", "")}, answer{403, "peer_invalid", ""}},
		{"peer of another trust domain", edits{withPeer("cert spiffe://other.test/ns/default/wl/web", "")}, answer{403, "peer_trust_domain", ""}},
		{"peer of a trust domain that begins alike", edits{withPeer("cert spiffe://mesh.test.evil/ns/default/wl/web", "")}, answer{403, "peer_trust_domain", ""}},
		{"panic in a collaborator", edits{withAuth("Bearer panic")}, answer{503, "internal_error", ""}},
		{"nothing in the request", edits{func(a *authv3.AttributeContext) { a.Request = nil }}, answer{400, "method_invalid", ""}},
		{"no source", edits{func(a *authv3.AttributeContext) { a.Source = nil }}, answer{403, "peer_not_allowed", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, r.answer(t, ask(tt.edits...))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	for _, req := range []*authv3.CheckRequest{nil, {}, {Attributes: &authv3.AttributeContext{}}} {
		if got := r.answer(t, req); got.Code != 403 {
			t.Errorf("request %v: %+v", req, got)
		}
	}
}

func TestCredentials(t *testing.T) {
	r := newRig(t)
	badRequest := realm + `, error="invalid_request"`
	for _, tt := range []struct {
		name string
		edit func(*authv3.AttributeContext)
		want answer
	}{
		{"scheme in any case", withAuth("bEaReR alice~orders:read"), answer{200, "allowed", ""}},
		{"several blanks", withAuth("Bearer   alice~orders:read "), answer{200, "allowed", ""}},
		{"two headers", withAuth("Bearer alice~orders:read", "Bearer alice~orders:read"), answer{400, "credentials_ambiguous", badRequest}},
		{"two headers that Envoy has joined", withAuth("Bearer alice~orders:read,Bearer alice~orders:read"), answer{400, "credentials_ambiguous", badRequest}},
		{"a comma at the end", withAuth("Bearer alice~orders:read,"), answer{400, "credentials_ambiguous", badRequest}},
		{"a comma and another scheme first", withAuth("AWS4-HMAC-SHA256 a=b,Bearer alice~orders:read"), answer{400, "credentials_ambiguous", badRequest}},
		{"no token", withAuth("Bearer"), answer{400, "credential_malformed", badRequest}},
		{"a blank for a token", withAuth("Bearer "), answer{400, "credential_malformed", badRequest}},
		{"a blank in the token", withAuth("Bearer a b"), answer{400, "credential_malformed", badRequest}},
		{"another scheme is no token", withAuth("Basic YTpi"), answer{401, "token_missing", realm}},
		{"a token without scheme is none", withAuth("alice~orders:read"), answer{401, "token_missing", realm}},
		{"empty value", withAuth(""), answer{401, "token_missing", realm}},
		{"token in the query is none", func(a *authv3.AttributeContext) { withAuth()(a); withQuery("access_token=alice~orders:read")(a) }, answer{401, "token_missing", realm}},
		{"header and query", withQuery("a=b&access_token=x"), answer{400, "credentials_ambiguous", badRequest}},
		{"header and encoded query name", withQuery("access%5ftoken=x"), answer{400, "credentials_ambiguous", badRequest}},
		{"header and another query name", withQuery("my_access_token=x"), answer{200, "allowed", ""}},
		{"value instead of raw_value", func(a *authv3.AttributeContext) {
			a.Request.Http.HeaderMap.Headers = []*corev3.HeaderValue{{Key: "Authorization", Value: "Bearer alice~orders:read"}}
		}, answer{200, "allowed", ""}},
		{"value and raw_value differ", func(a *authv3.AttributeContext) {
			a.Request.Http.HeaderMap.Headers = []*corev3.HeaderValue{{Key: "authorization", Value: "Bearer alice~orders:read", RawValue: []byte("Bearer bob")}}
		}, answer{400, "credentials_ambiguous", badRequest}},
		{"the map of an older encoding", func(a *authv3.AttributeContext) {
			a.Request.Http.HeaderMap, a.Request.Http.Headers = nil, map[string]string{"authorization": "Bearer alice~orders:read"}
		}, answer{200, "allowed", ""}},
		{"the map says something else", func(a *authv3.AttributeContext) {
			a.Request.Http.Headers = map[string]string{"authorization": "Bearer bob"}
		}, answer{400, "credentials_ambiguous", badRequest}},
		{"the map says the same", func(a *authv3.AttributeContext) {
			a.Request.Http.Headers = map[string]string{"authorization": "Bearer alice~orders:read"}
		}, answer{200, "allowed", ""}},
		{"SigV4 passes where no token is read", func(a *authv3.AttributeContext) {
			withRoute("plain")(a)
			withAuth("AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=c")(a)
		}, answer{200, "allowed", ""}},
		{"a bearer token passes where none is read", func(a *authv3.AttributeContext) { withRoute("plain")(a); withAuth("Bearer bad")(a) }, answer{200, "allowed", ""}},
		{"joined bearer tokens do not", func(a *authv3.AttributeContext) { withRoute("plain")(a); withAuth("Bearer a,Bearer b")(a) }, answer{400, "credentials_ambiguous", badRequest}},
		{"joined Basic does not", func(a *authv3.AttributeContext) { withRoute("plain")(a); withAuth("basic YTpi,Basic YTpi")(a) }, answer{400, "credentials_ambiguous", badRequest}},
		{"joined DPoP does not", func(a *authv3.AttributeContext) { withRoute("plain")(a); withAuth("DPoP a,DPoP b")(a) }, answer{400, "credentials_ambiguous", badRequest}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, r.answer(t, ask(tt.edit))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What the upstream receives: all six headers are set or removed whatever the client sent, and none can be broken out of.
func TestIdentityHeaders(t *testing.T) {
	r := newRig(t)
	forged := func(a *authv3.AttributeContext) {
		for _, n := range []string{"subject", "issuer", "scopes", "client", "peer", "decision"} {
			a.Request.Http.HeaderMap.Headers = append(a.Request.Http.HeaderMap.Headers, &corev3.HeaderValue{Key: "x-credence-" + n, RawValue: []byte("forged")})
		}
	}
	headers := func(req *authv3.CheckRequest) (map[string]string, []string) {
		resp, err := r.Check(context.Background(), req)
		if err != nil || resp.GetOkResponse() == nil {
			t.Fatalf("not allowed: %v %v", resp, err)
		}
		set := map[string]string{}
		for _, h := range resp.GetOkResponse().GetHeaders() {
			if h.GetAppend() != nil { //nolint:staticcheck // the deprecated field must not be set
				t.Errorf("%s is appended to what the client sent", h.GetHeader().GetKey())
			}
			set[h.GetHeader().GetKey()] = h.GetHeader().GetValue()
		}
		if id := set["x-credence-decision"]; id == "" || id != resp.GetDynamicMetadata().GetFields()["decision"].GetStringValue() {
			t.Errorf("decision %q is not the one of the metadata", id)
		}
		delete(set, "x-credence-decision")
		return set, resp.GetOkResponse().GetHeadersToRemove()
	}
	set, remove := headers(ask(forged))
	want := map[string]string{
		"x-credence-subject": "alice", "x-credence-issuer": "https://dev.test", "x-credence-scopes": "orders:read",
		"x-credence-client": "cli", "x-credence-peer": webID,
	}
	if diff := cmp.Diff(want, set); diff != "" || !slices.Equal(remove, []string{"authorization"}) {
		t.Errorf("removed %v, set (-want +got):\n%s", remove, diff)
	}
	set, remove = headers(ask(withPath("/public"), withAuth(), withPeer("", ""), forged))
	all := slices.Sorted(maps.Keys(want))
	slices.Sort(remove)
	if diff := cmp.Diff(all, remove); diff != "" || len(set) != 0 {
		t.Errorf("set %v, removed (-want +got):\n%s", set, diff)
	}
	set, _ = headers(ask(withAuth("Bearer a\r\nx-evil:1%\xc3\xa9\x7f~orders:read")))
	if got, want := set["x-credence-subject"], "a%0D%0Ax-evil:1%25%C3%A9%7F"; got != want {
		t.Errorf("subject %q, want %q", got, want)
	}
}

func TestDynamicMetadata(t *testing.T) {
	r := newRig(t)
	resp, err := r.Check(context.Background(), ask())
	if err != nil {
		t.Fatal(err)
	}
	f := resp.GetDynamicMetadata().GetFields()
	if f["subject"].GetStringValue() != "alice" || f["client"].GetStringValue() != "cli" {
		t.Errorf("metadata %v", f)
	}
}

// A caller of Check that is not an attested proxy, and a proxy that asks for another one's route, get nothing.
func TestCaller(t *testing.T) {
	for _, tt := range []struct {
		name  string
		proxy policy.ProxyID
		err   error
		want  codes.Code
	}{
		{"not attested", "", errors.New("pid 7 is not a child"), codes.PermissionDenied},
		{"error with a name", own, errors.New("pid 7 is not a child"), codes.PermissionDenied},
		{"no name", "", nil, codes.PermissionDenied},
		{"another proxy", edge, nil, codes.OK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(o *extauthz.Options) {
				o.Callers = callers(func(context.Context) (policy.ProxyID, error) { return tt.proxy, tt.err })
			})
			resp, err := r.Check(context.Background(), ask())
			if status.Code(err) != tt.want {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if err == nil {
				if got := read(t, resp); got.Reason != "route_unknown" || got.Code != 403 {
					t.Errorf("%+v", got)
				}
			} else if resp != nil {
				t.Errorf("a response beside the error: %v", resp)
			}
		})
	}
}

func TestNotReady(t *testing.T) {
	s, err := extauthz.New(extauthz.Options{
		Verifier: verifier(users), PeerID: peerIDs,
		Callers: callers(func(context.Context) (policy.ProxyID, error) { return own, nil }),
	})
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := s.Check(context.Background(), ask()); status.Code(err) != codes.Unavailable || resp != nil {
		t.Errorf("before the first Publish: %v %v", resp, err)
	}
	for _, o := range []extauthz.Options{{}, {Verifier: verifier(users), PeerID: peerIDs}, {Callers: callers(nil), PeerID: peerIDs}, {Callers: callers(nil), Verifier: verifier(users)}} {
		if _, err := extauthz.New(o); err == nil {
			t.Error("a server without a collaborator")
		}
	}
}

// cancelHandler ends the context when the decision is logged.
type cancelHandler struct {
	slog.Handler
	cancel func()
}

func (h cancelHandler) Handle(context.Context, slog.Record) error {
	h.cancel()
	return nil
}

func (h cancelHandler) Enabled(context.Context, slog.Level) bool { return true }

// Whenever the context ends, and whatever the step that it ends in says: an error, never an allow.
func TestCanceledNeverAllows(t *testing.T) {
	for _, step := range []string{"before", "caller", "peer", "verify", "deadline"} {
		t.Run(step, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			at := func(s string) {
				if s == step {
					cancel()
				}
			}
			r := newRig(t, func(o *extauthz.Options) {
				o.Callers = callers(func(context.Context) (policy.ProxyID, error) { at("caller"); return own, nil })
				o.PeerID = func(c string) (string, error) { at("peer"); return peerIDs(c) }
				o.Verifier = verifier(func(ctx context.Context, raw string, a []policy.Name) (*decide.User, error) {
					at("verify")
					return users(ctx, raw, a)
				})
			})
			at("before")
			want := codes.Canceled
			if step == "deadline" {
				var end context.CancelFunc
				ctx, end = context.WithTimeout(ctx, 0)
				defer end()
				want = codes.DeadlineExceeded
			}
			resp, err := r.Check(ctx, ask())
			if status.Code(err) != want || resp != nil {
				t.Fatalf("got %v %v, want %v", resp, err, want)
			}
			if got := r.log.last(t); got["reason"] != "canceled" || got["class"] != "error" {
				t.Errorf("logged %v", got)
			}
		})
	}
	t.Run("log", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		r := newRig(t, func(o *extauthz.Options) { o.Log = slog.New(cancelHandler{slog.DiscardHandler, cancel}) })
		if resp, err := r.Check(ctx, ask()); status.Code(err) != codes.Canceled || resp != nil {
			t.Errorf("got %v %v", resp, err)
		}
	})
}

func TestPanicDenies(t *testing.T) {
	for name, change := range map[string]func(*extauthz.Options){
		"caller": func(o *extauthz.Options) {
			o.Callers = callers(func(context.Context) (policy.ProxyID, error) { panic("x") })
		},
		"peer": func(o *extauthz.Options) { o.PeerID = func(string) (string, error) { panic("x") } },
		"verify": func(o *extauthz.Options) {
			o.Verifier = verifier(func(context.Context, string, []policy.Name) (*decide.User, error) {
				var m map[string]int
				m["x"] = 1 //nolint:staticcheck // the panic is the subject
				return nil, nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, change)
			if got := r.answer(t, ask()); got.Code != 503 || got.Reason != "internal_error" {
				t.Errorf("%+v", got)
			}
			if got := r.log.last(t); got["msg"] != "check panicked" || !strings.Contains(fmt.Sprint(got["stack"]), "extauthz") {
				t.Errorf("logged %v", got)
			}
			if n := r.counter(t, "credence_check_panics_total"); n != 1 {
				t.Errorf("%v panics counted", n)
			}
			// The next one is answered.
			if got := r.answer(t, ask(withRoute("nowhere"))); name != "caller" && got.Reason != "route_unknown" {
				t.Errorf("%+v", got)
			}
		})
	}
}

func (r *rig) counter(t *testing.T, name string) float64 {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			n := 0.0
			for _, m := range f.GetMetric() {
				n += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
			return n
		}
	}
	return 0
}

// One line per Check; it names who, what and why, and never a token, a claim or a query.
func TestDecisionLog(t *testing.T) {
	r := newRig(t)
	r.answer(t, ask(withPath("/orders/7?secret=hunter2")))
	got := r.log.last(t)
	for k, want := range map[string]string{
		"class": "allowed", "reason": "allowed", "proxy": string(own), "route": "Workload default/orders http",
		"method": "GET", "host": "orders", "path": "/orders/7", "peer": webID, "subject": "alice", "issuer": "https://dev.test", "client": "cli",
		"policy": "default/tokens", "rule": "read",
	} {
		if got[k] != want {
			t.Errorf("%s is %v, want %s", k, got[k], want)
		}
	}
	if got["decision"] == "" || got["us"] == nil {
		t.Errorf("no decision id or latency: %v", got)
	}
	for _, a := range []string{"Bearer bad~hunter2", "Bearer alice~hunter2,x", "Basic hunter2", "Bearer hunter2 hunter2", "Bearer panic"} {
		r.answer(t, ask(withAuth(a)))
	}
	if log := r.log.text(); strings.Contains(log, "hunter2") || strings.Contains(log, "Bearer") || strings.Count(log, "\n") != 6 {
		t.Errorf("the log has a secret or not one line per Check:\n%s", log)
	}
	if n := r.counter(t, "credence_check_total"); n != 5 {
		t.Errorf("%v Checks counted beside the panic, want 5", n)
	}
}
