package app

import (
	"fmt"
	"slices"
	"strings"

	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
)

const gatewayGroup = "gateway.networking.k8s.io"

// notInForce tells what of set a Check server alone cannot enforce: what a proxy of ours would do, and what is judged elsewhere. Nobody
// should think that it holds.
func notInForce(set *policy.Set, gateway policy.Name, objects []*manifests.Object) []manifests.Diagnostic {
	var out []manifests.Diagnostic
	note := func(group, kind string, n policy.Name, message, hint string) {
		d := manifests.Diagnostic{
			Severity: manifests.Warning, Code: "not-in-force", Message: message, Hint: hint,
			Object: manifests.Key{Group: group, Kind: kind, Namespace: n.Namespace, Name: n.Name},
		}
		if i := slices.IndexFunc(objects, func(o *manifests.Object) bool { return o.Key == d.Object }); i >= 0 {
			d.Pos = objects[i].Pos
		}
		out = append(out, d)
	}
	for i := range set.Workloads {
		w := &set.Workloads[i]
		if slices.ContainsFunc(w.Ports, func(p policy.Port) bool {
			return slices.ContainsFunc(p.Access.Levels, func(l policy.Level) bool { return l.Kind == policy.WorkloadLevel })
		}) {
			note(v1alpha1.Group, v1alpha1.KindWorkload, w.Name,
				fmt.Sprintf("the policies of Workload %s are not in force: only requests at Gateway %s are judged here", w.Name, gateway),
				"attach them to the Gateway or its routes")
		}
	}
	for i := range set.Gateways {
		g := &set.Gateways[i]
		if g.Name != gateway {
			note(gatewayGroup, "Gateway", g.Name, fmt.Sprintf("requests at Gateway %s are not judged here", g.Name), "run another `credence authz` with --gateway")
			continue
		}
		settings := g.Settings
		settings.Paths = policy.PathRules{}
		if !isDefault(&settings) {
			note(gatewayGroup, "Gateway", g.Name, fmt.Sprintf("of the GatewaySettings of Gateway %s only paths is in force: the rest is for the proxy", g.Name),
				"set it in the other control plane")
		}
		for _, r := range proxyWork(g) {
			note(gatewayGroup, r.origin.Kind, r.origin.Name, fmt.Sprintf("%s of %s %s: the other control plane's proxy does that, or nobody", strings.Join(r.what, ", "), r.origin.Kind, r.origin.Name), "leave it out here")
		}
	}
	return out
}

func isDefault(s *policy.GatewaySettings) bool {
	return len(s.TrustedProxies) == 0 && s.TrustedHops == 0 && s.Underscores == policy.UnderscoresDropped && s.HealthPath == "" &&
		s.ConnectionIdle == 0 && s.StreamIdle == 0 && s.StreamCap == 0
}

// work is what a route asks of its proxy, apart from letting itself be found.
type work struct {
	origin policy.Origin
	what   []string
}

// proxyWork is the work of the routes of g, one entry per manifest.
func proxyWork(g *policy.Gateway) []work {
	var out []work
	add := func(o policy.Origin, what string) {
		o.Rule = ""
		i := slices.IndexFunc(out, func(w work) bool { return w.origin == o })
		if i < 0 {
			i = len(out)
			out = append(out, work{origin: o})
		}
		if !slices.Contains(out[i].what, what) {
			out[i].what = append(out[i].what, what)
		}
	}
	for _, l := range g.Listeners {
		for _, s := range l.Sections {
			for _, h := range s.VirtualHosts {
				for i := range h.Routes {
					r := &h.Routes[i]
					for _, c := range []struct {
						is   bool
						what string
					}{
						{len(r.Backends) > 0, "backendRefs"},
						{r.Redirect != nil, "RequestRedirect"},
						{r.Rewrite != nil, "URLRewrite"},
						{r.CORS != nil, "CORS"},
						{len(r.Request.Set)+len(r.Request.Add)+len(r.Request.Remove) > 0, "RequestHeaderModifier"},
						{len(r.Response.Set)+len(r.Response.Add)+len(r.Response.Remove) > 0, "ResponseHeaderModifier"},
						{r.RequestTimeout != 0 || r.BackendTimeout != 0, "timeouts"},
					} {
						if c.is {
							add(r.Origin, c.what)
						}
					}
				}
			}
		}
	}
	return out
}
