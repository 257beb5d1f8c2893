package xds_test

import (
	"slices"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	upstreamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"

	"github.com/credence-mesh/credence/controlplane/xds"
	"github.com/credence-mesh/credence/policy"
)

const webFilter = "envoy.filters.http.grpc_web"

// grpcMesh is mesh with one GRPCRoute, at the plain listener of edge, and one port that speaks HTTP/2.
func grpcMesh(limit time.Duration) *policy.Set {
	set := mesh()
	set.Gateways[0].Settings.StreamCap = limit
	hosts := set.Gateways[0].Listeners[0].Sections[1].VirtualHosts
	call := with(route("call", policy.PathExact, "/shop.v1.Orders/GetOrder", backend("orders", 9090, 1)), func(r *policy.Route) {
		r.GRPC, r.Match.Method = true, "POST"
	})
	set.Gateways[0].Listeners[0].Sections[1].VirtualHosts = append(hosts, host("rpc.test", call))
	i := slices.IndexFunc(set.Workloads, func(w policy.Workload) bool { return w.Name == name("orders") })
	set.Workloads[i].Ports[1].HTTP2 = true
	return set
}

// webPlace is where the gRPC-Web filter stands; -1: nowhere. It must be off by default.
func webPlace(t *testing.T, m *hcmv3.HttpConnectionManager) int {
	t.Helper()
	i := slices.IndexFunc(m.GetHttpFilters(), func(f *hcmv3.HttpFilter) bool { return f.GetName() == webFilter })
	if i >= 0 && !m.GetHttpFilters()[i].GetDisabled() {
		t.Error("gRPC-Web is translated on every route")
	}
	return i
}

// gRPC-Web is translated where gRPC is routed and nowhere else, before Check is asked, and a client's deadline is never longer than the cap.
func TestGRPCRoutes(t *testing.T) {
	for _, c := range []struct{ setting, want time.Duration }{{0, 24 * time.Hour}, {time.Minute, time.Minute}} {
		set := grpcMesh(c.setting)
		edge := translate(t, set, policy.GatewayID(name("edge")))
		if err := xds.Validate(edge); err != nil {
			t.Fatal(err)
		}
		for name, m := range managers(t, edge) {
			place := webPlace(t, m)
			if plain := m.GetRds().GetRouteConfigName() == "127.0.0.1:8080"; plain != (place >= 0) {
				t.Errorf("%s: filter at %d", name, place)
			} else if plain && place >= authzPlace(m) {
				t.Errorf("%s: gRPC-Web is translated at %d, after Check at %d", name, place, authzPlace(m))
			}
		}
		rc := body(t, edge.Routes, "127.0.0.1:8080", &routev3.RouteConfiguration{})
		for _, vh := range rc.GetVirtualHosts() {
			for _, r := range vh.GetRoutes() {
				limit := r.GetRoute().GetMaxStreamDuration()
				_, on := r.GetTypedPerFilterConfig()[webFilter]
				if call := vh.GetName() == "rpc.test"; on != call || (limit != nil) != call {
					t.Errorf("host %s, route %s: gRPC-Web %t, deadline %v", vh.GetName(), r.GetName(), on, limit)
				} else if call && (limit.GetGrpcTimeoutHeaderMax().AsDuration() != c.want || limit.GetMaxStreamDuration() != nil) {
					t.Errorf("the client's deadline is bounded by %v, want %v", limit, c.want)
				}
			}
		}
	}
}

// An application is spoken to in the protocol of its port.
func TestApplicationProtocols(t *testing.T) {
	r := translate(t, grpcMesh(0), policy.SidecarID(name("orders")))
	if err := xds.Validate(r); err != nil {
		t.Fatal(err)
	}
	for cluster, http2 := range map[string]bool{"application/http0": false, "application/http1": true} {
		options := &upstreamv3.HttpProtocolOptions{}
		into(t, body(t, r.Clusters, cluster, &clusterv3.Cluster{}).GetTypedExtensionProtocolOptions()["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"], options)
		if got := options.GetExplicitHttpConfig(); (got.GetHttp2ProtocolOptions() != nil) != http2 || (got.GetHttpProtocolOptions() != nil) == http2 {
			t.Errorf("%s: %v", cluster, got)
		}
	}
	for name, m := range managers(t, r) {
		if on := m.GetRds().GetRouteConfigName() == "inbound/http1"; on != (webPlace(t, m) >= 0) {
			t.Errorf("%s: gRPC-Web %t", name, !on)
		}
	}
	limit := body(t, r.Routes, "inbound/http1", &routev3.RouteConfiguration{}).GetVirtualHosts()[0].GetRoutes()[0].GetRoute().GetMaxStreamDuration()
	if got := limit.GetGrpcTimeoutHeaderMax().AsDuration(); got != time.Hour {
		t.Errorf("the client's deadline is bounded by %v, want the lifetime of an SVID", got)
	}
}

// A name without a port is the port 80, else the only one, else the one named http.
func TestBarePort(t *testing.T) {
	for want, ports := range map[uint16][]policy.Port{
		81: {{Name: "a", Port: 81}}, 80: {{Name: "http", Port: 8080}, {Name: "x", Port: 80}}, 8080: {{Name: "grpc", Port: 70}, {Name: "http", Port: 8080}},
		0: {{Name: "a", Port: 1}, {Name: "b", Port: 2}},
	} {
		set := mesh()
		for i := range ports {
			ports[i].Inbound, ports[i].Route = "127.0.0.1:1", policy.RouteID(ports[i].Name)
		}
		set.Workloads[3].Ports = ports
		rc := body(t, translate(t, set, policy.SidecarID(name("batch"))).Routes, "outbound", &routev3.RouteConfiguration{})
		var bare string
		for _, vh := range rc.GetVirtualHosts() {
			if slices.Contains(vh.GetDomains(), "web") {
				bare += vh.GetName()
			}
		}
		wanted := ""
		if want != 0 {
			wanted = "workload/default/web/" + map[uint16]string{80: "80", 81: "81", 8080: "8080"}[want]
		}
		if bare != wanted {
			t.Errorf("the name web is %q, want %q", bare, wanted)
		}
	}
}
