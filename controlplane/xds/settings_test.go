package xds_test

import (
	"slices"
	"testing"
	"time"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"

	"github.com/credence-mesh/credence/controlplane/xds"
	"github.com/credence-mesh/credence/policy"
)

// settled are gateways of mesh with settings: front with all of them, hops behind two proxies.
func settled() []policy.Gateway {
	routes := func(id string) []policy.VirtualHost {
		return []policy.VirtualHost{host("*",
			with(route(id+"-away", policy.PathExact, "/away"), func(r *policy.Route) {
				r.Redirect = &policy.Redirect{Host: "other.test", Status: 302}
			}),
			route(id, policy.PathPrefix, "/", backend("orders", 9090, 1)),
		)}
	}
	return []policy.Gateway{
		{
			Name: name("front"), SPIFFEID: "spiffe://mesh.test/ns/default/gw/front",
			Settings: policy.GatewaySettings{
				Paths:          policy.PathRules{KeepEscapedSlashes: true, KeepEmptySegments: true},
				TrustedProxies: []string{"10.0.0.0/8", "fd00::/8"}, Underscores: policy.UnderscoresKept, HealthPath: "/healthz",
				ConnectionIdle: time.Minute, StreamIdle: 10 * time.Minute, StreamCap: 2 * time.Hour,
			},
			Listeners: []policy.Listener{
				{Address: "127.0.0.1", Port: 8081, Protocol: policy.HTTP, Sections: []policy.Section{{Name: "http", VirtualHosts: routes("front")}}},
				{Address: "::", Port: 8444, Protocol: policy.HTTPS, Sections: []policy.Section{
					{Name: "any", Certificates: []policy.Name{name("edge")}, VirtualHosts: routes("front-any")},
					{Name: "shop", Hostname: "shop.test", Certificates: []policy.Name{name("edge")}, VirtualHosts: []policy.VirtualHost{
						host("shop.test", route("front-shop", policy.PathPrefix, "/", backend("orders", 9090, 1))),
					}},
				}},
			},
		},
		{
			Name: name("hops"), SPIFFEID: "spiffe://mesh.test/ns/default/gw/hops",
			Settings: policy.GatewaySettings{TrustedHops: 2, Underscores: policy.UnderscoresRejected, StreamIdle: time.Minute},
			Listeners: []policy.Listener{
				{Address: "127.0.0.1", Port: 8082, Protocol: policy.HTTP, Sections: []policy.Section{{Name: "http", VirtualHosts: routes("hops")}}},
			},
		},
	}
}

func listenerNamed(t *testing.T, r *xds.Resources, name string) *listenerv3.Listener {
	t.Helper()
	for _, l := range r.Listeners {
		if l.Name == name {
			out := &listenerv3.Listener{}
			if err := l.Body.UnmarshalTo(out); err != nil {
				t.Fatal(err)
			}
			return out
		}
	}
	t.Fatalf("no listener %s", name)
	return nil
}

func managerOf(t *testing.T, c *listenerv3.FilterChain) *hcmv3.HttpConnectionManager {
	t.Helper()
	m := &hcmv3.HttpConnectionManager{}
	if err := c.GetFilters()[0].GetTypedConfig().UnmarshalTo(m); err != nil {
		t.Fatal(err)
	}
	return m
}

// Every chain of a gateway with trusted proxies has a twin for them, and the twins differ in what they believe alone.
func TestFrontChains(t *testing.T) {
	r := translate(t, mesh(), policy.GatewayID(name("front")))
	for _, l := range []string{"127.0.0.1:8081", "[::]:8444"} {
		chains := listenerNamed(t, r, l).GetFilterChains()
		if len(chains)%2 != 0 || len(chains) == 0 {
			t.Fatalf("%s: %d chains", l, len(chains))
		}
		for i := 0; i < len(chains); i += 2 {
			front, direct := chains[i], chains[i+1]
			if front.GetName() != direct.GetName()+"/front" || len(front.GetFilterChainMatch().GetSourcePrefixRanges()) != 2 ||
				len(direct.GetFilterChainMatch().GetSourcePrefixRanges()) != 0 ||
				!slices.Equal(front.GetFilterChainMatch().GetServerNames(), direct.GetFilterChainMatch().GetServerNames()) {
				t.Errorf("%s: chains %v and %v", l, front.GetFilterChainMatch(), direct.GetFilterChainMatch())
			}
			trusting, other := managerOf(t, front), managerOf(t, direct)
			if trusting.GetUseRemoteAddress().GetValue() || len(trusting.GetOriginalIpDetectionExtensions()) != 1 {
				t.Errorf("%s: trusted proxies are not believed", l)
			}
			if !other.GetUseRemoteAddress().GetValue() || len(other.GetOriginalIpDetectionExtensions()) != 0 || other.GetXffNumTrustedHops() != 0 {
				t.Errorf("%s: strangers are believed", l)
			}
			for _, m := range []*hcmv3.HttpConnectionManager{trusting, other} {
				if m.GetMergeSlashes() || m.GetPathWithEscapedSlashesAction() != hcmv3.HttpConnectionManager_KEEP_UNCHANGED ||
					!m.GetNormalizePath().GetValue() || m.GetHttpFilters()[0].GetName() != "envoy.filters.http.health_check" {
					t.Errorf("%s: paths or health differ by the peer", l)
				}
			}
			if removesForwarded(t, trusting) || !removesForwarded(t, other) {
				t.Errorf("%s: x-forwarded- of trusted proxies is removed, or that of strangers is not", l)
			}
			if trusting.GetRds().GetRouteConfigName() != other.GetRds().GetRouteConfigName() {
				t.Errorf("%s: the routes differ by the peer", l)
			}
		}
	}
}

