package compile

import (
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/credence-mesh/credence/manifests"
)

// granted tells whether an object of Gateway API's kind in namespace from may refer to the object to: in its own namespace, or
// with a ReferenceGrant in the namespace of to.
func (c *compiler) granted(kind, from string, to manifests.Key) bool {
	if to.Namespace == from {
		return true
	}
	for _, g := range c.grants {
		if g.name.Namespace != to.Namespace {
			continue
		}
		var source, target bool
		for _, f := range g.value.Spec.From {
			source = source || (f.Group == gatewayv1.GroupName && string(f.Kind) == kind && string(f.Namespace) == from)
		}
		for _, t := range g.value.Spec.To {
			target = target || (string(t.Group) == to.Group && string(t.Kind) == to.Kind &&
				(t.Name == nil || *t.Name == "" || string(*t.Name) == to.Name))
		}
		if source && target {
			return true
		}
	}
	return false
}
