package xds

import (
	"net/netip"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	upstreamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/credence-mesh/credence/policy"
)

const httpProtocolOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

// port finds the port of a destination; nil where the Set has none.
func (t *translation) port(d destination) (*policy.Workload, *policy.Port) {
	w := t.workloads[d.workload]
	if w == nil {
		return nil, nil
	}
	for i := range w.Ports {
		if w.Ports[i].Port == d.port {
			return w, &w.Ports[i]
		}
	}
	return nil, nil
}

// destinations makes the clusters and endpoints of all that is wanted.
func (t *translation) destinations() {
	wanted := make([]destination, 0, len(t.wanted))
	for d := range t.wanted {
		wanted = append(wanted, d)
	}
	slices.SortFunc(wanted, func(a, b destination) int { return strings.Compare(a.cluster(), b.cluster()) })
	for _, d := range wanted {
		w, p := t.port(d)
		t.clusters = append(t.clusters, t.resource(d.cluster(), t.meshCluster(d, w.SPIFFEID)))
		ap, err := netip.ParseAddrPort(p.Inbound)
		if err != nil {
			t.fail("Workload %s, port %q: inbound address %q: %w", w.Name, p.Name, p.Inbound, err)
			continue
		}
		t.endpoints = append(t.endpoints, t.resource(d.cluster(), assignment(d.cluster(), socketAddress(dialable(ap)))))
	}
}

// dialable replaces "all addresses" by loopback.
func dialable(ap netip.AddrPort) netip.AddrPort {
	switch ap.Addr() {
	case netip.IPv4Unspecified():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), ap.Port())
	case netip.IPv6Unspecified():
		return netip.AddrPortFrom(netip.IPv6Loopback(), ap.Port())
	}
	return ap
}

// meshCluster reaches one port of a workload through its sidecar: mTLS, HTTP/2, exactly that SPIFFE ID.
func (t *translation) meshCluster(d destination, id string) *clusterv3.Cluster {
	c := t.cluster(d.cluster(), &upstreamv3.HttpProtocolOptions{
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{
			IdleTimeout:           durationpb.New(connectionIdle),
			MaxConnectionDuration: durationpb.New(lifetimesOf(t.set.Mesh.SVIDTTL).upstream),
		},
		UpstreamProtocolOptions: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: &corev3.Http2ProtocolOptions{
				MaxConcurrentStreams:        wrapperspb.UInt32(meshStreams),
				InitialStreamWindowSize:     wrapperspb.UInt32(http2StreamWindow),
				InitialConnectionWindowSize: wrapperspb.UInt32(meshConnectionWindow),
				AllowConnect:                true,
			}},
		}},
	})
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}
	c.EdsClusterConfig = &clusterv3.Cluster_EdsClusterConfig{EdsConfig: adsSource()}
	c.TransportSocket = t.upstreamTLS(id)
	return c
}

// applicationCluster reaches the application beside the sidecar: HTTP/1.1 or HTTP/2 in clear text, over what the workload's boundary
// separates.
func (t *translation) applicationCluster(name string, address *corev3.Address, p *policy.Port) *clusterv3.Cluster {
	c := t.cluster(name, &upstreamv3.HttpProtocolOptions{
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{IdleTimeout: durationpb.New(connectionIdle)},
		UpstreamProtocolOptions:   &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: applicationProtocol(p)},
	})
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	c.LoadAssignment = assignment(name, address)
	return c
}

func (t *translation) cluster(name string, options *upstreamv3.HttpProtocolOptions) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                          name,
		ConnectTimeout:                durationpb.New(upstreamConnect),
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(connectionBuffer),
		CircuitBreakers: &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
			MaxConnections:     wrapperspb.UInt32(upstreamCap),
			MaxPendingRequests: wrapperspb.UInt32(upstreamCap),
			MaxRequests:        wrapperspb.UInt32(upstreamCap),
			MaxRetries:         wrapperspb.UInt32(upstreamCap),
		}}},
		TypedExtensionProtocolOptions: map[string]*anypb.Any{httpProtocolOptions: t.pack(options)},
	}
}

func assignment(cluster string, address *corev3.Address) *endpointv3.ClusterLoadAssignment {
	return &endpointv3.ClusterLoadAssignment{
		ClusterName: cluster,
		Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address}},
		}}}},
	}
}
