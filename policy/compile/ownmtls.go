package compile

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
)

// ownDecides is why no policy is in force on a port whose application serves mTLS itself. It is also the reason of a denial, should a proxy
// ever ask about one.
const ownDecides = "the application serves mTLS itself and decides in its own code"

// ownMTLS marks the port of an application that serves mTLS itself. It listens where its callers reach it: at inbound, else at the port.
func ownMTLS(in *v1alpha1.WorkloadPort, out *policy.Port) {
	if in.MTLS != v1alpha1.MTLSApplication {
		return
	}
	out.OwnMTLS, out.HTTP2 = true, true
	if out.Inbound == "" {
		out.Inbound = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), out.Port).String()
	}
}

// protocol of a port, by default what its callers speak: HTTP/2 to an application that serves mTLS itself.
func protocol(p *v1alpha1.WorkloadPort) string {
	switch {
	case p.Protocol != "":
		return p.Protocol
	case p.MTLS == v1alpha1.MTLSApplication:
		return v1alpha1.ProtocolHTTP2
	default:
		return v1alpha1.ProtocolHTTP
	}
}

// ownAccess is the access of such a port: no proxy asks about it, so nothing is allowed, and whoever has written a policy for it hears that
// it has no force. A policy that seems to guard a service and does not is worse than none.
func (c *compiler) ownAccess(w *workload, p *policy.Port) policy.Access {
	for _, t := range []target{{kind: policy.WorkloadLevel, name: w.name}, {kind: policy.WorkloadLevel, name: w.name, section: p.Name}} {
		c.attached.reached[t]++
		for _, a := range c.attached.byTarget[t] {
			c.errorAt(place{a.obj, fmt.Sprintf("spec.targetRefs[%d]", targetIndex(a, t))}, "policy-not-enforced",
				fmt.Sprintf("%s is not enforced on port %s of %s: %s", a.obj.Key, p.Name, w.obj.Key, ownDecides),
				"remove this target, or name by sectionName a port that the sidecar serves; or set mtls: sidecar at the port")
		}
	}
	i := slices.IndexFunc(w.value.Spec.Ports, func(in v1alpha1.WorkloadPort) bool { return in.Port == int32(p.Port) })
	at := place{w.obj, fmt.Sprintf("spec.ports[%d].mtls", i)}
	if why := c.unenforcedDenial(w, p); why != "" {
		c.errorAt(at, "policy-not-enforced", fmt.Sprintf("port %s of %s stays open, because %s; what should deny it: %s", p.Name, w.obj.Key, ownDecides, why),
			"repair the policy; until then the code of the application is all that guards this port")
	}
	if mesh := c.attached.byTarget[target{kind: policy.MeshLevel, name: policy.Name{Name: c.mesh.name.Name}}]; len(mesh) > 0 {
		c.warnAt(at, "mesh-policy-not-enforced",
			fmt.Sprintf("%s and all other policies of the Mesh do not reach port %s of %s: %s", mesh[0].obj.Key, p.Name, w.obj.Key, ownDecides),
			"the code of the application must hold what they say")
	}
	return policy.Access{Levels: []policy.Level{}, Denied: ownDecides}
}

// unenforcedDenial is why a port would be denied for the sake of a policy that cannot be read or placed, if a proxy stood before it.
func (c *compiler) unenforcedDenial(w *workload, p *policy.Port) string {
	at := &c.attached
	return cmp.Or(
		at.deniedMesh, at.deniedNamespace[w.name.Namespace],
		at.deniedTarget[target{kind: policy.MeshLevel, name: policy.Name{Name: c.mesh.name.Name}}],
		at.deniedTarget[target{kind: policy.WorkloadLevel, name: w.name}],
		at.deniedTarget[target{kind: policy.WorkloadLevel, name: w.name, section: p.Name}],
	)
}

// targetIndex is the first targetRef of a that leads to t.
func targetIndex(a *authPolicy, t target) int {
	return slices.IndexFunc(a.value.Spec.TargetRefs, func(r v1alpha1.PolicyTarget) bool {
		return r.Kind == v1alpha1.KindWorkload && r.Name == t.name.Name && r.SectionName == t.section
	})
}
