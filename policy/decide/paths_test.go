package decide_test

import (
	"testing"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// TestRouteKeepsWhatAllBehindKeep: a sidecar must not change what its gateway has judged.
func TestRouteKeepsWhatAllBehindKeep(t *testing.T) {
	both, slashes := policy.PathRules{KeepEscapedSlashes: true, KeepEmptySegments: true}, policy.PathRules{KeepEscapedSlashes: true}
	name := func(n string) policy.Name { return policy.Name{Namespace: "default", Name: n} }
	workload := func(n string, p policy.Port) policy.Workload {
		p.Port, p.Route = 80, policy.RouteID("port "+n)
		return policy.Workload{Name: name(n), Ports: []policy.Port{p}}
	}
	to := func(n string, weight uint32) policy.Backend {
		return policy.Backend{Workload: name(n), Port: 80, Weight: weight}
	}
	gone := to("plain", 1)
	gone.Missing = true
	for _, x := range []struct {
		id       policy.RouteID
		gateway  policy.PathRules
		backends []policy.Backend
		want     policy.PathRules
	}{
		{"nowhere", both, nil, both},
		{"both", both, []policy.Backend{to("both", 1)}, both},
		{"plain", both, []policy.Backend{to("plain", 1)}, policy.PathRules{}},
		{"one of two", both, []policy.Backend{to("both", 9), to("slashes", 1)}, slashes},
		{"none in common", both, []policy.Backend{to("slashes", 9), to("plain", 1)}, policy.PathRules{}},
		{"without weight", both, []policy.Backend{to("both", 1), to("plain", 0)}, both},
		{"missing", both, []policy.Backend{to("both", 1), gone}, both},
		{"no sidecar", both, []policy.Backend{to("own", 1)}, both},
		{"the gateway's own", slashes, []policy.Backend{to("both", 1)}, slashes},
		{"a gateway that keeps nothing", policy.PathRules{}, []policy.Backend{to("both", 1)}, policy.PathRules{}},
	} {
		set := &policy.Set{
			Gateways: []policy.Gateway{{Name: name("edge"), Settings: policy.GatewaySettings{Paths: x.gateway}, Listeners: []policy.Listener{{
				Sections: []policy.Section{{VirtualHosts: []policy.VirtualHost{{Routes: []policy.Route{{ID: x.id, Backends: x.backends}}}}}},
			}}}},
			Workloads: []policy.Workload{
				workload("plain", policy.Port{}), workload("slashes", policy.Port{Paths: slashes}), workload("both", policy.Port{Paths: both}),
				workload("own", policy.Port{OwnMTLS: true}),
			},
		}
		r, ok := decide.NewIndex(set).Route(x.id)
		if !ok || r.Paths() != x.want {
			t.Errorf("%s: %+v, want %+v", x.id, r.Paths(), x.want)
		}
	}
}

// TestOwnMTLSPortIsNoRoute: no proxy serves such a port, so none may ask about it, whatever the Set says of its access.
func TestOwnMTLSPortIsNoRoute(t *testing.T) {
	set := &policy.Set{
		Policies: []policy.Policy{{Name: name("p"), Rules: []policy.Rule{{Name: "all", Action: policy.Allow}}}},
		Workloads: []policy.Workload{{Name: name("ledger"), Ports: []policy.Port{
			{Name: "own", Port: 8443, OwnMTLS: true, Access: levels("p")},
			{Name: "own2", Port: 8444, OwnMTLS: true, Route: "own2", Access: levels("p")},
		}}},
	}
	for _, id := range []policy.RouteID{"", "own2"} {
		if _, ok := decide.NewIndex(set).Route(id); ok {
			t.Errorf("there is a route %q", id)
		}
	}
}

// TestOneIDForTwoWaysToReadPaths: nobody can tell by which rules the path of such a request was judged.
func TestOneIDForTwoWaysToReadPaths(t *testing.T) {
	port := func(rules policy.PathRules) policy.Port {
		return policy.Port{Name: "http", Port: 80, Route: "id", Paths: rules, Access: levels("p")}
	}
	for _, c := range []struct {
		other policy.PathRules
		want  bool
	}{{policy.PathRules{}, true}, {policy.PathRules{KeepEmptySegments: true}, false}} {
		r, ok := decide.NewIndex(&policy.Set{
			Policies:  []policy.Policy{{Name: name("p"), Rules: []policy.Rule{{Name: "all", Action: policy.Allow}}}},
			Workloads: []policy.Workload{{Name: name("w"), Ports: []policy.Port{port(policy.PathRules{}), port(c.other)}}},
		}).Route("id")
		if !ok || r.Decide(&decide.Facts{Method: "GET", Host: "h"}).Allowed() != c.want {
			t.Errorf("%+v: allowed is not %t", c.other, c.want)
		}
	}
}
