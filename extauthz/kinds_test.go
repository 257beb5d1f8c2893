package extauthz_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// kindVerifier verifies one kind by what the credential says: alice…, bad, limited, later, odd, nobody, another, panic.
type kindVerifier struct {
	kind policy.CredentialKind
	// seen is called with every credential.
	seen func(kind policy.CredentialKind, raw string, accepted []policy.Name)
}

func (v kindVerifier) Verify(_ context.Context, raw string, accepted []policy.Name) (*decide.User, error) {
	if v.seen != nil {
		v.seen(v.kind, raw, accepted)
	}
	u := &decide.User{Credential: v.kind, Origin: v.kind, IssuerURL: "https://dev.test", Subject: "alice"}
	if len(accepted) > 0 {
		u.Issuer = accepted[0]
	}
	switch raw {
	case "bad":
		return nil, credential.Invalid("signature", "not signed by us")
	case "limited":
		return nil, credential.Limited("rate", "too many")
	case "later":
		return nil, credential.Unavailable("no_keys", "not known")
	case "odd":
		return nil, errors.New("odd")
	case "nobody":
		return nil, nil
	case "another":
		u.Credential = policy.PeerIdentity
	case "panic":
		panic("credential " + raw)
	case "bound":
		u.Confirmation = &decide.Confirmation{X5T: "other"}
	}
	return u, nil
}

// Knows takes what begins with "key-" for a key.
func (v kindVerifier) Knows(raw string, _ []policy.Name) bool { return strings.HasPrefix(raw, "key-") }

func allKinds(seen func(policy.CredentialKind, string, []policy.Name)) extauthz.Verifiers {
	of := func(k policy.CredentialKind) kindVerifier { return kindVerifier{k, seen} }
	return extauthz.Verifiers{
		Tokens: of(policy.BearerToken), Basic: of(policy.Basic), APIKeys: of(policy.APIKey), Certificates: of(policy.ClientCertificate),
		Internal: of(policy.InternalToken),
	}
}

// everything accepts every kind: as headers x-key and x-other-key, as a Bearer value, and as the query parameters key and k.
func everything(policyName string, rules ...policy.Rule) policy.Policy {
	return policy.Policy{
		Name: name(policyName), Issuers: []policy.Name{dev}, Basic: []policy.Name{name("people")}, ClientCertificates: []policy.Name{name("machines")},
		InternalTokens: true, Rules: rules,
		APIKeys: []policy.APIKeyUse{
			{Credentials: name("keys"), Header: "x-key", Bearer: true, Query: "key"}, {Credentials: name("other-keys"), Header: "x-other-key", Query: "k"},
		},
	}
}

// kinds is a Set of one gateway and one sidecar whose routes accept every kind: "user" needs a user, "optional" needs none; "none" reads
// nothing, "split" accepts tokens in one level and passwords in another.
func kinds() *policy.Set {
	all := policy.Rule{Name: "all", Action: policy.Allow}
	user := policy.Rule{Name: "user", Action: policy.Allow, NeedsUser: true}
	set := &policy.Set{
		Mesh: policy.Mesh{TrustDomain: td},
		Policies: []policy.Policy{
			{Name: name("basic"), Basic: []policy.Name{name("people")}, Rules: []policy.Rule{all}},
			{Name: name("none"), Rules: []policy.Rule{all}},
			everything("optional", all),
			{Name: name("tokens"), Issuers: []policy.Name{dev}, Rules: []policy.Rule{all}},
			everything("user", user),
		},
		Gateways: []policy.Gateway{{
			Name: name("edge"), SPIFFEID: "spiffe://mesh.test/ns/default/gw/edge",
			Listeners: []policy.Listener{{Sections: []policy.Section{{VirtualHosts: []policy.VirtualHost{{}}}}}},
		}},
		Workloads: []policy.Workload{{
			Name: name("orders"), SPIFFEID: "spiffe://mesh.test/ns/default/wl/orders",
			Ports: []policy.Port{port("in-user", "user"), port("in-optional", "optional"), port("in-none", "none")},
		}},
	}
	routes := &set.Gateways[0].Listeners[0].Sections[0].VirtualHosts[0].Routes
	for _, id := range []string{"user", "optional", "none"} {
		*routes = append(*routes, policy.Route{ID: policy.RouteID(id), Access: policy.Access{Levels: []policy.Level{
			{Kind: policy.RouteLevel, Policies: []policy.Name{name(id)}},
		}}})
	}
	*routes = append(*routes, policy.Route{ID: "split", Access: policy.Access{Levels: []policy.Level{
		{Kind: policy.GatewayLevel, Policies: []policy.Name{name("tokens")}}, {Kind: policy.RouteLevel, Policies: []policy.Name{name("basic")}},
	}}})
	return set
}

