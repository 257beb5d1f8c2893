package extauthz_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// Rules see headers, query, scheme and address where one of them may ask for them, over the wire too, and never a credential.
func TestRulesSeeNoCredential(t *testing.T) {
	r := kindRig(t, nil)
	set := kinds()
	for i := range set.Policies {
		if set.Policies[i].Name == name("optional") {
			set.Policies[i].Rules = append(set.Policies[i].Rules, policy.Rule{
				Name: "headers", Action: policy.Allow, To: []policy.Operation{{Headers: []policy.HeaderMatch{{Name: "x-a", Present: true}}}},
			})
		}
	}
	r.Publish(set, 3)
	client := authv3.NewAuthorizationClient(serve(t, r.Register, extauthz.ServerOptions(r.Server)...))
	ask := func(route string, credentials ...string) *decide.Facts {
		t.Helper()
		req := offer(route, credentials...)
		a := req.Attributes
		a.Request.Http.Scheme = "https"
		a.Source.Address = &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{Address: "192.0.2.7"}}}
		a.Request.Http.HeaderMap.Headers = append(a.Request.Http.HeaderMap.Headers, &corev3.HeaderValue{Key: ":path", RawValue: []byte("/?secret")})
		resp, err := client.Check(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		e, ok := r.Recent(resp.GetDynamicMetadata().GetFields()["decision"].GetStringValue())
		if !ok || e.Facts == nil {
			t.Fatalf("%v is not remembered, or was not decided: %+v", resp, e)
		}
		return e.Facts
	}
	f := ask("optional", "X-A: 1", "x-a: 2", "X-B: ", "?q=1&key=secret&r=2", "cookie: a=b")
	slices.SortStableFunc(f.Headers, func(a, b decide.Header) int { return strings.Compare(a.Name, b.Name) })
	want := []decide.Header{{Name: "cookie", Value: "a=b"}, {Name: "x-a", Value: "1"}, {Name: "x-a", Value: "2"}, {Name: "x-b"}}
	if diff := cmp.Diff(want, f.Headers); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if f.Query != "q=1&r=2" || f.Scheme != "https" || f.ClientIP != "192.0.2.7" || !f.Now.Equal(r.clock) {
		t.Errorf("facts %+v", f)
	}
	for _, c := range []string{"authorization: Bearer secret", "authorization: Digest secret", "x-key: secret", "proxy-authorization: secret", "dpop: secret", "txn-token: secret"} {
		header, _, _ := strings.Cut(c, ":")
		if diff := cmp.Diff([]decide.Header{{Name: header}}, ask("optional", c).Headers); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c, diff)
		}
	}
	if f := ask("user", "x-key: secret", "x-a: 1", "?q=1"); len(f.Headers) > 0 || f.Query != "" {
		t.Errorf("a route whose rules look at no header: %+v", f)
	}
}
