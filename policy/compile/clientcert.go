package compile

import (
	"fmt"

	"github.com/credence-mesh/credence/policy"
)

// lintClientCertificates tells of certificates that are accepted where no client is asked for one, and of gateways that would ask and have no
// TLS to ask in.
func (c *compiler) lintClientCertificates() {
	if c.gatewayPeers {
		return // what the proxies of another control plane ask for is not known here
	}
	for i := range c.set.Gateways {
		g := &c.set.Gateways[i]
		secure := false
		for j := range g.Listeners {
			l := &g.Listeners[j]
			secure = secure || l.Protocol == policy.HTTPS
			c.lintUnasked(g, l)
		}
		if g.Settings.ClientCAFile != "" && !secure {
			obj := c.gatewayByName[g.Name].obj
			c.warnAt(place{obj, "spec.infrastructure.parametersRef"}, "client-certificates-not-asked",
				fmt.Sprintf("%s has clientCertificates and no HTTPS listener: no client is asked for one", obj.Key), "add a listener with protocol: HTTPS")
		}
	}
}

// lintUnasked tells of policies in force on l that accept client certificates which nobody can show there.
func (c *compiler) lintUnasked(g *policy.Gateway, l *policy.Listener) {
	if g.Settings.ClientCAFile != "" && l.Protocol == policy.HTTPS {
		return
	}
	why, hint := "it is not HTTPS", "attach the policy to routes of an HTTPS listener"
	if g.Settings.ClientCAFile == "" {
		why, hint = "its gateway has no clientCertificates", "set clientCertificates in the GatewaySettings of "+g.Name.String()
	}
	for _, s := range l.Sections {
		for _, vh := range s.VirtualHosts {
			for i := range vh.Routes {
				for _, level := range vh.Routes[i].Access.Levels {
					for _, n := range level.Policies {
						p := c.attached.byName[n]
						if p == nil || p.value.Spec.Authentication == nil || len(p.value.Spec.Authentication.ClientCertificates) == 0 {
							continue
						}
						c.onceWarn(place{p.obj, "spec.authentication.clientCertificates"}, "client-certificates-not-asked",
							fmt.Sprintf("%s accepts client certificates, and listener %s of Gateway %s asks for none: %s", p.obj.Key, s.Name, g.Name, why), hint)
					}
				}
			}
		}
	}
}
