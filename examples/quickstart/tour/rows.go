package tour

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/credence-mesh/credence/examples/quickstart/service"
)

// Row is one thing that the tour shows.
type Row struct {
	// Name is what is sent or done.
	Name string
	// Want is the exact answer: the status, and the error or reason that a client reads.
	Want string
	// Why it is so.
	Why string
	// Do sends it and returns the answer in the form of Want.
	Do func(ctx context.Context, m *Mesh) (string, error)
}

// Rows in the order in which they are shown. Each leaves the mesh as it found it.
func Rows() []Row {
	return slices.Concat(publicRows(), tokenRows(), meshRows(), ledgerRows(), grpcRows(), changeRows(), stateRows())
}

func publicRows() []Row {
	return []Row{
		{"GET / without a token", "200", "the policy says that the welcome page is public", func(ctx context.Context, m *Mesh) (string, error) {
			return answer(m.shop(ctx, "/", ""))
		}},
		{"GET /public/status, any Host, plain HTTP", "200", "listener and route without hostnames", func(ctx context.Context, m *Mesh) (string, error) {
			return answer(m.send(ctx, request{listener: "plain", host: "anything.example", path: "/public/status"}))
		}},
		{"GET /elsewhere, plain HTTP", "404", "no route matches", func(ctx context.Context, m *Mesh) (string, error) {
			return answer(m.send(ctx, request{listener: "plain", host: "anything.example", path: "/elsewhere"}))
		}},
	}
}

func answer(r reply, err error) (string, error) { return r.String(), err }

// withToken asks for /orders with a token.
func withToken(mint func(*Mesh, context.Context) (string, error)) func(context.Context, *Mesh) (string, error) {
	return func(ctx context.Context, m *Mesh) (string, error) {
		token, err := mint(m, ctx)
		if err != nil {
			return "", err
		}
		return answer(m.shop(ctx, "/orders", token))
	}
}

func scoped(scope string) func(*Mesh, context.Context) (string, error) {
	return func(m *Mesh, ctx context.Context) (string, error) { return m.Token(ctx, scope) }
}

func tokenRows() []Row {
	const invalid = "401 invalid_token"
	return []Row{
		{"GET /orders without a token", "401 Bearer", "the route needs a user", func(ctx context.Context, m *Mesh) (string, error) {
			return answer(m.shop(ctx, "/orders", ""))
		}},
		{"… expired token", invalid, "exp is in the past", withToken((*Mesh).expired)},
		{"… token that is not valid yet", invalid, "nbf is in the future", withToken((*Mesh).notYetValid)},
		{"… token of another issuer", invalid, "iss is not the issuer's", withToken((*Mesh).wrongIssuer)},
		{"… token for another audience", invalid, "aud is not ours", withToken((*Mesh).wrongAudience)},
		{"… forged signature", invalid, "signed by another key", withToken((*Mesh).forged)},
		{"… alg: none", invalid, "a token does not choose how it is verified", withToken((*Mesh).algNone)},
		{"… HS256 with the public key as secret", invalid, "a token does not choose how it is verified", withToken((*Mesh).hmacWithPublicKey)},
		{"… token without the scope", "403 insufficient_scope orders:read", "the answer names the scope", withToken(scoped("profile"))},
		{"… two Authorization headers", "400 invalid_request", "two readers could take one each", twoHeaders},
		{"… one Authorization header with a comma", "400 invalid_request", "two readers could take one each", commaHeader},
		{"… an internal token, from outside", "401 Bearer", "the gateway removes it: only the mesh makes them", internalFromOutside},
		{"… right token, and forged identity headers", "200", "the upstream sees alice and the gateway's identity, nothing that was forged", rightToken},
	}
}

func twoHeaders(ctx context.Context, m *Mesh) (string, error) {
	token, err := m.right(ctx)
	if err != nil {
		return "", err
	}
	return answer(m.send(ctx, request{
		listener: "https", host: "shop.localhost", path: "/orders",
		header: http.Header{"Authorization": {"Bearer " + token, "Bearer " + token}},
	}))
}

func internalFromOutside(ctx context.Context, m *Mesh) (string, error) {
	token, err := m.internal(ctx)
	if err != nil {
		return "", err
	}
	return answer(m.send(ctx, request{listener: "https", host: "shop.localhost", path: "/orders", internal: token}))
}

func commaHeader(ctx context.Context, m *Mesh) (string, error) {
	token, err := m.right(ctx)
	if err != nil {
		return "", err
	}
	return answer(m.shop(ctx, "/orders", token+","+token))
}

func rightToken(ctx context.Context, m *Mesh) (string, error) {
	token, err := m.right(ctx)
	if err != nil {
		return "", err
	}
	r, err := m.send(ctx, request{listener: "https", host: "shop.localhost", path: "/orders", token: token, header: http.Header{
		"X-Credence-Subject": {"mallory"}, "X-Credence-Peer": {"spiffe://quickstart.test/ns/default/wl/payments"}, "X-Credence-Admin": {"true"},
		"X-Forwarded-Client-Cert": {"URI=spiffe://quickstart.test/ns/default/wl/payments"}, "Txn-Token": {"forged"}, "X-Real-Ip": {"10.0.0.1"},
	}})
	if err != nil {
		return "", err
	}
	return r.String() + chain(r, m), nil
}

// chain says what is wrong in what web, orders and payments saw; empty: nothing.
func chain(r reply, m *Mesh) string {
	callers := map[string]string{
		"web": m.Endpoints.Gateways["default/edge"].SPIFFEID, "orders": m.Endpoints.Workloads["default/web"].SPIFFEID,
		"payments": m.Endpoints.Workloads["default/orders"].SPIFFEID,
	}
	body := r.body
	for _, name := range []string{"web", "orders", "payments"} {
		var a service.Answer
		if err := json.Unmarshal(body, &a); err != nil {
			return fmt.Sprintf("; %s answered %.80q", name, body)
		}
		switch {
		case a.Service != name:
			return fmt.Sprintf("; %s answered in place of %s", a.Service, name)
		case a.User != "alice":
			return fmt.Sprintf("; %s saw the user %q", name, a.User)
		case a.Caller != callers[name]:
			return fmt.Sprintf("; %s saw the caller %q", name, a.Caller)
		}
		for h, v := range a.Identity {
			forged := strings.Contains(v, "mallory") || h == "x-credence-admin" || h == "txn-token" && v == "forged" || h == "x-real-ip"
			if h == "x-forwarded-client-cert" && strings.Contains(v, "payments") && name == "web" {
				forged = true
			}
			if h == "authorization" {
				return fmt.Sprintf("; %s saw the user's own token", name)
			}
			if forged {
				return fmt.Sprintf("; %s saw a forged header %s: %s", name, h, v)
			}
		}
		body = a.Next
	}
	return ledgerSaw(body, m)
}

// until asks again until the answer is want, and tells how long that took; a limit that is generous to slow machines bounds it.
func until(ctx context.Context, want string, ask func() (string, error)) (string, time.Duration, error) {
	begun := time.Now()
	for {
		got, err := ask()
		took := time.Since(begun)
		if err == nil && got == want || took > 20*time.Second || ctx.Err() != nil {
			return got, took, err
		}
	}
}
