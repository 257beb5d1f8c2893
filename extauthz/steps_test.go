package extauthz_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/extauthz/txntoken"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// minter makes tokens as a test says.
type minter func(context.Context, *txntoken.Request) (string, error)

func (m minter) Mint(ctx context.Context, r *txntoken.Request) (string, error) { return m(ctx, r) }

// revocations revoke as a test says.
type revocations func(*decide.User, time.Time) string

func (r revocations) Revoked(u *decide.User, now time.Time) string { return r(u, now) }

// minting is kinds in a mesh with internal tokens; the route "in-peer" lets workloads call by themselves.
func minting() *policy.Set {
	set := kinds()
	set.Mesh.InternalTokens = &policy.InternalTokens{Issuer: "https://credence.mesh.test", TTL: time.Minute}
	set.Policies = append(set.Policies, policy.Policy{Name: name("peer"), InternalTokens: true, Rules: []policy.Rule{
		{Name: "self", Action: policy.Allow, NeedsPeer: true, From: []policy.Peer{{ID: webID}}},
	}})
	set.Workloads[0].Ports = append(set.Workloads[0].Ports, port("in-peer", "peer"))
	for i := range set.Gateways[0].Listeners[0].Sections[0].VirtualHosts[0].Routes {
		set.Gateways[0].Listeners[0].Sections[0].VirtualHosts[0].Routes[i].Access.Upstream = &policy.Upstream{
			Scopes: []string{"orders:read"}, Claims: [][]string{{"tenant"}},
		}
	}
	return set
}

// stepRig is a rig whose collaborators tell the test of every step.
func stepRig(t *testing.T, at func(step string)) *rig {
	t.Helper()
	r := kindRig(t, func(policy.CredentialKind, string, []policy.Name) { at("verify") }, func(o *extauthz.Options) {
		inner := o.Callers
		o.Callers = callers(func(ctx context.Context) (policy.ProxyID, error) { at("caller"); return inner.Caller(ctx) })
		o.PeerID = func(c string) (string, error) { at("peer"); return peerIDs(c) }
		o.Revocations = revocations(func(*decide.User, time.Time) string { at("revocations"); return "" })
		o.Minter = minter(func(context.Context, *txntoken.Request) (string, error) { at("mint"); return "internal", nil })
		o.Log = slog.New(cancelHandler{slog.DiscardHandler, func() { at("log") }})
	})
	r.Publish(minting(), 3)
	return r
}

// Whenever the context ends, whatever the credential, and whatever the step that it ends in says: an error, never an allow. A panic in any
// step is a refusal of that request alone.
func TestEndedAndPanickedAtEveryStepNeverAllows(t *testing.T) {
	requests := map[string]struct {
		proxy policy.ProxyID
		req   func() *authv3.CheckRequest
		steps []string
	}{
		"bearer":   {edge, func() *authv3.CheckRequest { return offer("user", "authorization: Bearer t") }, []string{"caller", "verify", "revocations", "mint", "log"}},
		"basic":    {edge, func() *authv3.CheckRequest { return offer("user", "authorization: Basic t") }, []string{"caller", "verify", "revocations", "mint", "log"}},
		"key":      {edge, func() *authv3.CheckRequest { return offer("optional", "?key=t") }, []string{"caller", "verify", "revocations", "mint", "log"}},
		"client":   {edge, func() *authv3.CheckRequest { return offer("optional", "certificate") }, []string{"caller", "verify", "revocations", "mint", "log"}},
		"internal": {own, func() *authv3.CheckRequest { return offer("in-user", "txn-token: t", "cert "+webID) }, []string{"caller", "peer", "verify", "revocations", "log"}},
		"peer":     {own, func() *authv3.CheckRequest { return offer("in-peer", "cert "+webID) }, []string{"caller", "peer", "revocations", "mint", "log"}},
		"nobody":   {edge, func() *authv3.CheckRequest { return offer("optional") }, []string{"caller", "log"}},
	}
	for name, tt := range requests {
		var seen []string
		r := stepRig(t, func(step string) { seen = append(seen, step) })
		if got := r.as(t, tt.proxy, tt.req()); got.Code != 200 {
			t.Fatalf("%s: %+v", name, got)
		}
		if diff := cmp.Diff(tt.steps, seen); diff != "" {
			t.Errorf("%s: steps (-want +got):\n%s", name, diff)
		}
		for _, end := range tt.steps {
			ctx, cancel := context.WithCancel(context.WithValue(context.Background(), proxyKey{}, tt.proxy))
			r := stepRig(t, func(step string) {
				if step == end {
					cancel()
				}
			})
			if resp, err := r.Check(ctx, tt.req()); status.Code(err) != codes.Canceled || resp != nil {
				t.Errorf("%s ended at %s: %v %v", name, end, resp, err)
			}
			cancel()
			if end == "log" {
				continue // a log that panics has no record to write
			}
			once := true
			r = stepRig(t, func(step string) {
				if step == end && once {
					once = false
					panic("once")
				}
			})
			if got := r.as(t, tt.proxy, tt.req()); got.Code != 503 || got.Reason != "internal_error" {
				t.Errorf("%s panicked at %s: %+v", name, end, got)
			}
			if got := r.as(t, tt.proxy, tt.req()); got.Code != 200 {
				t.Errorf("%s after the panic at %s: %+v", name, end, got)
			}
		}
	}
}

