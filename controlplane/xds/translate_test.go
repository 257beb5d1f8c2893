package xds_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"pgregory.net/rapid"

	"github.com/credence-mesh/credence/controlplane/xds"
	"github.com/credence-mesh/credence/policy"
)

func body[M proto.Message](t *testing.T, rs []xds.Resource, name string, m M) M {
	t.Helper()
	for _, r := range rs {
		if r.Name == name {
			into(t, r.Body, m)
			return m
		}
	}
	t.Fatalf("no resource %q", name)
	return m
}

func into(t *testing.T, a *anypb.Any, m proto.Message) {
	t.Helper()
	if err := a.UnmarshalTo(m); err != nil {
		t.Fatal(err)
	}
}

func managers(t *testing.T, r *xds.Resources) map[string]*hcmv3.HttpConnectionManager {
	t.Helper()
	out := map[string]*hcmv3.HttpConnectionManager{}
	for _, x := range r.Listeners {
		l := &listenerv3.Listener{}
		into(t, x.Body, l)
		for _, fc := range l.GetFilterChains() {
			m := &hcmv3.HttpConnectionManager{}
			into(t, fc.GetFilters()[0].GetTypedConfig(), m)
			out[x.Name+" "+fc.GetName()] = m
		}
	}
	return out
}

func names(rs []xds.Resource) []string {
	var out []string
	for _, r := range rs {
		out = append(out, r.Name)
	}
	return out
}

func TestEveryProxyIsValid(t *testing.T) {
	for _, proxy := range proxies {
		if err := xds.Validate(translate(t, mesh(), proxy)); err != nil {
			t.Errorf("%s: %v", proxy, err)
		}
	}
}

func TestSameSetSameBytes(t *testing.T) {
	for _, proxy := range proxies {
		first := translate(t, mesh(), proxy)
		for range 10 {
			again := translate(t, mesh(), proxy)
			for i, kinds := range [][2][]xds.Resource{
				{first.Clusters, again.Clusters}, {first.Endpoints, again.Endpoints}, {first.Listeners, again.Listeners}, {first.Routes, again.Routes},
			} {
				for j := range kinds[0] {
					if a, b := kinds[0][j], kinds[1][j]; a.Name != b.Name || a.Version != b.Version || string(a.Body.GetValue()) != string(b.Body.GetValue()) {
						t.Fatalf("%s: kind %d: %s and %s differ", proxy, i, a.Name, b.Name)
					}
				}
			}
		}
	}
}

func TestUnknownProxy(t *testing.T) {
	for _, proxy := range []policy.ProxyID{"", "gateway/default/none", "sidecar/default/none", "sidecar/default/edge"} {
		if r, err := xds.Translate(mesh(), proxy, paths); r != nil || !errors.Is(err, xds.ErrUnknownProxy) {
			t.Errorf("%q: %v, %v", proxy, r, err)
		}
	}
}

