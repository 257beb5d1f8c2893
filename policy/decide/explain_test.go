package decide_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// drawRoute is a route of a random Set.
func drawRoute(t *rapid.T) *decide.Route {
	set := &policy.Set{}
	var names []policy.Name
	for i := range rapid.IntRange(1, 4).Draw(t, "policies") {
		p := drawPolicy(t, policy.Name{Namespace: "n", Name: "p" + string(rune('0'+i))})
		for j := range rapid.IntRange(0, 15).Draw(t, "rules") {
			p.Rules = append(p.Rules, drawRule(t, "r"+string(rune('A'+j)), acceptsAny(p)))
		}
		set.Policies, names = append(set.Policies, p), append(names, p.Name)
	}
	access := policy.Access{Levels: []policy.Level{}}
	for _, k := range []policy.LevelKind{policy.MeshLevel, policy.GatewayLevel, policy.RouteLevel}[:rapid.IntRange(0, 3).Draw(t, "levels")] {
		l := policy.Level{Kind: k}
		for _, name := range names {
			if rapid.Bool().Draw(t, "in") {
				l.Policies = append(l.Policies, name)
			}
		}
		if len(l.Policies) > 0 {
			access.Levels = append(access.Levels, l)
		}
	}
	set.Workloads = []policy.Workload{{Name: policy.Name{Namespace: "n", Name: "w"}, Ports: []policy.Port{{Name: "http", Route: "id", Access: access}}}}
	r, ok := decide.NewIndex(set).Route("id")
	if !ok {
		t.Fatal("the route is not found")
	}
	return r
}

// An Explanation and the Decision are one: every part of a rule holds exactly when the rule matches, a level allows exactly when it is
// not what refuses, and the changes that are told lead to an allow.
func TestExplainAgreesWithDecide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRoute(t)
		for range 10 {
			f := drawFacts(t)
			e, d := r.Explain(f), r.Decide(f)
			if e.Decision.Allowed() != d.Allowed() || e.Decision.Reason != d.Reason || e.Decision.Rule != d.Rule {
				t.Fatalf("explained %+v, decided %+v", e.Decision, d)
			}
			all, denied := len(e.Levels) > 0, false
			for _, l := range e.Levels {
				all = all && l.Allows
				for _, x := range l.Rules {
					holds := true
					for _, p := range x.Parts {
						holds = holds && p.Holds
					}
					if holds != x.Matches {
						t.Fatalf("rule %s matches: %t, and its parts are %+v", x.Rule, x.Matches, x.Parts)
					}
					denied = denied || x.Matches && x.Action == policy.Deny && !x.Audit
				}
			}
			if d.Allowed() != (all && !denied) {
				t.Fatalf("allowed %t, and levels %+v", d.Allowed(), e.Levels)
			}
			if d.Allowed() && (len(e.Changes) > 0 || e.Forbidden != nil) || d.Reason == decide.DeniedByRule && len(e.Changes) == 0 && e.Forbidden == nil {
				t.Fatalf("%v, changes %v, forbidden %v", d.Reason, e.Changes, e.Forbidden)
			}
			if len(e.Changes) > 0 && !r.Decide(e.Changed(f)).Allowed() {
				t.Fatalf("with %v it is still refused: %+v", e.Changes, r.Decide(e.Changed(f)))
			}
		}
	})
}