// kindRig serves kinds to both proxies: the route's name says which one asks.
func kindRig(t *testing.T, seen func(policy.CredentialKind, string, []policy.Name), change ...func(*extauthz.Options)) *rig {
	t.Helper()
	r := newRig(t, append([]func(*extauthz.Options){func(o *extauthz.Options) {
		o.Callers = callers(func(ctx context.Context) (policy.ProxyID, error) {
			if id, ok := ctx.Value(proxyKey{}).(policy.ProxyID); ok {
				return id, nil
			}
			return edge, nil
		})
		o.Snapshot = func() extauthz.Verifiers { return allKinds(seen) }
	}}, change...)...)
	r.Publish(kinds(), 2)
	return r
}

type proxyKey struct{}

// offer is a request with credentials: lines of headers "name: value", "?query", or "cert" for a client certificate.
func offer(route string, credentials ...string) *authv3.CheckRequest {
	req := ask(withRoute(route), withAuth(), withPeer("", ""))
	http := req.Attributes.Request.Http
	http.HeaderMap.Headers, http.Path = nil, "/x"
	for _, c := range credentials {
		name, value, isHeader := strings.Cut(c, ": ")
		switch {
		case strings.HasPrefix(c, "?") && strings.Contains(http.Path, "?"):
			http.Path += "&" + c[1:]
		case strings.HasPrefix(c, "?"):
			http.Path += c
		case isHeader:
			http.HeaderMap.Headers = append(http.HeaderMap.Headers, &corev3.HeaderValue{Key: name, RawValue: []byte(value)})
		default:
			req.Attributes.Source.Certificate = c
		}
	}
	return req
}

func (r *rig) as(t testing.TB, proxy policy.ProxyID, req *authv3.CheckRequest) answer {
	t.Helper()
	resp, err := r.Check(context.WithValue(context.Background(), proxyKey{}, proxy), req)
	if err != nil {
		t.Fatalf("Check: %v", err)
	}
	return read(t, resp)
}

// Every kind is told by its place and given to its own verifier, with the objects that are accepted there.
func TestEachKindHasItsVerifier(t *testing.T) {
	var got []string
	r := kindRig(t, func(k policy.CredentialKind, raw string, accepted []policy.Name) {
		got = append(got, fmt.Sprint(k, " ", raw, " ", accepted))
	})
	for _, tt := range []struct{ credential, want string }{
		{"authorization: Bearer t", "bearer t [default/dev]"},
		{"authorization: bearer t", "bearer t [default/dev]"},
		{"authorization: Bearer key-1", "api_key key-1 [default/keys]"},
		{"authorization: Basic YTpi", "basic YTpi [default/people]"},
		{"authorization: bAsIc YTpi", "basic YTpi [default/people]"},
		{"x-key: k1", "api_key k1 [default/keys]"},
		{"x-key:  k1 ", "api_key k1 [default/keys]"},
		{"X-Other-Key: k2", "api_key k2 [default/other-keys]"},
		{"?key=k3", "api_key k3 [default/keys]"},
		{"?a=b&k=a%2Fb%2Bc+d&c", "api_key a/b+c+d [default/other-keys]"},
		{"some certificate", "client_certificate some certificate [default/machines]"},
	} {
		got = nil
		if a := r.as(t, edge, offer("user", tt.credential)); a.Code != 200 {
			t.Errorf("%s: %+v", tt.credential, a)
		}
		if len(got) != 1 || got[0] != tt.want {
			t.Errorf("%s was verified as %v, want %s", tt.credential, got, tt.want)
		}
	}
	got = nil
	if a := r.as(t, own, offer("in-user", "txn-token: t", "cert "+webID)); a.Code != 200 || len(got) != 1 || got[0] != "internal_token t []" {
		t.Errorf("an internal token at a sidecar: %+v, %v", a, got)
	}
	for _, tt := range []struct {
		proxy             policy.ProxyID
		route, credential string
	}{
		{edge, "optional", "txn-token: bad"},
		{own, "in-optional", "cert " + webID},
		{edge, "none", "authorization: Bearer bad"},
		{edge, "none", "x-key: bad"},
		{edge, "none", "?key=bad"},
		{edge, "none", "cert bad"},
		{own, "in-none", "txn-token: bad"},
		{edge, "optional", "authorization: Digest bad"},
		{edge, "split", "x-key: bad"},
		{edge, "optional", "?access_token=bad"},
		{edge, "optional", "?KEY=bad"},
		{edge, "optional", "?my.key=bad"},
	} {
		got = nil
		if a := r.as(t, tt.proxy, offer(tt.route, tt.credential)); a.Code != 200 || len(got) != 0 {
			t.Errorf("%s is no credential on %s: %+v %v", tt.credential, tt.route, a, got)
		}
	}
}

