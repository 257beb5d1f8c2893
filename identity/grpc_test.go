package identity_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/identity"
)

// watched is the health service, and says who called and what came along.
type watched struct {
	*health.Server
	src  *identity.Source
	seen chan string
}

func (w *watched) Check(ctx context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	id, err := w.src.PeerFromContext(ctx)
	if err != nil {
		return nil, err
	}
	md, _ := metadata.FromIncomingContext(ctx)
	w.seen <- id.String() + strings.Join(md.Get("x-credence-subject"), ",") + strings.Join(md.Get("x-other"), ",")
	return w.Server.Check(ctx, r)
}

func serveGRPC(t *testing.T, src *identity.Source, o ...grpc.ServerOption) (target string, w *watched) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w = &watched{Server: health.NewServer(), src: src, seen: make(chan string, 1)}
	srv := grpc.NewServer(o...)
	healthpb.RegisterHealthServer(srv, w)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "passthrough:///" + l.Addr().String(), w
}

func healthClient(t *testing.T, target string, o grpc.DialOption) healthpb.HealthClient {
	t.Helper()
	cc, err := grpc.NewClient(target, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return healthpb.NewHealthClient(cc)
}

func check(t *testing.T, c healthpb.HealthClient) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "x-credence-subject", "root", "x-other", "+")
	_, err := c.Check(ctx, &healthpb.HealthCheckRequest{})
	return err
}

func TestGRPC(t *testing.T) {
	ca, foreign := newAuthority(t, "td"), newAuthority(t, "td")
	server, _ := source(t, ca, ledger)
	good, _ := source(t, ca, payments)
	other, _ := source(t, ca, batch)
	stranger, _ := source(t, foreign, payments)
	atHandshake, w := serveGRPC(t, server, server.ServerOptions(identity.Only(payments))...)
	atCall, _ := serveGRPC(t, server, grpc.Creds(server.ServerCredentials(identity.AnyOf("td"))), grpc.UnaryInterceptor(server.UnaryInterceptor(identity.Only(payments))))
	if err := check(t, healthClient(t, atHandshake, grpc.WithTransportCredentials(good.ClientCredentials(identity.Only(ledger))))); err != nil {
		t.Fatal(err)
	}
	if got := <-w.seen; got != payments+"+" {
		t.Errorf("the handler saw %q", got)
	}
	tests := []struct {
		name, target string
		o            grpc.DialOption
		want         codes.Code
		text         string
	}{
		{"another caller, at the handshake", atHandshake, grpc.WithTransportCredentials(other.ClientCredentials(identity.Only(ledger))), codes.Unavailable, ""},
		{"another caller, at the call", atCall, grpc.WithTransportCredentials(other.ClientCredentials(identity.Only(ledger))), codes.PermissionDenied, "decided by the code of " + ledger},
		{"a foreign CA", atHandshake, grpc.WithTransportCredentials(stranger.ClientCredentials(identity.Only(ledger))), codes.Unavailable, "untrusted"},
		{"another server", atHandshake, grpc.WithTransportCredentials(good.ClientCredentials(identity.Only(batch))), codes.Unavailable, "not on the list"},
		{"no Authorizer", atHandshake, grpc.WithTransportCredentials(good.ClientCredentials(nil)), codes.Unavailable, "no Authorizer"},
		{"no TLS", atHandshake, grpc.WithTransportCredentials(insecure.NewCredentials()), codes.Unavailable, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := check(t, healthClient(t, tt.target, tt.o))
			if status.Code(err) != tt.want || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v", err)
			}
		})
	}
	plain, _ := serveGRPC(t, server, grpc.UnaryInterceptor(server.UnaryInterceptor(identity.AnyOf("td"))))
	if err := check(t, healthClient(t, plain, grpc.WithTransportCredentials(insecure.NewCredentials()))); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a server without TLS: %v", err)
	}
}

// A stream that is open ends when the authority of its peer leaves the bundle, and one that begins is refused by the interceptor's Authorizer.
func TestGRPCStream(t *testing.T) {
	ca, other := newAuthority(t, "td"), newAuthority(t, "td")
	server, a := source(t, ca, ledger)
	caller, _ := source(t, ca, payments)
	target, _ := serveGRPC(t, server, server.ServerOptions(identity.Only(payments))...)
	refusing, _ := serveGRPC(t, server, grpc.Creds(server.ServerCredentials(identity.AnyOf("td"))), grpc.StreamInterceptor(server.StreamInterceptor(identity.Only(batch))))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	creds := grpc.WithTransportCredentials(caller.ClientCredentials(identity.Only(ledger)))
	s, err := healthClient(t, refusing, creds).Watch(ctx, &healthpb.HealthCheckRequest{})
	if err == nil {
		_, err = s.Recv()
	}
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("got %v", err)
	}
	s, err = healthClient(t, target, creds).Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	a.serve(t, other.issue(t, ledger), other)
	if _, err := s.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream: %v", err)
	}
}
