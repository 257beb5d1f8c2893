package compile

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
)

// target is what policies attach to: an object, or a section of one.
type target struct {
	kind    policy.LevelKind
	name    policy.Name
	section string
	// route is the kind of a RouteLevel's object.
	route string
}

func (t target) String() string {
	var kind string
	switch t.kind {
	case policy.MeshLevel:
		kind = v1alpha1.KindMesh
	case policy.GatewayLevel:
		kind = kindGateway
	case policy.RouteLevel:
		kind = t.route
	case policy.WorkloadLevel:
		kind = v1alpha1.KindWorkload
	}
	if t.section != "" {
		return fmt.Sprintf("%s %s section %s", kind, t.name, t.section)
	}
	return fmt.Sprintf("%s %s", kind, t.name)
}

// attachments says which policies are on which target.
type attachments struct {
	all      []*authPolicy
	byTarget map[target][]*authPolicy // each by name
	// denied targets, namespaces and, with the key "", everything: a policy that cannot be read or placed is in force there.
	deniedTarget    map[target]string
	deniedNamespace map[string]string
	deniedMesh      string
	// unguarded are namespaces of which a policy guards a route that can't be read: its requests may fall to any other one.
	unguarded map[string]string
	// reached counts what a target has: routes by rule and section, and ports.
	reached map[target]int
	// served are the hosts and matches below a target.
	served map[target][]served
	access map[accessKey]policy.Access
	// issuers that a policy accepts, and Credentials.
	issuers  map[policy.Name][]policy.Name
	accepted map[policy.Name]accepted
	// compared are the lists of Credentials that warnTwice has looked at.
	compared map[string]bool
	byName   map[policy.Name]*authPolicy
	// resources are metadata by the URL that challenges name.
	resources map[string]*resource
	// told are diagnostics of policies that many routes would repeat.
	told map[string]bool
}

type accessKey struct {
	section *section
	route   *route
	rule    int
}

type served struct {
	host string
	*candidate
}

// routeTargets are the targets above one rule of a route on one listener, outermost first (GEP-713).
func (c *compiler) routeTargets(s *section, x *candidate) []target {
	out := []target{
		{kind: policy.MeshLevel, name: policy.Name{Name: c.mesh.name.Name}},
		{kind: policy.GatewayLevel, name: s.gw.name},
		{kind: policy.GatewayLevel, name: s.gw.name, section: s.name()},
		{kind: policy.RouteLevel, name: x.route.name, route: x.route.kind},
	}
	if rule := x.route.ruleName(x.rule); rule != "" {
		out = append(out, target{kind: policy.RouteLevel, name: x.route.name, section: rule, route: x.route.kind})
	}
	return out
}

// routeAccess decides once per listener and rule.
func (c *compiler) routeAccess(s *section, x *candidate) policy.Access {
	key := accessKey{s, x.route, x.rule}
	if a, ok := c.attached.access[key]; ok {
		return a
	}
	targets := c.routeTargets(s, x)
	a := c.combine(targets, x.route.name.Namespace, s.gw.name.Namespace)
	a.Denied = cmp.Or(a.Denied, s.gw.denied, c.attached.unguarded[x.route.name.Namespace])
	if len(a.Levels) == 0 && a.Denied == "" {
		c.warnAt(place{x.route.obj, fmt.Sprintf("spec.rules[%d]", x.rule)}, "no-policy",
			fmt.Sprintf("no AuthPolicy is in force on %s of %s: it is denied", x.out.Origin.Rule, x.route.obj.Key),
			"attach an AuthPolicy to it, to its Gateway or to the Mesh")
	}
	c.warnSameIssuer(&a, place{x.route.obj, fmt.Sprintf("spec.rules[%d]", x.rule)})
	c.warnSameUser(&a, place{x.route.obj, fmt.Sprintf("spec.rules[%d]", x.rule)})
	c.attached.access[key] = a
	return a
}

func (c *compiler) portAccess(w *workload, p *policy.Port) policy.Access {
	a := c.combine([]target{
		{kind: policy.MeshLevel, name: policy.Name{Name: c.mesh.name.Name}},
		{kind: policy.WorkloadLevel, name: w.name},
		{kind: policy.WorkloadLevel, name: w.name, section: p.Name},
	}, w.name.Namespace)
	if w.out.Denied != "" {
		a.Denied = w.out.Denied
	}
	c.warnSameIssuer(&a, place{w.obj, "spec.ports"})
	c.warnSameUser(&a, place{w.obj, "spec.ports"})
	if len(a.Levels) == 0 && a.Denied == "" {
		c.warnAt(place{w.obj, "spec.ports"}, "no-policy",
			fmt.Sprintf("no AuthPolicy is in force on port %s of %s: it is denied", p.Name, w.obj.Key),
			"attach an AuthPolicy to it or to the Mesh")
	}
	return a
}

// warnSameIssuer tells of two TokenIssuers with one iss among the policies of a: a token is of one of them, so the policies that
// accept the other alone refuse it.
func (c *compiler) warnSameIssuer(a *policy.Access, at place) {
	byURL := make(map[string]policy.Name)
	told := make(map[[2]policy.Name]bool)
	var opaque *policy.Name
	for _, l := range a.Levels {
		for _, p := range l.Policies {
			for _, n := range c.attached.issuers[p] {
				if c.opaque[n] {
					if opaque != nil && *opaque != n {
						c.warnAt(at, "issuer-ambiguous", fmt.Sprintf("policies in force here accept %s and %s, which both have introspection: it is open which one is asked, so opaque tokens get 503",
							*opaque, n), "let all of them name the same TokenIssuer")
					}
					opaque = &n
				}
				for _, iss := range c.issuerURLs[n] {
					o, ok := byURL[iss]
					if !ok || o == n {
						byURL[iss] = n
					} else if pair := [2]policy.Name{o, n}; !told[pair] {
						told[pair] = true
						c.warnAt(at, "issuer-ambiguous", fmt.Sprintf("policies in force here accept %s and %s, which have the same issuer %s: a token is of one of them only",
							o, n, iss), "let all of them name the same TokenIssuer")
					}
				}
			}
		}
	}
}

// combine makes the levels of the targets, outermost first. A policy that allows an override is dropped where a target further in
// has a policy; every level that is left must allow.
func (c *compiler) combine(targets []target, namespaces ...string) policy.Access {
	at := &c.attached
	a := policy.Access{Levels: []policy.Level{}, Denied: at.deniedMesh}
	for _, ns := range namespaces {
		if a.Denied == "" {
			a.Denied = at.deniedNamespace[ns]
		}
	}
	innermost := -1
	for i, t := range targets {
		at.reached[t]++
		if len(at.byTarget[t]) > 0 {
			innermost = i
		}
		if a.Denied == "" {
			a.Denied = at.deniedTarget[t]
		}
	}
	for i, t := range targets {
		var names []policy.Name
		for _, p := range at.byTarget[t] {
			if p.override && i < innermost {
				continue
			}
			names = append(names, p.name)
		}
		if len(names) > 0 {
			a.Levels = append(a.Levels, policy.Level{Kind: t.kind, Policies: names})
		}
	}
	c.answer(&a)
	return a
}

// remember keeps what a target serves, for the targets whose policies will be looked at.
func (c *compiler) remember(s *section, host string, x *candidate) {
	for _, t := range c.routeTargets(s, x) {
		if t.kind != policy.MeshLevel && slices.ContainsFunc(c.attached.byTarget[t], (*authPolicy).hasOperations) {
			c.attached.served[t] = append(c.attached.served[t], served{host, x})
		}
	}
}
