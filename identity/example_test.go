package identity_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	"google.golang.org/grpc"

	"github.com/credence-mesh/credence/identity"
)

// A service that only payments may call, and that calls audit.
func Example() {
	ctx := context.Background()
	src, err := identity.Open(ctx, identity.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = src.Close() }()

	payments := identity.Only("spiffe://example.org/ns/default/wl/payments")
	l, err := src.Listen(ctx, "127.0.0.1:8443", payments)
	if err != nil {
		log.Fatal(err)
	}
	audit := src.Client(identity.Only("spiffe://example.org/ns/default/wl/audit"))
	handler := func(w http.ResponseWriter, r *http.Request) {
		caller, err := src.Peer(r)
		if err != nil {
			http.Error(w, "who are you?", http.StatusForbidden)
			return
		}
		resp, err := audit.Get("https://127.0.0.1:8444/seen?by=" + caller.Path()) //nolint:noctx // an example
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		_, _ = fmt.Fprintln(w, "hello", caller)
	}
	srv := &http.Server{Handler: src.Handler(payments, http.HandlerFunc(handler)), ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(srv.Serve(l))
}

// A refusal in the handler is an answer that the caller can read: the handshake lets every workload of the mesh in.
func ExampleSource_Handler() {
	src, err := identity.Open(context.Background(), identity.Options{})
	if err != nil {
		log.Fatal(err)
	}
	l, err := src.Listen(context.Background(), "127.0.0.1:8443", identity.AnyOf("example.org"))
	if err != nil {
		log.Fatal(err)
	}
	allowed := identity.Only("spiffe://example.org/ns/default/wl/payments")
	srv := &http.Server{Handler: src.Handler(allowed, http.NotFoundHandler()), ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(srv.Serve(l))
}

// gRPC, as a server and as a client.
func ExampleSource_ServerOptions() {
	src, err := identity.Open(context.Background(), identity.Options{})
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(src.ServerOptions(identity.Only("spiffe://example.org/ns/default/wl/payments"))...)
	defer server.Stop()

	audit, err := grpc.NewClient("127.0.0.1:8444",
		grpc.WithTransportCredentials(src.ClientCredentials(identity.Only("spiffe://example.org/ns/default/wl/audit"))))
	if err != nil {
		log.Print(err)
		return
	}
	_ = audit.Close()
}