// A bad credential of any kind is refused, also where nobody needs one, and each class of failure has its answer.
func TestBadCredentialOfEveryKindOnAnOptionalRoute(t *testing.T) {
	r := kindRig(t, nil)
	for place, proxy := range map[string]policy.ProxyID{
		"authorization: Bearer %s": edge, "authorization: Basic %s": edge, "x-key: %s": edge, "?key=%s": edge, "%s": edge, "txn-token: %s": own,
	} {
		route, prefix := "optional", "credential"
		if proxy == own {
			route = "in-optional"
		}
		if strings.Contains(place, "Bearer") {
			prefix = "token"
		}
		for raw, want := range map[string]answer{
			"bad": {Code: 401, Reason: prefix + "_invalid"}, "limited": {Code: 429, Reason: "credential_limited"}, "later": {Code: 503, Reason: prefix + "_unavailable"},
			"odd": {Code: 503, Reason: prefix + "_unavailable"}, "nobody": {Code: 503, Reason: prefix + "_unavailable"},
			"another": {Code: 503, Reason: prefix + "_unavailable"}, "panic": {Code: 503, Reason: "internal_error"},
		} {
			got := r.as(t, proxy, offer(route, fmt.Sprintf(place, raw)))
			if got.Code != want.Code || got.Reason != want.Reason {
				t.Errorf(place+": %+v, want %+v", raw, got, want)
			}
		}
		if got := r.as(t, proxy, offer(route, fmt.Sprintf(place, "alice"))); got.Code != 200 {
			t.Errorf(place+": %+v", "alice", got)
		}
		if got := r.as(t, proxy, offer(route)); got.Code != 200 {
			t.Errorf("nothing on %s: %+v", route, got)
		}
	}
	for line := range strings.Lines(r.log.text()) {
		if strings.Contains(line, "?key") || strings.Contains(line, "credential panic") || strings.Contains(line, "YTpi") {
			t.Errorf("the log has a credential: %s", line)
		}
	}
}

// Every pair of two credentials is refused, good ones too, and the same one twice.
func TestTwoCredentialsAreRefused(t *testing.T) {
	var asked int
	r := kindRig(t, func(k policy.CredentialKind, _ string, _ []policy.Name) { asked++ })
	all := []string{
		"authorization: Bearer t", "authorization: Bearer key-1", "authorization: DPoP t", "authorization: Basic YTpi", "x-key: k1", "x-other-key: k2", "?key=k3", "?k=k4",
	}
	for _, route := range []string{"user", "optional"} {
		for _, a := range all {
			for _, b := range all {
				if got := r.as(t, edge, offer(route, a, b)); got.Code != 400 || got.Reason != "credentials_ambiguous" {
					t.Errorf("%s, %s and %s: %+v", route, a, b, got)
				}
			}
			if strings.Contains(a, "Bearer t") || strings.Contains(a, "DPoP") {
				continue // see TestCertificateBesideAToken
			}
			if got := r.as(t, edge, offer(route, a, "some certificate")); got.Code != 400 || got.Reason != "credentials_ambiguous" {
				t.Errorf("%s, %s and a certificate: %+v", route, a, got)
			}
		}
	}
	for _, a := range all {
		if got := r.as(t, own, offer("in-optional", a, "txn-token: t")); got.Code != 400 || got.Reason != "credentials_ambiguous" {
			t.Errorf("%s and an internal token: %+v", a, got)
		}
	}
	for _, pair := range [][]string{
		{"txn-token: a", "txn-token: a"},
		{"txn-token: a,b"},
		{"x-key: a,b"},
		{"x-key: a, b"},
		{"?key=a&key=a"},
		{"authorization: Basic YTpi,Basic YTpi"},
		{"authorization: Basic YTpi", "?access_token=t"},
		{"x-key: k", "?access_token=t"},
		{"?key=k&access_token=t"},
		{"authorization: Digest a=b,Bearer t"},
	} {
		for proxy, route := range map[policy.ProxyID]string{edge: "optional", own: "in-optional"} {
			if strings.HasPrefix(pair[0], "txn") && proxy == edge {
				continue // dropped before, and not read
			}
			if got := r.as(t, proxy, offer(route, pair...)); got.Code != 400 || got.Reason != "credentials_ambiguous" {
				t.Errorf("%s: %v: %+v", proxy, pair, got)
			}
		}
	}
	// One of them is of a kind that another level reads.
	if got := r.as(t, edge, offer("split", "authorization: Basic YTpi", "authorization: Bearer t")); got.Code != 400 {
		t.Errorf("across levels: %+v", got)
	}
	if asked != 0 {
		t.Errorf("%d credentials were verified before the request was found ambiguous", asked)
	}
}

