package compile

import (
	"fmt"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
)

// Kinds of Gateway API that are compiled.
const (
	kindGateway        = "Gateway"
	kindHTTPRoute      = "HTTPRoute"
	kindReferenceGrant = "ReferenceGrant"
)

// place is a field of an object.
type place struct {
	obj   *manifests.Object
	field string
}

// at is the place of a field below p.
func (p place) at(format string, args ...any) place {
	sub := fmt.Sprintf(format, args...)
	if p.field != "" {
		sub = p.field + "." + sub
	}
	return place{p.obj, sub}
}

func (c *compiler) errorAt(p place, code, message, hint string) {
	c.report(manifests.Error, p, [3]string{code, message, hint})
}

func (c *compiler) warnAt(p place, code, message, hint string) {
	c.report(manifests.Warning, p, [3]string{code, message, hint})
}

func (c *compiler) noticeAt(p place, code, message, hint string) {
	c.report(manifests.Notice, p, [3]string{code, message, hint})
}

func (c *compiler) report(s manifests.Severity, p place, text [3]string) {
	c.diags = append(c.diags, manifests.Diagnostic{
		Severity: s, Code: text[0], Pos: p.obj.At(p.field), Object: p.obj.Key, Message: text[1], Hint: text[2],
	})
}

func ourKey(kind string, n policy.Name) manifests.Key {
	return manifests.Key{Group: v1alpha1.Group, Kind: kind, Namespace: n.Namespace, Name: n.Name}
}

func gatewayKey(kind string, n policy.Name) manifests.Key {
	return manifests.Key{Group: gatewayv1.GroupName, Kind: kind, Namespace: n.Namespace, Name: n.Name}
}

// absent says in words why the object k cannot be used: it is not there, or there and invalid.
func (c *compiler) absent(k manifests.Key) string {
	if c.missing[k] {
		return k.String() + " is invalid and has no last good version"
	}
	if c.unusable[k] {
		return k.String() + " may not be used in this mesh"
	}
	return "there is no " + k.String()
}