// A change of routes alone must leave listeners and clusters as they are: no connection is drained, nothing warms.
func TestPolicyLivesInRoutes(t *testing.T) {
	before := translate(t, mesh(), proxies["gateway"])
	set := mesh()
	set.Gateways[0].Listeners[0].Sections[1].VirtualHosts[1].Routes[0].ID = "other"
	after := translate(t, set, proxies["gateway"])
	if d := cmp.Diff(versions(before.Listeners), versions(after.Listeners)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(versions(before.Clusters), versions(after.Clusters)); d != "" {
		t.Error(d)
	}
	changed := 0
	for name, v := range versions(after.Routes) {
		if versions(before.Routes)[name] != v {
			changed++
		}
	}
	if changed != 1 {
		t.Errorf("%d route configurations changed, want only that of the listener", changed)
	}
}

func versions(rs []xds.Resource) map[string]string {
	out := map[string]string{}
	for _, r := range rs {
		out[r.Name] = r.Version
	}
	return out
}

// authzPlace is the place of ext_authz in a manager, or -1.
func authzPlace(m *hcmv3.HttpConnectionManager) int {
	return slices.IndexFunc(m.GetHttpFilters(), func(f *hcmv3.HttpFilter) bool { return f.GetName() == authzFilter })
}

func TestEveryJudgedManager(t *testing.T) {
	for c, proxy := range proxies {
		for where, m := range managers(t, translate(t, mesh(), proxy)) {
			outbound := strings.HasPrefix(where, xds.OutboundName)
			at := authzPlace(m)
			if outbound != (at < 0) {
				t.Errorf("%s %s: ext_authz is filter %d", c, where, at)
			}
			if outbound {
				continue
			}
			authz := &extauthzv3.ExtAuthz{}
			into(t, m.GetHttpFilters()[at].GetTypedConfig(), authz)
			if authz.GetFailureModeAllow() || authz.GetStatusOnError().GetCode() != 503 || authz.GetValidateMutations() ||
				!authz.GetEncodeRawHeaders() || !authz.GetIncludePeerCertificate() || authz.GetClearRouteCache() {
				t.Errorf("%s %s: ext_authz %v", c, where, authz)
			}
			// TestFrontChains looks at the gateway that keeps paths.
			if c != "front" && (!m.GetNormalizePath().GetValue() || !m.GetMergeSlashes() ||
				m.GetPathWithEscapedSlashesAction() != hcmv3.HttpConnectionManager_REJECT_REQUEST) {
				t.Errorf("%s %s: paths are not normalised", c, where)
			}
		}
	}
}

// Identity headers of a client or an application are removed before routing and Check, on every side; x-forwarded- at the edge alone.
func TestForgedHeadersGoEarly(t *testing.T) {
	for c, proxy := range proxies {
		for where, m := range managers(t, translate(t, mesh(), proxy)) {
			config := string(m.GetEarlyHeaderMutationExtensions()[0].GetTypedConfig().GetValue())
			for _, prefix := range []string{
				"x-credence-", "x-envoy-", "proxy-authorization", "txn-token",
				"x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url",
			} {
				if !strings.Contains(config, prefix) {
					t.Errorf("%s %s: %s stays", c, where, prefix)
				}
			}
			if c == "front" || c == "hops" {
				continue // TestFrontChains, TestTrustedHops
			}
			if edge := c == "gateway"; dropsPrefixOf(t, m, "x-forwarded-for") != edge || m.GetUseRemoteAddress().GetValue() != edge {
				t.Errorf("%s %s: x-forwarded- removed, remote address used: want %v", c, where, edge)
			}
		}
	}
}

func TestGatewayNeedsOnlyItsBackends(t *testing.T) {
	r := translate(t, mesh(), proxies["gateway"])
	want := []string{"workload/default/orders/80", "workload/default/web/8080"}
	if d := cmp.Diff(want, names(r.Clusters)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want, names(r.Endpoints)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"ALL", "certificate/default/edge", "spiffe://mesh.test/ns/default/gw/edge"}, r.Secrets); d != "" {
		t.Error(d)
	}
}

// A star host exists exactly where the manifests leave hostnames out.
func TestStarHostOnlyWhereTheSetHasOne(t *testing.T) {
	set := mesh()
	vhs := &set.Gateways[0].Listeners[0].Sections[1].VirtualHosts
	*vhs = (*vhs)[1:]
	rc := body(t, translate(t, set, proxies["gateway"]).Routes, "127.0.0.1:8080", &routev3.RouteConfiguration{})
	if d := cmp.Diff([]string{"admin.test", "api.test"}, domainsOf(rc)); d != "" {
		t.Error(d)
	}
}

func domainsOf(rc *routev3.RouteConfiguration) []string {
	var out []string
	for _, vh := range rc.GetVirtualHosts() {
		out = append(out, vh.GetDomains()...)
	}
	return out
}

