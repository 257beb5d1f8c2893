//go:build e2e

package e2e_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/examples/quickstart/shoppb"
	"github.com/credence-mesh/credence/internal/testenv"
)

const edgeID = "spiffe://e2e.test/ns/default/gw/edge"

// TestGRPC: grpc-go, which knows nothing of the mesh, calls through the gateway (h2c with prior knowledge, TLS) and from workload to workload.
func TestGRPC(t *testing.T) {
	s := newShop(t)
	e := testenv.Start(t, testenv.Options{Manifests: s.manifests()})
	token := e.Token(audience, "read")
	clients := map[string]shoppb.OrdersClient{
		"h2c": shopClient(t, fmt.Sprintf("127.0.0.1:%d", s.plain), shopHost, false),
		"tls": shopClient(t, fmt.Sprintf("127.0.0.1:%d", s.secure), shopHost, true),
	}
	for name, c := range clients {
		t.Run(name+" unary", func(t *testing.T) {
			var trailer metadata.MD
			got, err := c.GetOrder(withToken(t, token), &shoppb.GetOrderRequest{Id: "7"}, grpc.Trailer(&trailer))
			if err != nil {
				t.Fatal(err)
			}
			if got.GetId() != "7" || got.GetUser() != "alice" || got.GetCaller() != edgeID || fmt.Sprint(trailer.Get("x-order-trailer")) != "[yes]" {
				t.Errorf("got %v, trailer %v", got, trailer)
			}
		})
		t.Run(name+" the application's own status", func(t *testing.T) {
			_, err := c.GetOrder(withToken(t, token), &shoppb.GetOrderRequest{Id: "missing"})
			if got, want := refusalOf(err), (refusal{Code: codes.NotFound, Message: "no order of that name: 100 %"}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
		t.Run(name+" streams", func(t *testing.T) { streams(t, c, token, e.Token(audience, "chat")) })
	}
	t.Run("workload to workload", func(t *testing.T) {
		c := shopClient(t, fmt.Sprintf("127.0.0.1:%d", s.outOut), fmt.Sprintf("orders:%d", s.port), false)
		got, err := c.GetOrder(withToken(t, ""), &shoppb.GetOrderRequest{Id: "8"})
		if err != nil || got.GetCaller() != "spiffe://e2e.test/ns/default/wl/caller" || got.GetUser() != "" {
			t.Errorf("got %v, %v", got, err)
		}
	})
	t.Run("denials", func(t *testing.T) { denials(t, s, e) })
	t.Run("deadline", func(t *testing.T) { deadline(t, s, token) })
	t.Run("nothing is sent twice", func(t *testing.T) {
		before := s.app.calls.Load()
		_, err := clients["h2c"].GetOrder(withToken(t, token), &shoppb.GetOrderRequest{Id: "break"})
		if n := s.app.calls.Load() - before; n != 1 || status.Code(err) != codes.Unavailable {
			t.Errorf("the application broke the connection after it had the call: it got it %d times, the client hears %v", n, err)
		}
		before = s.app.calls.Load()
		chat, err := clients["h2c"].Chat(withToken(t, e.Token(audience, "chat")))
		if err == nil {
			err = chat.Send(&shoppb.Order{Id: "break"})
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err = chat.Recv(); s.app.calls.Load()-before != 1 || status.Code(err) != codes.Unavailable {
			t.Errorf("the application broke a stream after its first message: it got it %d times, the client hears %v", s.app.calls.Load()-before, err)
		}
	})
}

// streams of each kind: messages arrive one by one, in both directions, and half-close and trailers get through.
func streams(t *testing.T, c shoppb.OrdersClient, token, chatty string) {
	t.Helper()
	watch, err := c.WatchOrders(withToken(t, token), &shoppb.WatchOrdersRequest{Count: 5})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; err == nil; n++ {
		_, err = watch.Recv()
	}
	if n != 6 || !errors.Is(err, io.EOF) {
		t.Errorf("server stream: %d messages, then %v", n-1, err)
	}
	add, err := c.AddOrders(withToken(t, token))
	for i := 0; err == nil && i < 100; i++ {
		err = add.Send(&shoppb.Order{Id: strings.Repeat("x", 10_000)})
	}
	if err != nil {
		t.Fatal(err)
	}
	if sum, err := add.CloseAndRecv(); err != nil || sum.GetCount() != 100 {
		t.Errorf("client stream: %v, %v", sum, err)
	}
	chat, err := c.Chat(withToken(t, chatty))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a", "b", "c"} {
		// Each is answered before the next one is sent: nothing on the way waits for more.
		if err := chat.Send(&shoppb.Order{Id: id}); err != nil {
			t.Fatal(err)
		}
		if got, err := chat.Recv(); err != nil || got.GetId() != id || got.GetUser() != "alice" {
			t.Fatalf("bidirectional stream: %v, %v", got, err)
		}
	}
	if err := chat.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := chat.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("bidirectional stream: it ends with %v", err)
	}
}

// denials: each is a status with its code, a message in words, and details that programs read; the application never hears of the call.
func denials(t *testing.T, s *shop, e *testenv.Env) {
	t.Helper()
	const domain = "credence.mesh"
	c := shopClient(t, fmt.Sprintf("127.0.0.1:%d", s.plain), shopHost, false)
	inside := shopClient(t, fmt.Sprintf("127.0.0.1:%d", s.outOut), fmt.Sprintf("orders:%d", s.port), false)
	get := func(c shoppb.OrdersClient, token string, more ...string) (metadata.MD, error) {
		var md metadata.MD
		ctx := metadata.AppendToOutgoingContext(withToken(t, token), more...)
		_, err := c.GetOrder(ctx, &shoppb.GetOrderRequest{Id: "7"}, grpc.Trailer(&md))
		return md, err
	}
	for _, d := range []struct {
		name      string
		call      func() (metadata.MD, error)
		want      refusal
		challenge string
	}{
		{"no token", func() (metadata.MD, error) { return get(c, "") }, refusal{
			codes.Unauthenticated, "a token is needed: Authorization: Bearer TOKEN", "TOKEN_MISSING", domain, "", true,
		}, `Bearer realm="credence"`},
		{"a bad token", func() (metadata.MD, error) { return get(c, "x.y.z") }, refusal{
			codes.Unauthenticated, "the token is not valid here", "TOKEN_INVALID", domain, "", true,
		}, `Bearer realm="credence", error="invalid_token", error_description="the token is not valid here"`},
		{"two tokens", func() (metadata.MD, error) {
			return get(c, e.Token(audience, "read"), "authorization", "Bearer "+e.Token(audience, "read"))
		}, refusal{
			codes.InvalidArgument, "send exactly one credential, as one Authorization header: Bearer TOKEN", "CREDENTIALS_AMBIGUOUS", domain, "", true,
		}, `Bearer realm="credence", error="invalid_request", error_description="send exactly one credential, as one Authorization header: Bearer TOKEN"`},
		{"without the scope", func() (metadata.MD, error) { return get(c, e.Token(audience, "other")) }, refusal{
			codes.PermissionDenied, "the token lacks a scope: read", "INSUFFICIENT_SCOPE", domain, "read", true,
		}, `Bearer realm="credence", error="insufficient_scope", scope="read", error_description="the token lacks a scope: read"`},
		{"another method of the service, with the scope of the first", func() (metadata.MD, error) {
			stream, err := c.Chat(withToken(t, e.Token(audience, "read")))
			if err != nil {
				return nil, err
			}
			_, err = stream.Recv()
			return stream.Trailer(), err
		}, refusal{
			codes.PermissionDenied, "the token lacks a scope: chat", "INSUFFICIENT_SCOPE", domain, "chat", true,
		}, `Bearer realm="credence", error="insufficient_scope", scope="chat", error_description="the token lacks a scope: chat"`},
		{"a method that no rule of the sidecar allows", func() (metadata.MD, error) {
			stream, err := inside.Chat(withToken(t, ""))
			if err != nil {
				return nil, err
			}
			_, err = stream.Recv()
			return stream.Trailer(), err
		}, refusal{codes.PermissionDenied, "the calling workload is not allowed to do this", "PEER_NOT_ALLOWED", domain, "", true}, ""},
	} {
		t.Run(d.name, func(t *testing.T) {
			before := s.app.calls.Load()
			md, err := d.call()
			if diff := cmp.Diff(d.want, refusalOf(err)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := strings.Join(md.Get("www-authenticate"), "|"); got != d.challenge {
				t.Errorf("challenge %q, want %q", got, d.challenge)
			}
			if n := s.app.calls.Load() - before; n != 0 {
				t.Errorf("%d calls reached the application", n)
			}
		})
	}
}

// deadline: where the application does not look at the client's grpc-timeout, the proxies end the call with its code.
func deadline(t *testing.T, s *shop, token string) {
	t.Helper()
	begun := time.Now()
	r := s.raw(t, rawCall{method: "/shop.v1.Orders/GetOrder", id: "deaf", token: token, header: map[string]string{"grpc-timeout": "300m"}})
	if took := time.Since(begun); r.status != 200 || r.trailer("grpc-status") != "4" || took > 5*time.Second {
		t.Errorf("after %v: %+v", took, r)
	}
}