func TestMalformedCredentials(t *testing.T) {
	r := kindRig(t, nil)
	for _, c := range []string{
		"x-key: ", "x-key: a b", "x-key: a\tb", "?key=", "?key", "?key=%zz", "?key=%", "?%6bey=k", "?key=a%0Ab", "authorization: Basic", "authorization: Basic a b",
		"authorization: Bearer", "authorization: DPoP ", "authorization: Bearer\tt", "authorization: Bearer \tt", "authorization: Basic\tYTpi",
		"authorization: Bearer\u00a0t", "authorization: Bearer:t", "authorization: Bearer/t", "authorization: \"Bearer\" t", "authorization: \u00a0Bearer t",
	} {
		if got := r.as(t, edge, offer("optional", c)); got.Code != 400 || got.Reason != "credential_malformed" {
			t.Errorf("%q: %+v", c, got)
		}
	}
	if got := r.as(t, own, offer("in-optional", "txn-token: ")); got.Code != 400 || got.Reason != "credential_malformed" {
		t.Errorf("an empty internal token: %+v", got)
	}
}

// A client certificate beside a token is a second credential, unless the token is bound to a certificate: then its proof decides.
func TestCertificateBesideAToken(t *testing.T) {
	r := kindRig(t, nil)
	for raw, want := range map[string]answer{
		"t": {Code: 400, Reason: "credentials_ambiguous"}, "bad": {Code: 401, Reason: "token_invalid"}, "bound": {Code: 401, Reason: "proof_invalid"},
	} {
		got := r.as(t, edge, offer("optional", "authorization: Bearer "+raw, "some certificate"))
		if got.Code != want.Code || got.Reason != want.Reason {
			t.Errorf("%s: %+v, want %+v", raw, got, want)
		}
	}
	// Where no certificate is accepted, the connection's is none.
	if got := r.as(t, edge, offer("split", "authorization: Bearer t", "some certificate")); got.Code != 200 {
		t.Errorf("a certificate that nobody asks for: %+v", got)
	}
}

// Without a verifier no credential is good, whatever it is.
func TestNoVerifier(t *testing.T) {
	r := kindRig(t, nil, func(o *extauthz.Options) { o.Snapshot = func() extauthz.Verifiers { return extauthz.Verifiers{} } })
	for _, c := range []string{"authorization: Bearer t", "authorization: Bearer key-1", "authorization: Basic YTpi", "x-key: k", "?key=k", "some certificate", "authorization: DPoP t"} {
		if got := r.as(t, edge, offer("optional", c)); got.Code != 503 {
			t.Errorf("%s: %+v", c, got)
		}
	}
	if got := r.as(t, own, offer("in-optional", "txn-token: t")); got.Code != 503 {
		t.Errorf("an internal token: %+v", got)
	}
}

// A gateway's client is no workload, whatever its certificate says.
func TestAGatewaysClientIsNoPeer(t *testing.T) {
	r := kindRig(t, nil)
	set := kinds()
	for i := range set.Policies {
		if set.Policies[i].Name == name("none") {
			set.Policies[i].Rules[0].From = []policy.Peer{{ID: webID}}
		}
	}
	r.Publish(set, 3)
	if got := r.as(t, edge, offer("none", "cert "+webID)); got.Code != 403 || got.Reason != "peer_not_allowed" {
		t.Errorf("a client with an SVID at a gateway: %+v", got)
	}
	if got := r.as(t, own, offer("in-none", "cert "+webID)); got.Code != 200 {
		t.Errorf("a workload at a sidecar: %+v", got)
	}
}