// removesForwarded tells whether every x-forwarded- is removed early.
func removesForwarded(t *testing.T, m *hcmv3.HttpConnectionManager) bool {
	t.Helper()
	early := &earlyv3.HeaderMutation{}
	if err := m.GetEarlyHeaderMutationExtensions()[0].GetTypedConfig().UnmarshalTo(early); err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(early.GetMutations(), func(h *mutationv3.HeaderMutation) bool {
		return h.GetRemoveOnMatch().GetKeyMatcher().GetPrefix() == "x-forwarded-"
	})
}

func TestTrustedHops(t *testing.T) {
	chains := listenerNamed(t, translate(t, mesh(), policy.GatewayID(name("hops"))), "127.0.0.1:8082").GetFilterChains()
	m := managerOf(t, chains[0])
	if len(chains) != 1 || !m.GetUseRemoteAddress().GetValue() || m.GetXffNumTrustedHops() != 2 || removesForwarded(t, m) {
		t.Errorf("%d chains, use_remote_address %v, %d hops", len(chains), m.GetUseRemoteAddress(), m.GetXffNumTrustedHops())
	}
	if got := m.GetCommonHttpProtocolOptions().GetHeadersWithUnderscoresAction(); got != corev3.HttpProtocolOptions_REJECT_REQUEST {
		t.Errorf("underscores: %v", got)
	}
	if got := m.GetHttpProtocolOptions(); got.GetAcceptHttp_10() {
		t.Error("HTTP/1.0 is accepted without a health path")
	}
}

// The sidecar behind passes on what its gateways let through, and only that one: the widest limit, headers with underscores.
func TestSidecarBehindSettings(t *testing.T) {
	r := translate(t, mesh(), policy.SidecarID(name("orders")))
	behind := managerOf(t, listenerNamed(t, r, "inbound/http1").GetFilterChains()[0])
	if got := behind.GetStreamIdleTimeout().AsDuration(); got != 10*time.Minute {
		t.Errorf("streams may rest for %v", got)
	}
	if got := behind.GetCommonHttpProtocolOptions().GetHeadersWithUnderscoresAction(); got != corev3.HttpProtocolOptions_ALLOW {
		t.Errorf("underscores: %v", got)
	}
	other := managerOf(t, listenerNamed(t, r, "inbound/http0").GetFilterChains()[0])
	if got := other.GetStreamIdleTimeout().AsDuration(); got != 5*time.Minute {
		t.Errorf("another port: streams may rest for %v", got)
	}
	if got := other.GetCommonHttpProtocolOptions().GetHeadersWithUnderscoresAction(); got != corev3.HttpProtocolOptions_DROP_HEADER {
		t.Errorf("another port: underscores: %v", got)
	}
	if behind.GetPathWithEscapedSlashesAction() != hcmv3.HttpConnectionManager_REJECT_REQUEST || !behind.GetMergeSlashes() {
		t.Error("a port reads paths by rules that it does not have")
	}
	set := mesh()
	set.Workloads[1].Ports[1].Paths = policy.PathRules{KeepEmptySegments: true}
	m := managerOf(t, listenerNamed(t, translate(t, set, policy.SidecarID(name("orders"))), "inbound/http1").GetFilterChains()[0])
	if m.GetMergeSlashes() || m.GetPathWithEscapedSlashesAction() != hcmv3.HttpConnectionManager_REJECT_REQUEST {
		t.Error("a port does not read paths by its own rules")
	}
}

// A prefix that is none would let nobody or everybody be believed: nothing is sent.
func TestBadTrustedProxy(t *testing.T) {
	set := mesh()
	i := slices.IndexFunc(set.Gateways, func(g policy.Gateway) bool { return g.Name == name("front") })
	set.Gateways[i].Settings.TrustedProxies = []string{"10.0.0.0"}
	if _, err := xds.Translate(set, policy.GatewayID(name("front")), paths); err == nil {
		t.Error("it was translated")
	}
}