// A revocation is asked for every kind, after the credential was found good and before any rule.
func TestRevokedCredential(t *testing.T) {
	var asked []policy.CredentialKind
	r := kindRig(t, nil, func(o *extauthz.Options) {
		clock := o.Now
		o.Revocations = revocations(func(u *decide.User, now time.Time) string {
			asked = append(asked, u.Credential)
			if !now.Equal(clock()) {
				t.Errorf("asked for %v", now)
			}
			return "r-7"
		})
	})
	r.Publish(kinds(), 2)
	for _, c := range []string{"authorization: Bearer t", "authorization: Basic t", "x-key: t", "some certificate"} {
		if got := r.as(t, edge, offer("optional", c)); got.Code != 401 || got.Reason != "token_revoked" {
			t.Errorf("%s: %+v", c, got)
		}
		if got := r.log.last(t); got["revocation"] != "r-7" || got["subject"] != "alice" {
			t.Errorf("logged %v", got)
		}
	}
	if got := r.as(t, own, offer("in-optional", "txn-token: t")); got.Code != 401 || got.Reason != "token_revoked" {
		t.Errorf("internal: %+v", got)
	}
	want := []policy.CredentialKind{policy.BearerToken, policy.Basic, policy.APIKey, policy.ClientCertificate, policy.InternalToken}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}
	if got := r.as(t, edge, offer("optional", "authorization: Bearer bad")); got.Reason != "token_invalid" || len(asked) != 5 {
		t.Errorf("a bad token: %+v, asked %v", got, asked)
	}
}

// A workload that is revoked by its own name begins no chain, with internal tokens or without.
func TestRevokedPeer(t *testing.T) {
	r := kindRig(t, nil, func(o *extauthz.Options) {
		o.Minter = minter(func(context.Context, *txntoken.Request) (string, error) { return "internal", nil })
		o.Revocations = revocations(func(u *decide.User, _ time.Time) string {
			if u.Subject == webID && u.IssuerURL == "spiffe://mesh.test" {
				return "r-7"
			}
			return ""
		})
	})
	for generation, set := range []*policy.Set{minting(), minting()} {
		if generation == 1 {
			set.Mesh.InternalTokens = nil
		}
		r.Publish(set, uint64(generation+2))
		if got := r.as(t, own, offer("in-peer", "cert "+webID)); got.Code != 401 || got.Reason != "token_revoked" {
			t.Errorf("internal tokens %t: %+v", generation == 0, got)
		}
	}
}

