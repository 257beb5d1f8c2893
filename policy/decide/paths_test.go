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
