package route_test

import (
	"testing"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/route"
)

// TestMatchesOfOthersAlone: where only another reading than ours takes a route, it is not the request's.
func TestMatchesOfOthersAlone(t *testing.T) {
	joined := with(prefix("joined", "/h"), func(r *policy.Route) { r.Match.Headers = []policy.NameValue{{Name: "x-v", Value: "1,2"}} })
	tb := table(listener(80, section("a", "", vhost("*", joined))))
	if got := find(tb, get("GET h/h", "x-v: 1", "x-v: 2")); got != (answer{"", route.NoRoute}) {
		t.Errorf("alone: %v", got)
	}
	// With the same access as the one that we take, ours is found, not the first.
	ours := prefix("ours", "/")
	ours.Access = joined.Access
	tb = table(listener(80, section("a", "", vhost("*", joined, ours))))
	if got := find(tb, get("GET h/h", "x-v: 1", "x-v: 2")); got != (answer{"ours", route.Found}) {
		t.Errorf("with the same access: %v", got)
	}
}

// TestRequestWithoutHeaders: a match of headers takes no request that has none to look at.
func TestRequestWithoutHeaders(t *testing.T) {
	for what, m := range map[string]policy.RouteMatch{
		"value":      {PathKind: policy.PathPrefix, Path: "/", Headers: []policy.NameValue{{Name: "x-v", Value: ""}}},
		"expression": {PathKind: policy.PathPrefix, Path: "/", HeaderRegex: []policy.NameValue{{Name: "x-v", Value: ".*"}}},
	} {
		tb := table(listener(80, section("a", "", vhost("*", policy.Route{ID: "r", Match: m}))))
		for _, r := range []*route.Request{{Method: "GET", Host: "h", Path: "/"}, get("GET h/", "x-w: 1")} {
			if got := find(tb, r); got != (answer{"", route.NoRoute}) {
				t.Errorf("%s: %v", what, got)
			}
		}
	}
}

// TestExpressionsReadBytes: Envoy's expressions read bytes, so a character of two of them is two.
func TestExpressionsReadBytes(t *testing.T) {
	tb := table(listener(80, section("a", "", vhost("*", policy.Route{ID: "two", Match: policy.RouteMatch{
		PathKind: policy.PathPrefix, Path: "/", HeaderRegex: []policy.NameValue{{Name: "x-v", Value: ".."}},
	}}))))
	for value, want := range map[string]answer{"é": {"two", route.Found}, "éé": {"", route.NoRoute}, "\xff\xfe": {"two", route.Found}} {
		if got := find(tb, get("GET h/", "x-v: "+value)); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
}

// TestWildcardNeedsALabel: "*.a.test" is not the host ".a.test", nor "a.test".
func TestWildcardNeedsALabel(t *testing.T) {
	tb := table(listener(80, section("a", "", vhost("*.a.test", prefix("wild", "/")))))
	for host, want := range map[string]answer{"b.a.test": {"wild", route.Found}, ".a.test": {"", route.NoHost}, "a.test": {"", route.NoHost}} {
		r := get("GET h/")
		r.Host = host
		if got := find(tb, r); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
}
