package extauthz_test

import (
	"context"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/extauthz/txntoken"
	"github.com/credence-mesh/credence/policy"
)

// What a policy names is decoded from the wire: the credential of every kind is found, wherever it is.
func TestWireHasEveryCredential(t *testing.T) {
	var kinds []policy.CredentialKind
	var made *txntoken.Request
	r := kindRig(t, func(k policy.CredentialKind, _ string, _ []policy.Name) { kinds = append(kinds, k) }, func(o *extauthz.Options) {
		o.Minter = minter(func(_ context.Context, r *txntoken.Request) (string, error) { made = r; return "internal", nil })
	})
	r.Publish(minting(), 3)
	client := authv3.NewAuthorizationClient(serve(t, r.Register, extauthz.ServerOptions(r.Server)...))
	for _, c := range []string{"authorization: Bearer t", "authorization: Basic t", "x-key: k", "X-OTHER-KEY: k", "?key=k", "a certificate"} {
		kinds = nil
		req := offer("user", c)
		req.Attributes.Source.Address = &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{Address: "192.0.2.7"}}}
		// What a proxy says of how the request was decoded is not believed.
		req.Attributes.ContextExtensions["\x00interest"] = ",x,"
		resp, err := client.Check(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, resp); got.Code != 200 || len(kinds) != 1 {
			t.Errorf("%s: %+v, verified %v", c, got, kinds)
		}
		if made == nil || made.ClientIP != "192.0.2.7" {
			t.Errorf("%s: the token is made of %+v", c, made)
		}
	}
}

// A request that was decoded for a Set which asks for less is an error, never a request without a credential.
func TestRequestDecodedForAnotherSetIsAnError(t *testing.T) {
	r := kindRig(t, nil)
	client := authv3.NewAuthorizationClient(serve(t, r.Register, extauthz.ServerOptions(nil)...))
	if resp, err := client.Check(context.Background(), offer("optional", "x-key: bad")); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v %v", resp, err)
	}
	if got := r.log.last(t); got["reason"] != "configuration_changed" {
		t.Errorf("logged %v", got)
	}
	// What the Set asks for no more is decoded all the same: requests for routes that vanish are on their way.
	r = kindRig(t, nil)
	r.Publish(orders(), 3)
	client = authv3.NewAuthorizationClient(serve(t, r.Register, extauthz.ServerOptions(r.Server)...))
	for c, want := range map[string]int{"x-key: k": 200, "x-key: bad": 401, "txn-token: bad": 200} {
		resp, err := client.Check(context.Background(), offer("optional", c))
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, resp); got.Code != want {
			t.Errorf("%s: %+v, want %d", c, got, want)
		}
	}
}
