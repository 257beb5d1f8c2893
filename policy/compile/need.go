package compile

import (
	"fmt"
	"slices"

	"github.com/credence-mesh/credence/policy"
)

// useNeeds says what internal tokens of every route and port may carry: what the rules of the route itself and of the workloads behind it
// ask for, beside what policies name. All Access values are complete. A token that goes further than the next workload carries what its
// policies name: nobody knows where a service calls. And it says which routes lead to proxies that read bearer tokens themselves.
func (c *compiler) useNeeds() {
	rules := make(map[policy.Name][]policy.Rule, len(c.set.Policies))
	for i := range c.set.Policies {
		rules[c.set.Policies[i].Name] = c.set.Policies[i].Rules
	}
	mints := c.set.Mesh.InternalTokens != nil
	ports, reads := map[portKey]*policy.Access{}, map[portKey]bool{}
	for i := range c.set.Workloads {
		w := &c.set.Workloads[i]
		for j := range w.Ports {
			k := portKey{w.Name, w.Ports[j].Port}
			ports[k], reads[k] = &w.Ports[j].Access, c.readsBearer(&w.Ports[j].Access)
		}
	}
	// What policies name is read before it grows.
	named := make(map[portKey]need, len(ports))
	for k, a := range ports {
		named[k] = c.needOf(a, rules)
	}
	if mints {
		for k, a := range ports {
			carry(a, named[k])
		}
	}
	c.eachRoute(func(r *policy.Route) {
		c.relay(r, reads)
		if !mints {
			return
		}
		all := c.needOf(&r.Access, rules)
		for _, b := range r.Backends {
			all = all.and(named[portKey{b.Workload, b.Port}])
		}
		carry(&r.Access, all)
	})
}

// relay passes bearer tokens on where the route's requests go to a port that reads them. Another port of the same route gets them as well, and
// does not remove them.
func (c *compiler) relay(r *policy.Route, reads map[portKey]bool) {
	var reader, other *policy.Backend
	for i := range r.Backends {
		switch b := &r.Backends[i]; {
		case b.Missing || b.Weight == 0:
		case reads[portKey{b.Workload, b.Port}]:
			reader = b
		default:
			other = b
		}
	}
	if reader == nil {
		return
	}
	up := own(r.Access.Upstream)
	up.Relay = true
	r.Access.Upstream = up
	if w := c.workloadByName[nameOf(other)]; w != nil && !up.Forward {
		message := fmt.Sprintf("%s %s leads to %s, which reads bearer tokens, and to port %d of %s, which does not: the service behind receives the tokens of clients",
			r.Origin.Kind, r.Origin.Name, reader.Workload, other.Port, other.Workload)
		if key := "relayed-credential " + message; !c.attached.told[key] {
			c.attached.told[key] = true
			c.warnAt(place{w.obj, "spec"}, "relayed-credential", message, "let the policies of both read bearer tokens, or of none")
		}
	}
}

func nameOf(b *policy.Backend) policy.Name {
	if b == nil {
		return policy.Name{}
	}
	return b.Workload
}

type portKey struct {
	workload policy.Name
	port     uint16
}

// need are scopes, and claims by path.
type need struct {
	scopes []string
	claims [][]string
}

func (n need) and(o need) need {
	return need{slices.Concat(n.scopes, o.scopes), slices.Concat(n.claims, o.claims)}
}

// needOf is what rules in force ask for, and what policies name.
func (c *compiler) needOf(a *policy.Access, rules map[policy.Name][]policy.Rule) need {
	var n need
	if u := a.Upstream; u != nil {
		n = need{slices.Clone(u.Scopes), slices.Clone(u.Claims)}
	}
	for _, l := range a.Levels {
		for _, name := range l.Policies {
			for i := range rules[name] {
				r := &rules[name][i]
				n.scopes = append(append(n.scopes, r.AllScopes...), r.AnyScopes...)
				for _, claim := range r.Claims {
					n.claims = append(n.claims, claim.Path)
				}
				n.claims = append(n.claims, c.conditionClaims(r.Condition)...)
			}
		}
	}
	return n
}

// carry makes n what tokens of a may carry. Routes may share an Upstream, so it is replaced.
func carry(a *policy.Access, n need) {
	slices.Sort(n.scopes)
	slices.SortFunc(n.claims, slices.Compare[[]string])
	n.scopes, n.claims = slices.Compact(n.scopes), slices.CompactFunc(n.claims, slices.Equal[[]string])
	if len(n.scopes)+len(n.claims) == 0 {
		return
	}
	up := own(a.Upstream)
	up.Scopes, up.Claims = n.scopes, n.claims
	a.Upstream = up
}

// own is a copy that may be changed.
func own(u *policy.Upstream) *policy.Upstream {
	if u == nil {
		return &policy.Upstream{}
	}
	up := *u
	return &up
}

// readsBearer tells whether a policy of a accepts bearer tokens and none the internal tokens that would come along: both were two credentials.
func (c *compiler) readsBearer(a *policy.Access) bool {
	bearer := false
	for _, l := range a.Levels {
		for _, n := range l.Policies {
			for i := range c.set.Policies {
				if p := &c.set.Policies[i]; p.Name == n {
					if p.InternalTokens {
						return false
					}
					bearer = bearer || len(p.Issuers) > 0 || slices.ContainsFunc(p.APIKeys, func(k policy.APIKeyUse) bool { return k.Bearer })
				}
			}
		}
	}
	return bearer
}

func (c *compiler) eachRoute(do func(*policy.Route)) {
	for i := range c.set.Gateways {
		for j := range c.set.Gateways[i].Listeners {
			sections := c.set.Gateways[i].Listeners[j].Sections
			for k := range sections {
				for h := range sections[k].VirtualHosts {
					routes := sections[k].VirtualHosts[h].Routes
					for r := range routes {
						do(&routes[r])
					}
				}
			}
		}
	}
}
