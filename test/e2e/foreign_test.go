//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/internal/envoy"
	"github.com/credence-mesh/credence/internal/testenv"
)

const secretType = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"

func dialUnix(t *testing.T, socket string) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient("unix://"+strings.TrimPrefix(socket, "unix://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// The test process may open every socket, and it is no proxy that credence started: it gets no configuration, no decision, no secret.
func TestForeignProcessIsRefused(t *testing.T) {
	s := newSite(t, "lobby")
	e := testenv.Start(t, testenv.Options{Manifests: s.manifests(s.route("public", "plain", "/", "lobby", "public"))})
	where := e.Endpoints()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for kind, socket := range map[string]string{
		"gateway": where.Gateways["default/edge"].AgentSocket, "sidecar": where.Workloads["default/lobby"].AgentSocket,
	} {
		conn := dialUnix(t, socket)
		node := &corev3.Node{Id: "gateway/default/edge"}
		const notAProxy = "the caller is not an attested proxy"
		t.Run(kind+" delta", func(t *testing.T) {
			stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
			if err != nil {
				t.Fatal(err)
			}
			_ = stream.Send(&discoveryv3.DeltaDiscoveryRequest{Node: node, TypeUrl: routeType, ResourceNamesSubscribe: []string{"*"}})
			r, err := stream.Recv()
			denied(t, r, err, notAProxy)
		})
		t.Run(kind+" state of the world", func(t *testing.T) {
			stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(ctx)
			if err != nil {
				t.Fatal(err)
			}
			_ = stream.Send(&discoveryv3.DiscoveryRequest{Node: node, TypeUrl: routeType})
			r, err := stream.Recv()
			denied(t, r, err, notAProxy)
		})
		t.Run(kind+" Check", func(t *testing.T) {
			r, err := authv3.NewAuthorizationClient(conn).Check(ctx, &authv3.CheckRequest{})
			denied(t, r, err, notAProxy)
		})
	}
	if log, want := e.Log(), fmt.Sprintf("process %d is not a proxy that credence started", os.Getpid()); strings.Count(log, want) != 6 {
		t.Errorf("the log has %q %d times, want 6", want, strings.Count(log, want))
	}
	t.Run("SDS", func(t *testing.T) {
		for _, name := range []string{where.Gateways["default/edge"].SPIFFEID, "ALL", "certificate/default/edge"} {
			stream, err := secretv3.NewSecretDiscoveryServiceClient(dialUnix(t, where.WorkloadAPI)).DeltaSecrets(ctx)
			if err != nil {
				t.Fatal(err)
			}
			_ = stream.Send(&discoveryv3.DeltaDiscoveryRequest{Node: node("gateway/default/edge"), TypeUrl: secretType, ResourceNamesSubscribe: []string{name}})
			r, err := stream.Recv()
			denied(t, r, err, "the nearest Workload is default/lobby")
		}
	})
}

func node(id string) *corev3.Node { return &corev3.Node{Id: id} }

func denied(t *testing.T, got any, err error, why string) {
	t.Helper()
	if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), why) {
		t.Errorf("got %v, %v; want PermissionDenied with %q", got, err, why)
	}
}

// A proxy that credence started names itself as another one: it is refused, and the other one is not disturbed.
func TestProxyWithTheNodeIDOfAnotherIsRefused(t *testing.T) {
	real, err := envoy.Find(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, "vault", "thief")
	work := testenv.WorkDir(t)
	liar := filepath.Join(work, "envoy")
	script := `#!/bin/sh
# Envoy, but the sidecar of thief states the node id of the sidecar of vault.
if [ "$1" = --config-path ] && grep -q sidecar/default/thief "$2"; then
	sed -i s,sidecar/default/thief,sidecar/default/vault,g "$2"
fi
exec '` + real.Path + `' "$@"
`
	if err := os.WriteFile(liar, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	e := testenv.New(t, testenv.Options{Work: work, Envoy: liar, Manifests: s.manifests(s.route("public", "plain", "/", "vault", "public"))})
	e.Await("vault to serve", func() string {
		r, err := testenv.Get(t.Context(), testenv.Request{Addr: s.frontAddr(), Path: "/"})
		if err != nil {
			return err.Error()
		}
		if r.Status != 200 || r.Body != "vault" {
			return fmt.Sprint(r.Status, r.Body)
		}
		return ""
	})
	e.Await("the refusal in the log", func() string {
		if !strings.Contains(e.Log(), `node.id is not the caller's" proxy=sidecar/default/thief node=sidecar/default/vault`) {
			return "not there"
		}
		return ""
	})
	for _, p := range e.Status().Proxies {
		if p.ID == "sidecar/default/thief" && (p.Connected || p.Generation > 0) {
			t.Errorf("thief has got a configuration: %+v", p)
		}
	}
}
