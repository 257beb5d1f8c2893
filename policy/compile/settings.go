package compile

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
)

// useSettings compiles every GatewaySettings. Gateways come later.
func (c *compiler) useSettings() {
	c.settingsByName = make(map[policy.Name]*settings, len(c.settings))
	for _, it := range c.settings {
		c.settingsByName[it.name] = &settings{item: it, out: settingsValues(&it.value.Spec)}
	}
}

// settings is one GatewaySettings on its way into the Set.
type settings struct {
	item[v1alpha1.GatewaySettings]
	out  policy.GatewaySettings
	used bool
}

func settingsValues(s *v1alpha1.GatewaySettingsSpec) policy.GatewaySettings {
	out := policy.GatewaySettings{Paths: pathRules(s.Paths), HealthPath: s.HealthPath}
	if a := s.ClientAddress; a != nil {
		for _, text := range a.TrustedProxies {
			if p, err := netip.ParsePrefix(text); err == nil {
				out.TrustedProxies = append(out.TrustedProxies, p.Masked().String())
			}
		}
		slices.Sort(out.TrustedProxies)
		out.TrustedProxies = slices.Compact(out.TrustedProxies)
		if a.TrustedHops != nil && *a.TrustedHops > 0 {
			out.TrustedHops = uint32(*a.TrustedHops)
		}
	}
	if cc := s.ClientCertificates; cc != nil {
		out.ClientCAFile, out.ClientRequired = cc.CAFile, cc.Required
	}
	switch s.UnderscoreHeaders {
	case v1alpha1.UnderscoresReject:
		out.Underscores = policy.UnderscoresRejected
	case v1alpha1.UnderscoresKeep:
		out.Underscores = policy.UnderscoresKept
	}
	if l := s.Limits; l != nil {
		if l.ConnectionIdle != nil {
			out.ConnectionIdle = l.ConnectionIdle.Duration
		}
		if l.StreamIdle != nil {
			out.StreamIdle = l.StreamIdle.Duration
		}
		if l.StreamDuration != nil {
			out.StreamCap = l.StreamDuration.Duration
		}
	}
	return out
}

func pathRules(p *v1alpha1.PathSettings) policy.PathRules {
	if p == nil {
		return policy.PathRules{}
	}
	return policy.PathRules{
		KeepEscapedSlashes: p.EscapedSlashes == v1alpha1.SlashesKeep,
		KeepEmptySegments:  p.MergeSlashes != nil && !*p.MergeSlashes,
	}
}

// gatewaySettings are those that g names. Where they cannot be used, nothing is served by guessed ones: every route of g is denied
// (Gateway API: InvalidParameters).
func (c *compiler) gatewaySettings(g *gateway) {
	in := g.value.Spec.Infrastructure
	if in == nil || in.ParametersRef == nil {
		return
	}
	ref, at := in.ParametersRef, place{g.obj, "spec.infrastructure.parametersRef"}
	n := policy.Name{Namespace: g.name.Namespace, Name: ref.Name}
	s := c.settingsByName[n]
	why, hint := "", "name a GatewaySettings that is there"
	if c.missing[ourKey(v1alpha1.KindGatewaySettings, n)] {
		hint = "repair it"
	}
	switch {
	case string(ref.Group) != v1alpha1.Group || string(ref.Kind) != v1alpha1.KindGatewaySettings:
		why, hint = fmt.Sprintf("%s is not a GatewaySettings", ref.Name), "group: credence.mesh, kind: GatewaySettings"
	case s == nil:
		why = c.absent(ourKey(v1alpha1.KindGatewaySettings, n))
	default:
		s.used = true
		g.settings = s.out
		return
	}
	g.denied = fmt.Sprintf("%s: every route of %s is denied", why, g.obj.Key)
	c.errorAt(at, "invalid-parameters", g.denied, hint)
}

// lintSettings tells of settings that nobody has, and of paths that a gateway keeps and the sidecar behind it does not.
func (c *compiler) lintSettings() {
	for _, it := range c.settings {
		if !c.settingsByName[it.name].used {
			c.warnAt(place{it.obj, "metadata.name"}, "settings-unused", fmt.Sprintf("no Gateway of namespace %s names %s", it.name.Namespace, it.obj.Key),
				"name it in spec.infrastructure.parametersRef of a Gateway")
		}
	}
	for i := range c.set.Gateways {
		c.lintPathRules(&c.set.Gateways[i])
	}
}

func (c *compiler) lintPathRules(out *policy.Gateway) {
	g, rules := c.gatewayByName[out.Name], out.Settings.Paths
	if rules == (policy.PathRules{}) {
		return
	}
	told := make(map[policy.Name]map[uint16]bool)
	for b := range backendsOf(out) {
		p := c.portOf(b)
		if p == nil || p.OwnMTLS || told[b.Workload][b.Port] {
			continue
		}
		if told[b.Workload] == nil {
			told[b.Workload] = make(map[uint16]bool)
		}
		told[b.Workload][b.Port] = true
		at := place{g.obj, "spec.infrastructure.parametersRef"}
		hint := fmt.Sprintf("set paths of port %s of Workload %s too", p.Name, b.Workload)
		if rules.KeepEscapedSlashes && !p.Paths.KeepEscapedSlashes {
			c.warnAt(at, "paths-refused-behind", fmt.Sprintf("%s keeps escaped slashes, and port %s of Workload %s does not: routes to it answer them with 400",
				g.obj.Key, p.Name, b.Workload), hint)
		}
		if rules.KeepEmptySegments && !p.Paths.KeepEmptySegments {
			c.warnAt(at, "paths-refused-behind", fmt.Sprintf("%s leaves \"//\" as it is, and port %s of Workload %s does not: routes to it answer such paths with 400",
				g.obj.Key, p.Name, b.Workload), hint)
		}
	}
}

// backendsOf are the backends of all routes of g that get traffic.
func backendsOf(g *policy.Gateway) func(func(policy.Backend) bool) {
	return func(yield func(policy.Backend) bool) {
		for _, l := range g.Listeners {
			for _, s := range l.Sections {
				for _, vh := range s.VirtualHosts {
					for _, r := range vh.Routes {
						for _, b := range r.Backends {
							if b.Weight > 0 && !b.Missing && !yield(b) {
								return
							}
						}
					}
				}
			}
		}
	}
}

func (c *compiler) portOf(b policy.Backend) *policy.Port {
	w := c.workloadByName[b.Workload]
	if w == nil {
		return nil
	}
	i := slices.IndexFunc(w.out.Ports, func(p policy.Port) bool { return p.Port == b.Port })
	if i < 0 {
		return nil
	}
	return &w.out.Ports[i]
}
