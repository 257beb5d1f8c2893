package ads_test

import (
	"context"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/controlplane/ads"
	"github.com/credence-mesh/credence/policy"
)

const denied = codes.PermissionDenied

func grpcCode(err error) codes.Code { return status.Code(err) }

// rpcs opens each RPC of the service with a node and returns the stream's end.
func (f *fixture) rpcs() map[string]func(ctx context.Context, n *corev3.Node) error {
	return map[string]func(context.Context, *corev3.Node) error{
		"delta": func(ctx context.Context, n *corev3.Node) error {
			s, err := f.client.DeltaAggregatedResources(ctx)
			if err != nil {
				return err
			}
			_ = s.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: ads.ClusterType, Node: n})
			_, err = s.Recv()
			return err
		},
		"world": func(ctx context.Context, n *corev3.Node) error {
			s, err := f.client.StreamAggregatedResources(ctx)
			if err != nil {
				return err
			}
			_ = s.Send(&discoveryv3.DiscoveryRequest{TypeUrl: ads.ClusterType, Node: n})
			_, err = s.Recv()
			return err
		},
	}
}

func TestXD19_EveryRPCIsBoundToTheCaller(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, cluster(t, "c", "1")))
	other := policy.ProxyID("sidecar/default/orders")
	f.server.SetView(other, 1, view(t, cluster(t, "c", "1")))
	background, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for name, rpc := range f.rpcs() {
		for what, c := range map[string]struct {
			ctx  context.Context
			node *corev3.Node
			want codes.Code
		}{
			"no identity":          {background, node(edge), denied},
			"foreign identity":     {as(background, other), node(edge), denied},
			"unknown identity":     {as(background, "x"), node(edge), denied},
			"two identities":       {as(as(background, other), edge), node(edge), denied},
			"no node":              {as(background, edge), nil, denied},
			"empty node":           {as(background, edge), &corev3.Node{}, denied},
			"identity in the node": {metadata.AppendToOutgoingContext(background, "node", string(edge)), node(edge), denied},
			"own identity":         {as(background, edge), node(edge), codes.OK},
		} {
			if err := rpc(c.ctx, c.node); status.Code(err) != c.want {
				t.Errorf("%s, %s: %v, want %s", name, what, err, c.want)
			}
		}
	}
}

func TestXD19_EachProxyReceivesItsOwnView(t *testing.T) {
	f := newFixture(t)
	other := policy.ProxyID("sidecar/default/orders")
	f.server.SetView(edge, 1, view(t, secret(t, "key-of-edge", "1")))
	f.server.SetView(other, 1, view(t, secret(t, "key-of-orders", "1")))
	c := f.delta(other)
	c.subscribe(ads.SecretType, "key-of-edge", "key-of-orders")
	check(t, c.next(), ads.SecretType, names("key-of-orders@1"), names("key-of-edge"))
}

func TestXD11_NodeIsBoundOnEveryMessageThatHasOne(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, cluster(t, "c", "1")))
	c := f.delta(edge)
	c.subscribe(ads.ClusterType)
	g := check(t, c.next(), ads.ClusterType, names("c@1"), nil)
	c.ack(g)
	c.quiet()
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: ads.ClusterType, Node: node("gateway/default/other")})
	if err := c.end(); status.Code(err) != denied {
		t.Fatalf("another node.id later: %v", err)
	}
}

func TestEnvoyBelowMinimumIsRefused(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, cluster(t, "c", "1")))
	ctx, cancel := context.WithCancel(as(context.Background(), edge))
	defer cancel()
	for minor, want := range map[uint32]codes.Code{39: codes.FailedPrecondition, 40: codes.OK, 41: codes.OK} {
		n := node(edge)
		n.UserAgentVersionType = &corev3.Node_UserAgentBuildVersion{UserAgentBuildVersion: &corev3.BuildVersion{
			Version: &typev3.SemanticVersion{MajorNumber: 1, MinorNumber: minor},
		}}
		for name, rpc := range f.rpcs() {
			if err := rpc(ctx, n); status.Code(err) != want {
				t.Errorf("%s 1.%d: %v", name, minor, err)
			}
		}
	}
}

func TestRequestWithoutTypeIsRefused(t *testing.T) {
	f := newFixture(t)
	c := f.delta(edge)
	c.send(&discoveryv3.DeltaDiscoveryRequest{})
	if err := c.end(); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "type_url") {
		t.Fatal(err)
	}
}
