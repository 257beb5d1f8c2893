package compile

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/credence-mesh/credence/policy"
)

// placeRoutes makes the listeners of every gateway with the routes that they serve.
func (c *compiler) placeRoutes() {
	for i := range c.set.Gateways {
		g := c.gatewayByName[c.set.Gateways[i].Name]
		c.set.Gateways[i].Listeners = c.listeners(g)
	}
}

// listeners merges the sections of g that share a socket; g.sections are sorted by name, so each listener's sections are.
func (c *compiler) listeners(g *gateway) []policy.Listener {
	bySocket := make(map[string]int)
	out := []policy.Listener{}
	for _, s := range g.sections {
		i, ok := bySocket[s.socket.String()]
		if !ok {
			i = len(out)
			bySocket[s.socket.String()] = i
			out = append(out, policy.Listener{
				Address: s.socket.Addr().String(), Port: s.socket.Port(), Protocol: s.protocol,
			})
		}
		out[i].Sections = append(out[i].Sections, policy.Section{
			Name: s.name(), Hostname: s.hostname, Certificates: s.certs, VirtualHosts: c.virtualHosts(s),
		})
	}
	slices.SortFunc(out, func(a, b policy.Listener) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(a.Port, b.Port))
	})
	return out
}

// virtualHosts are the hosts of s. A section with a hostname always has the virtual host of that name, also without routes: on a
// shared socket its requests would otherwise fall to another section, and to other policies.
func (c *compiler) virtualHosts(s *section) []policy.VirtualHost {
	hosts := make([]string, 0, len(s.hosts)+1)
	for h := range s.hosts {
		hosts = append(hosts, h)
	}
	if _, ok := s.hosts[s.hostname]; !ok && s.hostname != "" {
		hosts = append(hosts, s.hostname)
	}
	slices.Sort(hosts)
	out := make([]policy.VirtualHost, 0, len(hosts))
	for _, h := range hosts {
		routes := c.hostRoutes(s, h)
		out = append(out, policy.VirtualHost{Host: h, Routes: routes, Documents: c.documents(h, routes)})
	}
	return out
}

// hostRoutes orders the candidates of one host and drops those that an equal match before them hides.
func (c *compiler) hostRoutes(s *section, host string) []policy.Route {
	candidates := slices.Clone(s.hosts[host])
	slices.SortStableFunc(candidates, byPrecedence)
	c.lintUnreachableRegex(candidates)
	out := make([]policy.Route, 0, len(candidates))
	first := make(map[string]*candidate, len(candidates))
	for _, x := range candidates {
		if f, ok := first[x.key]; ok {
			c.warnAt(x.place(), "duplicate-route", fmt.Sprintf("%s %s has the same match as %s %s on host %s of listener %s: it never matches",
				x.route.obj.Key, x.out.Origin.Rule, f.route.obj.Key, f.out.Origin.Rule, host, s.name()), "change or remove one of them")
			continue
		}
		first[x.key] = x
		r := x.out
		r.ID = routeID(s, host, &r)
		denied := r.Access.Denied
		r.Access = c.routeAccess(s, x)
		if denied != "" {
			r.Access.Denied = denied
		}
		c.remember(s, host, x)
		out = append(out, r)
	}
	return out
}

// placePorts gives every port of every Workload its route id and access.
func (c *compiler) placePorts() {
	c.set.Workloads = make([]policy.Workload, 0, len(c.workloads))
	for _, it := range c.workloads {
		w := c.workloadByName[it.name]
		for i := range w.out.Ports {
			p := &w.out.Ports[i]
			if p.OwnMTLS {
				p.Access = c.ownAccess(w, p)
				continue
			}
			p.Route = portID(w.name, p)
			p.Access = c.portAccess(w, p)
		}
		c.set.Workloads = append(c.set.Workloads, w.out)
	}
}
