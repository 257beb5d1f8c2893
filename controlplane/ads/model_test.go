package ads_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/credence-mesh/credence/controlplane/ads"
)

// model is a delta client that applies what it is told: clusters by the wildcard, routes by name.
type model struct {
	t      *rapid.T
	f      *fixture
	c      *deltaClient
	names  map[string]bool
	state  map[string]map[string]string
	seen   map[string]bool
	fences int
}

func (m *model) connect() {
	m.c = m.f.delta(edge)
	m.c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: ads.ClusterType, InitialResourceVersions: maps.Clone(m.state[ads.ClusterType])})
	m.c.send(&discoveryv3.DeltaDiscoveryRequest{
		TypeUrl: ads.RouteType, ResourceNamesSubscribe: slices.Sorted(maps.Keys(m.names)),
		InitialResourceVersions: maps.Clone(m.state[ads.RouteType]),
	})
}

// take applies one response, or refuses it as a whole.
func (m *model) take(g got, refuse bool) {
	if m.seen[g.nonce] {
		m.t.Fatalf("nonce %s again", g.nonce)
	}
	m.seen[g.nonce] = true
	if refuse {
		m.c.nack(g)
		return
	}
	state := m.state[g.Type]
	for _, r := range g.Resources {
		name, version, _ := strings.Cut(r, "@")
		if g.Type == ads.ClusterType || m.names[name] {
			state[name] = version
		}
	}
	for _, name := range g.Removed {
		delete(state, name)
	}
	m.c.ack(g)
}

// settle takes everything until nothing comes any more; it refuses every nth response, none when nth is 0.
func (m *model) settle(nth int) {
	n := 0
	for quiet := 0; quiet < 2; {
		m.fences++
		name := fmt.Sprintf("model-%d", m.fences)
		m.c.subscribe("fence", name)
		quiet++
		for {
			g := m.c.next()
			if g.Type == "fence" {
				m.c.ack(g)
				if slices.Contains(g.Removed, name) {
					break
				}
				continue
			}
			quiet = 0
			n++
			m.take(g, nth > 0 && n%nth == 0)
		}
	}
}

// TestDeltaClientsConverge: whatever a client subscribes to, refuses and forgets, and however often it reconnects, in the end it
// has what the view holds.
func TestDeltaClientsConverge(t *testing.T) {
	f := newFixture(t)
	generation := uint64(0)
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{
			t: rt, f: f, names: map[string]bool{"last": true}, seen: map[string]bool{},
			state: map[string]map[string]string{ads.ClusterType: {}, ads.RouteType: {}},
		}
		f.server.Remove(edge)
		want := map[string]map[string]string{}
		publish := func(last string) {
			generation++
			all := []ads.Resource{cluster(t, "last", last), route(t, "last", last)}
			want = map[string]map[string]string{ads.ClusterType: {"last": last}, ads.RouteType: {"last": last}}
			for _, name := range []string{"a", "b", "c"} {
				if version := rapid.IntRange(0, 2).Draw(rt, "cluster"); version > 0 {
					want[ads.ClusterType][name] = fmt.Sprint(version)
					all = append(all, cluster(t, name, fmt.Sprint(version)))
				}
				if version := rapid.IntRange(0, 2).Draw(rt, "route"); version > 0 {
					want[ads.RouteType][name] = fmt.Sprint(version)
					all = append(all, route(t, name, fmt.Sprint(version)))
				}
			}
			f.server.SetView(edge, generation, view(t, all...))
		}
		m.connect()
		publish("no")
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "name")
			switch rapid.IntRange(0, 5).Draw(rt, "step") {
			case 0, 1:
				publish("no")
			case 2:
				m.names[name] = true
				m.c.subscribe(ads.RouteType, name)
			case 3:
				delete(m.names, name)
				delete(m.state[ads.RouteType], name)
				m.c.unsubscribe(ads.RouteType, name)
			case 4:
				m.settle(rapid.IntRange(1, 3).Draw(rt, "refuse"))
			case 5:
				m.c.cancel()
				_ = m.c.end()
				m.connect()
			}
		}
		// Content that was never refused, of resources that may have been.
		publish("yes")
		m.settle(0)
		for name := range want[ads.RouteType] {
			if !m.names[name] {
				delete(want[ads.RouteType], name)
			}
		}
		if d := cmp.Diff(want, m.state); d != "" {
			rt.Fatalf("client (-want +has):\n%s", d)
		}
		m.c.cancel()
		_ = m.c.end()
	})
}