func TestHostOfAnotherSectionIsMisdirected(t *testing.T) {
	r := translate(t, mesh(), proxies["gateway"])
	for section, want := range map[string]map[string]uint32{
		"any":  {"*": 0, "lost.test": 421, "shop.example.com": 421, "*.example.com": 421},
		"wild": {"*.example.com": 0, "shop.example.com": 421},
		"shop": {"shop.example.com": 0},
	} {
		got := map[string]uint32{}
		for _, vh := range body(t, r.Routes, "[::]:8443/"+section, &routev3.RouteConfiguration{}).GetVirtualHosts() {
			got[vh.GetDomains()[0]] = vh.GetRoutes()[0].GetDirectResponse().GetStatus()
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("section %s: %s", section, d)
		}
	}
}

// A section without any certificate is not served; its siblings are.
func TestMissingCertificateCostsItsSectionOnly(t *testing.T) {
	l := body(t, translate(t, mesh(), proxies["gateway"]).Listeners, "[::]:8443", &listenerv3.Listener{})
	var chains []string
	for _, c := range l.GetFilterChains() {
		chains = append(chains, c.GetName()+" "+strings.Join(c.GetFilterChainMatch().GetServerNames(), ","))
	}
	if d := cmp.Diff([]string{"any ", "shop shop.example.com", "wild *.example.com"}, chains); d != "" {
		t.Error(d)
	}
}

func TestMeshHopsProveIdentity(t *testing.T) {
	r := translate(t, mesh(), proxies["sidecar-none"])
	l := body(t, r.Listeners, "inbound/http0", &listenerv3.Listener{})
	ctx := &tlsv3.DownstreamTlsContext{}
	into(t, l.GetFilterChains()[0].GetTransportSocket().GetTypedConfig(), ctx)
	if !ctx.GetRequireClientCertificate().GetValue() || !ctx.GetDisableStatefulSessionResumption() || !ctx.GetDisableStatelessSessionResumption() {
		t.Errorf("inbound TLS: %v", ctx)
	}
	m := managers(t, r)["inbound/http0 http0"]
	life := m.GetCommonHttpProtocolOptions().GetMaxConnectionDuration().AsDuration() + m.GetDrainTimeout().AsDuration()
	if half := mesh().Mesh.SVIDTTL / 2; life == 0 || life > half {
		t.Errorf("inbound connections live %v, more than %v", life, half)
	}
}

func TestOutboundNames(t *testing.T) {
	rc := body(t, translate(t, mesh(), proxies["caller"]).Routes, xds.OutboundName, &routev3.RouteConfiguration{})
	want := []string{
		"orders.default", "orders.default:80", "orders", "orders:80",
		"orders.default:9090", "orders:9090",
		// "orders.shop" alone is the workload orders of the namespace shop.
		"orders.shop.default", "orders.shop.default:7070",
		"web.default", "web.default:8080", "web", "web:8080",
		"orders.shop", "orders.shop:8081",
	}
	if d := cmp.Diff(want, domainsOf(rc)); d != "" {
		t.Error(d)
	}
	if rc.GetIgnorePortInHostMatching() {
		t.Error("ports of one name could not be told apart")
	}
}

func TestUserBoundaryUsesSockets(t *testing.T) {
	l := body(t, translate(t, mesh(), proxies["caller"]).Listeners, xds.OutboundName, &listenerv3.Listener{})
	if p := l.GetAddress().GetPipe(); p.GetPath() != "/run/credence/w/1/outbound.sock" || p.GetMode() != 0o600 {
		t.Errorf("outbound socket: %v", p)
	}
	if _, err := xds.Translate(mesh(), proxies["caller"], xds.Paths{}); err == nil {
		t.Error("no directory for the sockets: accepted")
	}
}

// Header modifiers run after ext_authz: they may not forge what Check says, nor name what Envoy refuses.
func TestRouteCannotForgeIdentity(t *testing.T) {
	for _, header := range []string{"x-credence-subject", "X-Credence-Peer", "host", ":path"} {
		set := mesh()
		r := &set.Gateways[0].Listeners[0].Sections[1].VirtualHosts[0].Routes[0]
		r.Request.Set = []policy.NameValue{{Name: header, Value: "root"}}
		if _, err := xds.Translate(set, proxies["gateway"], paths); err == nil || !strings.Contains(err.Error(), "HTTPRoute default/r") {
			t.Errorf("%s: %v", header, err)
		}
	}
}

