package compile

import (
	"fmt"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
)

// backends resolves the backendRefs of a rule. One that leads nowhere is Missing and costs its own weight only.
func (c *compiler) backends(r *route, spec *gatewayv1.HTTPRouteRule, at place) []policy.Backend {
	out := make([]policy.Backend, 0, len(spec.BackendRefs))
	for i := range spec.BackendRefs {
		out = append(out, c.backend(r, &spec.BackendRefs[i], at.at("backendRefs[%d]", i)))
	}
	return out
}

func (c *compiler) backend(r *route, ref *gatewayv1.HTTPBackendRef, at place) policy.Backend {
	out := policy.Backend{Workload: policy.Name{Namespace: r.name.Namespace, Name: string(ref.Name)}, Weight: 1}
	if ref.Namespace != nil {
		out.Workload.Namespace = string(*ref.Namespace)
	}
	if ref.Weight != nil && *ref.Weight >= 0 {
		out.Weight = uint32(*ref.Weight)
	}
	if ref.Port != nil {
		out.Port, _ = portNumber(*ref.Port)
	}
	key := ourKey(v1alpha1.KindWorkload, out.Workload)
	fail := func(field, code, message, hint string) policy.Backend {
		c.errorAt(at.at("%s", field), code, message+": its share is answered with 500", hint)
		out.Missing = true
		return out
	}
	if ref.Group == nil || string(*ref.Group) != v1alpha1.Group || ref.Kind == nil || string(*ref.Kind) != v1alpha1.KindWorkload {
		return fail("kind", "backend-kind", fmt.Sprintf("backend %s is not a Workload", ref.Name), "group: credence.mesh, kind: Workload")
	}
	if len(ref.Filters) > 0 {
		return fail("filters", "unsupported-filter", "filters of a backendRef are not supported", "put them into the rule")
	}
	w, ok := c.workloadByName[out.Workload]
	if !c.granted(r.kind, r.name.Namespace, key) {
		return fail("namespace", "reference-not-granted",
			fmt.Sprintf("namespace %s does not let %s use %s", out.Workload.Namespace, r.obj.Key, key),
			"add a ReferenceGrant in namespace "+out.Workload.Namespace)
	}
	if !ok {
		return fail("name", "backend-missing", c.absent(key), "")
	}
	if ref.Port == nil {
		if len(w.out.Ports) != 1 {
			return fail("port", "backend-port", fmt.Sprintf("%s has %d ports: the backendRef must say which", key, len(w.out.Ports)), "set port")
		}
		out.Port = w.out.Ports[0].Port
	}
	for i := range w.out.Ports {
		p := &w.out.Ports[i]
		switch {
		case p.Port != out.Port:
		case r.kind == kindGRPCRoute && !speaksGRPC(p):
			return fail("port", "backend-protocol", fmt.Sprintf("port %d of %s speaks HTTP/1.1, and gRPC needs HTTP/2", p.Port, key), "protocol: GRPC at the Workload's port")
		default:
			return out
		}
	}
	return fail("port", "backend-port", fmt.Sprintf("%s has no port %d", key, out.Port), "")
}