// Who gets an internal token, and what it is made of.
func TestMint(t *testing.T) {
	var made []*txntoken.Request
	r := kindRig(t, nil, func(o *extauthz.Options) {
		o.Minter = minter(func(_ context.Context, r *txntoken.Request) (string, error) {
			made = append(made, r)
			return "internal", nil
		})
	})
	set := minting()
	r.Publish(set, 2)
	req := offer("user", "?key=secret")
	http := req.Attributes.Request.Http
	http.Scheme, http.Host, http.Method = "https", "shop.test:8443", "POST"
	req.Attributes.Source.Address = &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{Address: "192.0.2.7"}}}
	if got := r.as(t, edge, req); got.Code != 200 || len(made) != 1 {
		t.Fatalf("%+v, made %d", got, len(made))
	}
	want := &txntoken.Request{
		User:      &decide.User{Credential: policy.APIKey, Origin: policy.APIKey, Issuer: name("keys"), IssuerURL: "https://dev.test", Subject: "alice"},
		Requester: "spiffe://mesh.test/ns/default/gw/edge", Scopes: []string{"orders:read"}, Claims: [][]string{{"tenant"}}, Route: "user",
		Method: "POST", URL: "https://shop.test:8443/x", ClientIP: "192.0.2.7",
	}
	if diff := cmp.Diff(want, made[0]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	made = nil
	if got := r.as(t, own, offer("in-peer", "cert "+webID)); got.Code != 200 || len(made) != 1 {
		t.Fatalf("a workload by itself: %+v, made %d", got, len(made))
	}
	want = &txntoken.Request{
		User:      &decide.User{Credential: policy.PeerIdentity, Origin: policy.PeerIdentity, IssuerURL: "spiffe://mesh.test", Subject: webID, Service: true},
		Requester: webID, Route: "in-peer", Method: "GET", URL: "://orders:8080/x",
	}
	if diff := cmp.Diff(want, made[0]); diff != "" {
		t.Errorf("a workload by itself (-want +got):\n%s", diff)
	}
	made = nil
	if got := r.as(t, own, offer("in-peer", "cert "+webID, "txn-token: t")); got.Code != 401 || got.Reason != "credential_not_accepted" {
		t.Errorf("a workload by itself, with a user's internal token: %+v", got)
	}
	r.as(t, own, offer("in-user", "cert "+webID, "txn-token: t"))
	r.as(t, edge, offer("optional"))                                 // nobody
	r.as(t, own, offer("in-none", "cert "+webID))                    // a peer, whom no rule asks for
	r.as(t, own, offer("in-peer", "cert "+batchID))                  // refused
	r.as(t, edge, offer("none", "authorization: Bearer t"))          // not read
	r.as(t, edge, offer("user", "authorization: Bearer bad"))        // refused
	r.as(t, edge, offer("user", "authorization: Basic t", "?key=t")) // refused
	if len(made) != 0 {
		t.Errorf("made %+v", made[0])
	}
	set = minting()
	set.Mesh.InternalTokens = nil
	r.Publish(set, 3)
	if got := r.as(t, edge, offer("user", "authorization: Bearer t")); got.Code != 200 || len(made) != 0 {
		t.Errorf("a mesh without internal tokens: %+v, made %d", got, len(made))
	}
}

// A credential that is about to end is answered as one that has ended: no token outlives it.
func TestMintOfACredentialThatEnds(t *testing.T) {
	r := kindRig(t, nil, func(o *extauthz.Options) {
		o.Minter = minter(func(context.Context, *txntoken.Request) (string, error) {
			return "x", credential.Invalid("expired", "1 ms left")
		})
	})
	r.Publish(minting(), 2)
	if got := r.as(t, edge, offer("user", "authorization: Bearer t")); got.Code != 401 || got.Reason != "token_invalid" || !strings.Contains(got.Challenge, `error="invalid_token"`) {
		t.Errorf("bearer: %+v", got)
	}
	if got := r.as(t, edge, offer("user", "?key=secret")); got.Code != 401 || got.Reason != "credential_invalid" || strings.Contains(got.Challenge, "invalid_token") {
		t.Errorf("API key: %+v", got)
	}
}

// A token that should be there and can't be made is no allow.
func TestMintFails(t *testing.T) {
	for name, m := range map[string]extauthz.Minter{
		"error": minter(func(context.Context, *txntoken.Request) (string, error) { return "x", errors.New("no key") }),
		"empty": minter(func(context.Context, *txntoken.Request) (string, error) { return "", nil }),
		"none":  nil,
	} {
		r := kindRig(t, nil, func(o *extauthz.Options) { o.Minter = m })
		r.Publish(minting(), 2)
		if got := r.as(t, edge, offer("user", "authorization: Bearer t")); got.Code != 503 || got.Reason != "internal_token_unavailable" {
			t.Errorf("%s: %+v", name, got)
		}
		if got := r.as(t, own, offer("in-peer", "cert "+webID)); got.Code != 503 {
			t.Errorf("%s: a workload by itself: %+v", name, got)
		}
		if got := r.as(t, edge, offer("optional")); got.Code != 200 {
			t.Errorf("%s: nobody: %+v", name, got)
		}
	}
}

// A route that has vanished is asked about with credentials that were good then and still are, whatever their kind.
func TestRetiredRouteNeedsBothVerifiers(t *testing.T) {
	verifiers := allKinds(nil)
	r := kindRig(t, nil, func(o *extauthz.Options) { o.Snapshot = func() extauthz.Verifiers { return verifiers } })
	r.Publish(kinds(), 2)
	gone := kinds()
	gone.Gateways[0].Listeners[0].Sections[0].VirtualHosts[0].Routes = nil
	r.Publish(gone, 3)
	all := []string{"authorization: Bearer t", "authorization: Bearer key-1", "authorization: Basic t", "x-key: t", "some certificate"}
	for _, c := range all {
		if got := r.as(t, edge, offer("user", c)); got.Code != 200 {
			t.Errorf("%s on a retired route: %+v", c, got)
		}
	}
	verifiers = extauthz.Verifiers{}
	r.Publish(gone, 4)
	for _, c := range all {
		if got := r.as(t, edge, offer("user", c)); got.Code != 503 {
			t.Errorf("%s on a retired route, and nothing verifies it any more: %+v", c, got)
		}
	}
}
