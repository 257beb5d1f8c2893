package xds_test

import (
	"regexp"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"

	"github.com/credence-mesh/credence/policy"
)

// corsRoutes are the routes that a gateway has for one route with this filter.
func corsRoutes(t *testing.T, c *policy.CORS) []*routev3.Route {
	t.Helper()
	set := mesh()
	set.Gateways = []policy.Gateway{{Name: name("edge"), SPIFFEID: "spiffe://mesh.test/ns/default/gw/edge", Listeners: []policy.Listener{{
		Address: "127.0.0.1", Port: 8080, Protocol: policy.HTTP, Sections: []policy.Section{{Name: "http", VirtualHosts: []policy.VirtualHost{
			host("*", with(route("r", policy.PathPrefix, "/", backend("web", 8080, 1)), func(r *policy.Route) { r.Match.Method, r.CORS = "GET", c })),
		}}},
	}}}}
	return body(t, translate(t, set, policy.GatewayID(name("edge"))).Routes, "127.0.0.1:8080", &routev3.RouteConfiguration{}).GetVirtualHosts()[0].GetRoutes()
}

// Envoy answers an origin that matches with that origin itself, as a whole: no beginning, end or likeness of one is enough.
func TestOriginsThatMatch(t *testing.T) {
	for _, c := range []struct {
		allowed     string
		credentials bool
		yes, no     []string
	}{
		{"https://app.test", true, []string{"https://app.test"}, []string{
			"http://app.test", "https://app.test:8443", "https://app.test.evil.test", "https://appxtest", "https://x.app.test", "null", "*", "",
		}},
		{"https://app.test:8443", false, []string{"https://app.test:8443"}, []string{"https://app.test", "https://app.test:84431"}},
		{"https://*.app.test", true, []string{"https://a.app.test", "https://a.b.app.test"}, []string{
			"https://app.test", "https://.app.test", "https://evil.test/.app.test", "https://evil.test?.app.test", "https://u@x.app.test", "https://xapp.test", "null",
		}},
		{"http://*:81", false, []string{"http://a.test:81", "http://127.0.0.1:81", "http://[::1]:81"}, []string{"http://a.test", "https://a.test:81", "http://a.test:810", "null"}},
		{"*", false, []string{"https://a.test", "null", "chrome-extension://abc"}, []string{"", "*", "a.test", "https://a.test, https://b.test"}},
		// Every sandboxed frame and every local file is "null": nobody to trust with credentials.
		{"*", true, []string{"https://a.test"}, []string{"", "*", "null", "https://a.test, https://b.test"}},
	} {
		routes := corsRoutes(t, &policy.CORS{AllowOrigins: []string{c.allowed}, AllowCredentials: c.credentials})
		if len(routes) != 2 {
			t.Fatalf("%s: %d routes, want one for preflights and one for the rest", c.allowed, len(routes))
		}
		filter := &corsv3.CorsPolicy{}
		into(t, routes[1].GetTypedPerFilterConfig()["envoy.filters.http.cors"], filter)
		var preflight string
		for _, h := range routes[0].GetMatch().GetHeaders() {
			if h.GetName() == "origin" {
				preflight = h.GetStringMatch().GetSafeRegex().GetRegex()
			}
		}
		for what, pattern := range map[string]string{"filter": filter.GetAllowOriginStringMatch()[0].GetSafeRegex().GetRegex(), "preflight": preflight} {
			e := regexp.MustCompile(`^(?:` + pattern + `)$`)
			for _, o := range c.yes {
				if !e.MatchString(o) {
					t.Errorf("%s of %s: %q is not taken", what, c.allowed, o)
				}
			}
			for _, o := range c.no {
				if e.MatchString(o) {
					t.Errorf("%s of %s, credentials %t: %q is taken", what, c.allowed, c.credentials, o)
				}
			}
		}
	}
}

// Without an origin there is no preflight to answer: OPTIONS goes where other requests go, and no list of origins means any.
func TestNoOriginNoPreflight(t *testing.T) {
	routes := corsRoutes(t, &policy.CORS{AllowCredentials: true})
	if len(routes) != 1 {
		t.Fatalf("%d routes, want 1", len(routes))
	}
	filter := &corsv3.CorsPolicy{}
	into(t, routes[0].GetTypedPerFilterConfig()["envoy.filters.http.cors"], filter)
	if n := len(filter.GetAllowOriginStringMatch()); n != 0 {
		t.Errorf("%d expressions of origins", n)
	}
}
