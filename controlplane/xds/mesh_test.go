package xds_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/credence-mesh/credence/controlplane/xds"
	"github.com/credence-mesh/credence/policy"
)

var paths = xds.Paths{WorkloadDir: "/run/credence/w/1"}

func name(n string) policy.Name { return policy.Name{Namespace: "default", Name: n} }

func workload(n policy.Name, boundary policy.Boundary, inbound int, ports ...uint16) policy.Workload {
	w := policy.Workload{
		Name: n, SPIFFEID: "spiffe://mesh.test/ns/" + n.Namespace + "/wl/" + n.Name,
		Boundary: boundary,
	}
	if boundary == policy.BoundaryNone {
		w.Outbound = fmt.Sprintf("127.0.0.1:%d", inbound)
	}
	for i, p := range ports {
		w.Ports = append(w.Ports, policy.Port{
			Name: fmt.Sprintf("http%d", i), Port: p, Inbound: fmt.Sprintf("127.0.0.1:%d", inbound+1+i),
			Route: policy.RouteID(fmt.Sprintf("in-%s-%d", n.Name, p)),
		})
	}
	return w
}

func backend(n string, port uint16, weight uint32) policy.Backend {
	return policy.Backend{Workload: name(n), Port: port, Weight: weight}
}

func route(id string, kind policy.PathMatchKind, path string, backends ...policy.Backend) policy.Route {
	return policy.Route{
		ID:     policy.RouteID(id),
		Origin: policy.Origin{Kind: "HTTPRoute", Name: name("r"), Rule: "rules[0]"},
		Match:  policy.RouteMatch{PathKind: kind, Path: path}, Backends: backends,
	}
}

// with changes a route in place of a literal.
func with(r policy.Route, change func(*policy.Route)) policy.Route {
	change(&r)
	return r
}

func host(h string, routes ...policy.Route) policy.VirtualHost {
	return policy.VirtualHost{Host: h, Routes: routes}
}

// mesh is a Set with everything that the package translates.
func mesh() *policy.Set {
	prefix := policy.PathPrefix
	plain := policy.Listener{Address: "127.0.0.1", Port: 8080, Protocol: policy.HTTP, Sections: []policy.Section{
		{Name: "admin", Hostname: "admin.test"},
		{Name: "http", VirtualHosts: []policy.VirtualHost{
			host("*", actions()...),
			host("api.test", route("api", policy.PathExact, "/%61pi", backend("web", 8080, 1)), route("api-rest", prefix, "/", backend("web", 8080, 1))),
		}},
	}}
	secure := policy.Listener{Address: "::", Port: 8443, Protocol: policy.HTTPS, Sections: []policy.Section{
		{Name: "any", Certificates: []policy.Name{name("edge")}, VirtualHosts: []policy.VirtualHost{
			host("*", route("any", prefix, "/", backend("web", 8080, 1))),
			host("shop.example.com", route("not-mine", prefix, "/", backend("web", 8080, 1))),
		}},
		{Name: "lost", Hostname: "lost.test", Certificates: []policy.Name{name("gone")}, VirtualHosts: []policy.VirtualHost{
			host("lost.test", route("lost", prefix, "/", backend("web", 8080, 1))),
		}},
		{Name: "shop", Hostname: "shop.example.com", Certificates: []policy.Name{name("edge"), name("gone")}, VirtualHosts: []policy.VirtualHost{
			host("shop.example.com", route("shop", prefix, "/", backend("web", 8080, 1))),
		}},
		{Name: "wild", Hostname: "*.example.com", Certificates: []policy.Name{name("edge")}, VirtualHosts: []policy.VirtualHost{
			host("*.example.com", route("wild", prefix, "/", backend("orders", 80, 1))),
		}},
	}}
	return &policy.Set{
		Mesh: policy.Mesh{TrustDomain: "mesh.test", Development: true, CATTL: 24 * time.Hour, SVIDTTL: time.Hour},
		Gateways: append([]policy.Gateway{
			{Name: name("edge"), SPIFFEID: "spiffe://mesh.test/ns/default/gw/edge", Listeners: []policy.Listener{plain, secure}},
		}, settled()...),
		Workloads: []policy.Workload{
			workload(name("batch"), policy.BoundaryUser, 20100),
			workload(name("orders"), policy.BoundaryUser, 20200, 80, 9090),
			workload(name("orders.shop"), policy.BoundaryNone, 20300, 7070),
			workload(name("web"), policy.BoundaryNone, 20400, 8080),
			workload(policy.Name{Namespace: "shop", Name: "orders"}, policy.BoundaryNone, 20500, 8081),
		},
		Certificates: []policy.Certificate{{Name: name("edge"), SelfSignedHosts: []string{"localhost"}}},
	}
}

