package extauthz_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

var generationIDs = []policy.RouteID{"r0", "r1", "r2"}

// drawGeneration is a Set with some of the routes, each under one of two policies, whose rules allow and deny web and batch at random.
func drawGeneration(t *rapid.T) *policy.Set {
	set := orders()
	set.Policies, set.Workloads[0].Ports = nil, nil
	for _, p := range []string{"p", "q"} {
		rules := []policy.Rule{}
		for _, peer := range []string{webID, batchID} {
			if rapid.Bool().Draw(t, "allow") {
				rules = append(rules, policy.Rule{Name: "allow", Action: policy.Allow, From: []policy.Peer{{ID: peer}}})
			}
			if rapid.IntRange(0, 4).Draw(t, "deny") == 0 {
				rules = append(rules, policy.Rule{Name: "deny", Action: policy.Deny, From: []policy.Peer{{ID: peer}}})
			}
		}
		set.Policies = append(set.Policies, policy.Policy{Name: name(p), Rules: rules})
	}
	for _, id := range generationIDs {
		if rapid.Bool().Draw(t, "present") {
			set.Workloads[0].Ports = append(set.Workloads[0].Ports, port(id, rapid.SampledFrom([]string{"p", "q"}).Draw(t, "policy")))
		}
	}
	return set
}

// Sets change, routes vanish and come back, proxies acknowledge, time passes: an allow is always one that the newest Set gives, or, for a
// route that it has no more, the Set that had it last, unless the proxy has acknowledged its end; and no deny of today is passed over.
func TestNeverAnAllowThatNeitherGenerationGives(t *testing.T) {
	r := newRig(t, discard)
	generation := uint64(10)
	rapid.Check(t, func(t *rapid.T) {
		last := map[policy.RouteID]*decide.Route{}
		gone := map[policy.RouteID]uint64{}
		// Every run begins without routes and with nothing retired.
		generation++
		r.Publish(&policy.Set{Mesh: policy.Mesh{TrustDomain: td}}, generation)
		r.clock = r.clock.Add(time.Hour)
		for range rapid.IntRange(2, 8).Draw(t, "steps") {
			generation++
			set := drawGeneration(t)
			ix := decide.NewIndex(set)
			r.Publish(set, generation)
			for _, id := range generationIDs {
				route, ok := ix.Route(id)
				switch {
				case ok:
					last[id] = route
					delete(gone, id)
				case last[id] != nil && gone[id] == 0:
					gone[id] = generation
				}
			}
			acknowledged := generation - uint64(rapid.IntRange(0, 3).Draw(t, "behind"))
			if rapid.Bool().Draw(t, "acknowledge") {
				r.Acknowledged(own, acknowledged)
				r.clock = r.clock.Add(2 * time.Second) // requests in flight have ended
				for id, since := range gone {
					if since <= acknowledged {
						delete(last, id)
						delete(gone, id)
					}
				}
			}
			for _, id := range generationIDs {
				for _, peer := range []string{webID, batchID} {
					got := r.answerRapid(t, id, peer)
					facts := &decide.Facts{Peer: peer, Method: "GET", Host: "orders", Segments: []string{"orders", "7"}}
					if want := last[id] != nil && last[id].Decide(facts).Allowed(); got && !want {
						t.Fatalf("generation %d allows %s to %s, and no generation does", generation, id, peer)
					} else if !got && want && gone[id] == 0 {
						t.Fatalf("generation %d allows %s to %s, and it is denied", generation, id, peer)
					}
				}
			}
		}
	})
}

func (r *rig) answerRapid(t *rapid.T, id policy.RouteID, peer string) bool {
	resp, err := r.Check(t.Context(), ask(withRoute(string(id)), withPeer("cert "+peer, "")))
	if err != nil {
		t.Fatal(err)
	}
	if resp.GetStatus() == nil {
		t.Fatal(fmt.Sprint("no status: ", resp))
	}
	return resp.GetStatus().GetCode() == 0
}
