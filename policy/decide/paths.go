package decide

import "github.com/credence-mesh/credence/policy"

// backend is a port of a Workload.
type backend struct {
	workload policy.Name
	port     uint16
}

// pathsBehind are the path rules of all sidecars' ports.
func pathsBehind(set *policy.Set) map[backend]policy.PathRules {
	out := map[backend]policy.PathRules{}
	for i := range set.Workloads {
		w := &set.Workloads[i]
		for j := range w.Ports {
			if p := &w.Ports[j]; !p.OwnMTLS {
				out[backend{w.Name, p.Port}] = p.Paths
			}
		}
	}
	return out
}

// routePaths are the rules by which the paths of a gateway's route are read: what the gateway keeps and every sidecar that the route leads
// to keeps too. Anything else is refused where it is judged: a sidecar that merges what the gateway has kept would make another path of it,
// and so reach, past a stricter route, what that route is for.
func routePaths(g *policy.Gateway, r *policy.Route, behind map[backend]policy.PathRules) policy.PathRules {
	rules := g.Settings.Paths
	for _, b := range r.Backends {
		if b.Weight == 0 || b.Missing {
			continue
		}
		if p, ok := behind[backend{b.Workload, b.Port}]; ok {
			rules.KeepEscapedSlashes = rules.KeepEscapedSlashes && p.KeepEscapedSlashes
			rules.KeepEmptySegments = rules.KeepEmptySegments && p.KeepEmptySegments
		}
	}
	return rules
}