// actions are routes of every shape.
func actions() []policy.Route {
	prefix := policy.PathPrefix
	return []policy.Route{
		with(route("match", prefix, "/match", backend("web", 8080, 1)), func(r *policy.Route) {
			r.Match.Method = "POST"
			r.Match.Headers = []policy.NameValue{{Name: "x-a", Value: "1"}}
			r.Match.Query = []policy.NameValue{{Name: "q", Value: "b"}}
			r.RequestTimeout, r.BackendTimeout = 10*time.Second, 2*time.Second
		}),
		with(route("regex", policy.PathRegex, `/v[0-9]+/.*`, backend("web", 8080, 1)), func(r *policy.Route) {
			r.Match.HeaderRegex = []policy.NameValue{{Name: "x-b", Value: `1\..*`}}
			r.Match.QueryRegex = []policy.NameValue{{Name: "r", Value: `[a-z]+`}}
		}),
		with(route("cors", prefix, "/cors", backend("web", 8080, 1)), func(r *policy.Route) {
			r.Match.Method = "GET"
			r.CORS = &policy.CORS{
				AllowOrigins: []string{"http://*:81", "https://*.wild.test", "https://app.test"}, AllowMethods: []string{"GET", "PUT"},
				AllowHeaders: []string{"authorization"}, ExposeHeaders: []string{"x-b"}, AllowCredentials: true, MaxAge: 10 * time.Minute,
			}
		}),
		with(route("cors-any", prefix, "/any"), func(r *policy.Route) {
			r.CORS = &policy.CORS{AllowOrigins: []string{"*"}, ExposeHeaders: []string{"*"}, MaxAge: 5 * time.Second}
		}),
		with(route("headers", prefix, "/headers", backend("web", 8080, 1)), func(r *policy.Route) {
			r.Request = policy.HeaderChange{
				Set: []policy.NameValue{{Name: "x-set", Value: "100%"}}, Add: []policy.NameValue{{Name: "x-add", Value: ""}}, Remove: []string{"cookie"},
			}
			r.Response = policy.HeaderChange{Set: []policy.NameValue{{Name: "x-res", Value: "1"}}, Remove: []string{"server"}}
		}),
		route("split", prefix, "/split", backend("web", 8080, 90), policy.Backend{Workload: name("nobody"), Port: 1, Weight: 10, Missing: true}),
		route("weights", prefix, "/weights", backend("web", 8080, 1), backend("orders", 80, 2), backend("orders", 9090, 0), backend("web", 8080, 1)),
		route("missing", prefix, "/missing", policy.Backend{Workload: name("nobody"), Port: 1, Weight: 1, Missing: true}),
		route("unknown", prefix, "/unknown", backend("web", 1, 1)),
		route("nothing", prefix, "/nothing", backend("web", 8080, 0)),
		with(route("rewrite-all", prefix, "/full", backend("web", 8080, 1)), func(r *policy.Route) {
			r.Rewrite = &policy.Rewrite{Host: "inner.test", Path: &policy.PathChange{Value: `/new\1`}}
		}),
		with(route("rewrite-prefix", prefix, "/old", backend("web", 8080, 1)), func(r *policy.Route) {
			r.Rewrite = &policy.Rewrite{Path: &policy.PathChange{Prefix: true, Value: "/new/"}}
		}),
		with(route("rewrite-away", prefix, "/a.b", backend("web", 8080, 1)), func(r *policy.Route) {
			r.Rewrite = &policy.Rewrite{Path: &policy.PathChange{Prefix: true, Value: "/"}}
		}),
		with(route("redirect", prefix, "/r"), func(r *policy.Route) {
			r.Redirect = &policy.Redirect{Scheme: "https", Status: 301, Path: &policy.PathChange{Prefix: true, Value: "/x"}}
		}),
		with(route("redirect-host", policy.PathExact, "/rh"), func(r *policy.Route) {
			r.Redirect = &policy.Redirect{Host: "other.test", Status: 302, Path: &policy.PathChange{Value: "/y"}}
		}),
		with(route("rewrite-root", prefix, "/", backend("web", 8080, 1)), func(r *policy.Route) {
			r.Rewrite = &policy.Rewrite{Path: &policy.PathChange{Prefix: true, Value: "/base"}}
		}),
	}
}

// proxies of mesh, by golden case.
var proxies = map[string]policy.ProxyID{
	"gateway":      policy.GatewayID(name("edge")),
	"sidecar-user": policy.SidecarID(name("orders")),
	"sidecar-none": policy.SidecarID(name("web")),
	"caller":       policy.SidecarID(name("batch")),
	"front":        policy.GatewayID(name("front")),
	"hops":         policy.GatewayID(name("hops")),
}

func translate(t testing.TB, set *policy.Set, proxy policy.ProxyID) *xds.Resources {
	t.Helper()
	r, err := xds.Translate(set, proxy, paths)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
