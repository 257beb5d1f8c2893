package xds_test

import (
	"regexp"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/credence-mesh/credence/policy"
)

// TestEverySpellingOfAPath: a request whose path is the route's once it is decoded is the route's, however it is spelt.
func TestEverySpellingOfAPath(t *testing.T) {
	for _, c := range []struct {
		kind   policy.PathMatchKind
		path   string
		of, no []string
	}{
		{policy.PathExact, "/a@b!", []string{"/a@b!", "/a%40b!", "/a%40b%21"}, []string{"/a@b", "/a@b!/", "/a@b!x", "/aXb!", "/a%2540b!"}},
		{policy.PathExact, "/a%3ab", []string{"/a:b", "/a%3ab", "/a%3Ab"}, []string{"/a%3Bb", "/ab"}},
		{policy.PathPrefix, "/a(b)*+$", []string{"/a(b)*+$", "/a%28b)%2A%2b%24/x/y"}, []string{"/a(b)*+$x", "/ab", "/x/a(b)*+$"}},
		{policy.PathPrefix, "/%C3%A9.", []string{"/%C3%A9.", "/%c3%a9./x"}, []string{"/%C3%A9x"}},
		{policy.PathExact, "/a%3fb", []string{"/a%3Fb"}, []string{"/a?b"}},
		{policy.PathExact, "/a%25b", []string{"/a%25b"}, []string{"/a%b"}},
		{policy.PathExact, "/a%2Fb", []string{"/a%2Fb", "/a%2fb"}, []string{"/a/b"}},
	} {
		t.Run(c.path, func(t *testing.T) {
			set := mesh()
			set.Gateways[0].Listeners[0].Sections[1].VirtualHosts = []policy.VirtualHost{host("*", route("r", c.kind, c.path))}
			rc := &routev3.RouteConfiguration{}
			for _, r := range translate(t, set, proxies["gateway"]).Routes {
				if r.Name == "127.0.0.1:8080" {
					into(t, r.Body, rc)
				}
			}
			hosts := rc.GetVirtualHosts()
			pattern := hosts[len(hosts)-1].GetRoutes()[0].GetMatch().GetSafeRegex().GetRegex()
			if pattern == "" {
				t.Fatal("the path is matched by one spelling")
			}
			whole := regexp.MustCompile(`\A(?:` + pattern + `)\z`) // as Envoy does
			for _, p := range c.of {
				if !whole.MatchString(p) {
					t.Errorf("%s is not matched by %s", p, pattern)
				}
			}
			for _, p := range c.no {
				if whole.MatchString(p) {
					t.Errorf("%s is matched by %s", p, pattern)
				}
			}
		})
	}
}