func TestRedirectPort(t *testing.T) {
	for _, c := range []struct {
		name     string
		protocol policy.Protocol
		port     uint16
		redirect policy.Redirect
		want     uint32
	}{
		{"https, client's host, odd listener", policy.HTTP, 8080, policy.Redirect{Scheme: "https"}, 443},
		{"https, client's host, port 80", policy.HTTP, 80, policy.Redirect{Scheme: "https"}, 0},
		{"https, new host", policy.HTTP, 8080, policy.Redirect{Scheme: "https", Host: "b.test"}, 0},
		{"same scheme, new host, odd listener", policy.HTTP, 8080, policy.Redirect{Host: "b.test"}, 8080},
		{"same scheme, new host, port 80", policy.HTTP, 80, policy.Redirect{Host: "b.test"}, 0},
		{"same scheme, client's host", policy.HTTP, 8080, policy.Redirect{}, 0},
		{"a port, client's host", policy.HTTP, 8080, policy.Redirect{Port: 80}, 80},
		{"a port, new host", policy.HTTP, 8080, policy.Redirect{Host: "b.test", Port: 8443}, 8443},
		{"https listener, new host", policy.HTTPS, 443, policy.Redirect{Host: "b.test"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := mesh()
			c.redirect.Status = 302
			r := route("r", policy.PathPrefix, "/")
			r.Redirect = &c.redirect
			set.Gateways[0].Listeners = []policy.Listener{{Address: "127.0.0.1", Port: c.port, Protocol: c.protocol, Sections: []policy.Section{
				{Name: "s", Certificates: []policy.Name{name("edge")}, VirtualHosts: []policy.VirtualHost{host("*", r)}},
			}}}
			rc := &routev3.RouteConfiguration{}
			into(t, translate(t, set, proxies["gateway"]).Routes[0].Body, rc)
			if got := rc.GetVirtualHosts()[0].GetRoutes()[0].GetRedirect().GetPortRedirect(); got != c.want {
				t.Errorf("port %d, want %d", got, c.want)
			}
		})
	}
}

// Whatever routes a Set holds, what translates is valid, and each of its routes gives Check its own id.
func TestTranslatedIsValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := mesh()
		routes := rapid.SliceOfN(rapid.Custom(drawRoute), 0, 8).Draw(t, "routes")
		set.Gateways[0].Listeners[0].Sections[1].VirtualHosts = []policy.VirtualHost{host("*", routes...)}
		r, err := xds.Translate(set, proxies["gateway"], paths)
		if err != nil {
			t.Fatal(err)
		}
		if err := xds.Validate(r); err != nil {
			t.Fatal(err)
		}
	})
}

func drawRoute(t *rapid.T) policy.Route {
	r := route(rapid.StringMatching(`[0-9a-f]{8}`).Draw(t, "id"), policy.PathPrefix, rapid.StringMatching(`(/[a-z%0-9.~]{1,5}){1,3}`).Draw(t, "path"))
	r.Match.PathKind = rapid.SampledFrom([]policy.PathMatchKind{policy.PathExact, policy.PathPrefix}).Draw(t, "kind")
	for range rapid.IntRange(0, 4).Draw(t, "backends") {
		b := backend(rapid.SampledFrom([]string{"web", "nobody"}).Draw(t, "to"), 8080, rapid.Uint32Range(0, 1_000_000).Draw(t, "weight"))
		b.Missing = rapid.Bool().Draw(t, "missing")
		r.Backends = append(r.Backends, b)
	}
	if rapid.Bool().Draw(t, "rewrite") {
		value := rapid.StringMatching(`(/[a-z]{0,3}){1,3}`).Draw(t, "value")
		r.Rewrite = &policy.Rewrite{Path: &policy.PathChange{Prefix: r.Match.PathKind == policy.PathPrefix, Value: value}}
	}
	return r
}