// What is an API key is shown to no authorization server, whatever scheme it comes by and wherever keys are read.
func TestAPIKeyIsNeverTakenForAToken(t *testing.T) {
	var got []policy.CredentialKind
	r := kindRig(t, func(k policy.CredentialKind, _ string, _ []policy.Name) { got = append(got, k) })
	if a := r.as(t, edge, offer("user", "authorization: DPoP key-1")); a.Code != 401 || a.Reason != "proof_invalid" {
		t.Errorf("a key by the scheme DPoP: %+v", a)
	}
	set := kinds()
	for i := range set.Policies {
		for j := range set.Policies[i].APIKeys {
			set.Policies[i].APIKeys[j].Bearer = false
		}
	}
	r.Publish(set, 3)
	for _, c := range []string{"authorization: Bearer key-1", "authorization: DPoP key-1"} {
		if a := r.as(t, edge, offer("optional", c)); a.Code != 400 || a.Reason != "credential_malformed" {
			t.Errorf("%s where keys are read elsewhere: %+v", c, a)
		}
	}
	for _, k := range got {
		if k != policy.APIKey {
			t.Errorf("verified as %v", got)
		}
	}
}

// What nobody has verified of a header that the route reads, as of a scheme that it does not read, is not for the service.
func TestAuthorizationOfAnotherSchemeIsRemoved(t *testing.T) {
	r := kindRig(t, nil)
	for _, tt := range []struct {
		route       string
		credentials []string
		removed     bool
	}{
		{"optional", []string{"authorization: Digest a"}, true},
		{"optional", []string{"authorization: eyJhbGciOiJub25lIn0.e30."}, true},
		{"optional", []string{"authorization: Negotiate a", "x-key: k"}, true},
		{"optional", []string{"x-key: k"}, false},
		{"optional", nil, false},
		{"none", []string{"authorization: Digest a"}, false},
		{"none", []string{"authorization: Bearer a"}, false},
	} {
		resp, err := r.Check(context.WithValue(context.Background(), proxyKey{}, edge), offer(tt.route, tt.credentials...))
		if err != nil || resp.GetOkResponse() == nil {
			t.Fatalf("%v on %s: %v %v", tt.credentials, tt.route, resp, err)
		}
		if got := slices.Contains(resp.GetOkResponse().GetHeadersToRemove(), "authorization"); got != tt.removed {
			t.Errorf("%v on %s: Authorization is removed: %t", tt.credentials, tt.route, got)
		}
	}
}

// A header that one route of a gateway has for a claim is nobody's to write on the others: the service behind cannot tell them apart. What
// comes to a sidecar may be the gateway's word.
func TestClaimHeaderOfAnotherRoute(t *testing.T) {
	r := kindRig(t, nil)
	set := kinds()
	set.Gateways[0].Listeners[0].Sections[0].VirtualHosts[0].Routes[0].Access.Upstream = &policy.Upstream{Headers: []policy.ClaimOutput{{Name: "x-user-email", Path: []string{"email"}}}}
	set.Workloads[0].Ports[0].Access.Upstream = &policy.Upstream{Headers: []policy.ClaimOutput{{Name: "x-user-email", Path: []string{"email"}}}}
	r.Publish(set, 2)
	client := authv3.NewAuthorizationClient(serve(t, r.Register, extauthz.ServerOptions(r.Server)...))
	for _, tt := range []struct {
		proxy   policy.ProxyID
		route   string
		headers []string
		removed bool
	}{
		{edge, "user", []string{"x-key: k", "x-user-email: root"}, true},
		{edge, "user", []string{"x-key: k"}, true},
		{edge, "none", []string{"X-User-Email: root"}, true},
		{edge, "none", nil, false},
		{edge, "optional", []string{"x-user-email: a", "x-user-email: b"}, true},
		{own, "in-none", []string{"x-user-email: root"}, false},
	} {
		for way, check := range map[string]func(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error){
			"called": r.Check,
			"over the wire": func(ctx context.Context, req *authv3.CheckRequest) (*authv3.CheckResponse, error) {
				return client.Check(ctx, req)
			},
		} {
			if way == "over the wire" && tt.proxy != edge {
				continue // its caller is the edge
			}
			resp, err := check(context.WithValue(context.Background(), proxyKey{}, tt.proxy), offer(tt.route, tt.headers...))
			if err != nil || resp.GetOkResponse() == nil {
				t.Fatalf("%s: %s %v: %v %v", way, tt.route, tt.headers, resp, err)
			}
			if got := slices.Contains(resp.GetOkResponse().GetHeadersToRemove(), "x-user-email"); got != tt.removed {
				t.Errorf("%s: %s %s %v: removed: %t", way, tt.proxy, tt.route, tt.headers, got)
			}
		}
	}
}
