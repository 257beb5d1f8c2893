package compile

import (
	"fmt"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/credence-mesh/credence/policy"
)

// route is one HTTPRoute or GRPCRoute on its way into the Set; value holds a GRPCRoute as what it means in HTTP.
type route struct {
	item[gatewayv1.HTTPRoute]
	kind       string
	candidates []*candidate
	sections   []*section // that it is attached to
	// grpc, of a GRPCRoute, is by rule and match; skipped are the matches that cannot be served.
	grpc    [][]grpcMatch
	skipped map[[2]int]bool
}

// ruleName is the name that a policy's sectionName can refer to; empty for none.
func (r *route) ruleName(rule int) string {
	if n := r.value.Spec.Rules[rule].Name; n != nil {
		return string(*n)
	}
	return ""
}

// routeKey tells routes of both kinds apart.
type routeKey struct {
	kind string
	name policy.Name
}

// candidate is one match of one rule, before it is known on which listeners and hosts it is served.
type candidate struct {
	route *route
	rule  int
	match int
	out   policy.Route // without ID and Access
	path  string       // decoded
	key   string       // equal for equal matches
	// segments of the path, percent-decoded; undecodable: they cannot be told.
	segments    []string
	undecodable bool
}

func (x *candidate) place() place {
	return place{x.route.obj, fmt.Sprintf("spec.rules[%d].matches[%d]", x.rule, x.match)}
}

func (c *compiler) useRoutes() {
	c.routeByName = make(map[routeKey]*route, len(c.routes)+len(c.grpcRoutes))
	all := make([]*route, 0, len(c.routes)+len(c.grpcRoutes))
	for _, it := range c.routes {
		all = append(all, &route{item: it, kind: kindHTTPRoute})
	}
	for _, it := range c.grpcRoutes {
		all = append(all, c.grpcRoute(it))
	}
	slices.SortFunc(all, byName)
	for _, r := range all {
		for i := range r.value.Spec.Rules {
			c.ruleCandidates(r, i)
		}
		c.routeByName[routeKey{r.kind, r.name}] = r
		c.attach(r)
	}
}

// attach puts the candidates of r on every listener that its parentRefs name and that lets it in.
func (c *compiler) attach(r *route) {
	if len(r.value.Spec.ParentRefs) == 0 {
		c.warnAt(place{r.obj, "spec"}, "no-parent", r.obj.Key.String()+" has no parentRefs: nobody serves it", "name a Gateway in spec.parentRefs")
	}
	for i := range r.value.Spec.ParentRefs {
		ref := &r.value.Spec.ParentRefs[i]
		at := place{r.obj, fmt.Sprintf("spec.parentRefs[%d]", i)}
		n := policy.Name{Namespace: r.name.Namespace, Name: string(ref.Name)}
		if ref.Namespace != nil {
			n.Namespace = string(*ref.Namespace)
		}
		g, ok := c.gatewayByName[n]
		if !ok || (ref.Kind != nil && *ref.Kind != kindGateway) || (ref.Group != nil && *ref.Group != gatewayv1.GroupName) {
			c.errorAt(at.at("name"), "parent-missing", c.absent(gatewayKey(kindGateway, n)), "name a Gateway of class "+className)
			continue
		}
		c.attachParent(r, g, ref, at)
	}
}

func (c *compiler) attachParent(r *route, g *gateway, ref *gatewayv1.ParentReference, at place) {
	if ref.SectionName != nil && *ref.SectionName != "" && !g.declared[string(*ref.SectionName)] {
		c.errorAt(at.at("sectionName"), "parent-missing",
			fmt.Sprintf("%s has no listener %s", g.obj.Key, *ref.SectionName), "its listeners: "+strings.Join(sortedKeys(g.declared), ", "))
		return
	}
	var named, allowed, served bool
	for _, s := range g.sections {
		if (ref.SectionName != nil && *ref.SectionName != "" && string(*ref.SectionName) != s.name()) ||
			(ref.Port != nil && *ref.Port != s.spec.Port) {
			continue
		}
		named = true
		if !allows(s, r) {
			continue
		}
		allowed = true
		hosts := c.hostsOn(s, r)
		served = served || len(hosts) > 0
		if len(hosts) == 0 || slices.Contains(r.sections, s) {
			continue
		}
		if o := s.otherKind(r, hosts); o != nil {
			c.errorAt(at, "route-conflict", fmt.Sprintf("%s is not served by listener %s of %s: %s has a host of its own there, and a host has one kind of routes",
				r.obj.Key, s.name(), g.obj.Key, o.obj.Key), "give one of them other hostnames or another listener")
			continue
		}
		s.attached = append(s.attached, attachedRoute{r, hosts})
		r.sections = append(r.sections, s)
		for _, h := range hosts {
			s.hosts[h] = append(s.hosts[h], r.candidates...)
		}
	}
	switch {
	case !named:
		c.errorAt(at, "parent-missing", fmt.Sprintf("no listener in force of %s is the one that %s names", g.obj.Key, r.obj.Key),
			"look at sectionName, port and the errors of the Gateway")
	case !allowed:
		c.errorAt(at, "parent-refused", fmt.Sprintf("no listener of %s lets %s in", g.obj.Key, r.obj.Key),
			"set allowedRoutes.namespaces.from: All at the listener, and look at allowedRoutes.kinds")
	case !served:
		c.errorAt(place{r.obj, "spec.hostnames"}, "no-matching-hostname",
			fmt.Sprintf("no hostname of %s is one that its listeners of %s serve", r.obj.Key, g.obj.Key), "look at the hostnames of the listeners")
	}
}

func allows(s *section, r *route) bool {
	from := gatewayv1.NamespacesFromSame
	if a := s.spec.AllowedRoutes; a != nil {
		if a.Namespaces != nil && a.Namespaces.From != nil {
			from = *a.Namespaces.From
		}
		if len(a.Kinds) > 0 && !slices.ContainsFunc(a.Kinds, func(k gatewayv1.RouteGroupKind) bool {
			return string(k.Kind) == r.kind && (k.Group == nil || *k.Group == gatewayv1.GroupName)
		}) {
			return false
		}
	}
	switch from {
	case gatewayv1.NamespacesFromAll:
		return true
	case gatewayv1.NamespacesFromSame:
		return s.gw.name.Namespace == r.name.Namespace
	case gatewayv1.NamespacesFromSelector, gatewayv1.NamespacesFromNone:
		return false
	}
	return false
}

// hostsOn are the hosts under which s serves r: the intersection of both, without those that belong to a listener with a closer
// hostname on the same socket (Gateway API: listener isolation).
func (c *compiler) hostsOn(s *section, r *route) []string {
	asked := r.value.Spec.Hostnames
	if len(asked) == 0 {
		asked = []gatewayv1.Hostname{""}
	}
	var out []string
	for _, h := range asked {
		host, ok := intersect(s.hostname, strings.ToLower(string(h)))
		if ok && closest(s, host) == s {
			out = append(out, host)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// closest is the listener on the socket of s whose hostname is the most specific one that covers host.
func closest(s *section, host string) *section {
	best := s
	for _, o := range s.gw.sections {
		if o.socket == s.socket && covers(o.hostname, host) && (best.hostname == "" || covers(best.hostname, o.hostname)) {
			best = o
		}
	}
	return best
}

func sortedKeys(m map[string]bool) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
