package decode

import (
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
)

// kindSpec is one kind that can be decoded.
type kindSpec struct {
	group, kind string
	versions    []string // the first is what the object gets; the others are the same in JSON
	clusterWide bool
	empty       func() any
	allow       map[string]bool // nil: every field of the type is supported
}

func allowed(paths string) map[string]bool {
	out := map[string]bool{}
	for p := range strings.FieldsSeq(paths) {
		out["spec."+p] = true
	}
	return out
}

// kinds are all kinds that can be decoded.
func kinds() []kindSpec {
	own := func(kind string, clusterWide bool, empty func() any) kindSpec {
		return kindSpec{v1alpha1.Group, kind, []string{v1alpha1.Version}, clusterWide, empty, nil}
	}
	foreign := func(kind string, empty func() any, allow string) kindSpec {
		return kindSpec{gatewayv1.GroupName, kind, []string{"v1", "v1beta1"}, false, empty, allowed(allow)}
	}
	return []kindSpec{
		own(v1alpha1.KindMesh, true, func() any { return new(v1alpha1.Mesh) }),
		own(v1alpha1.KindWorkload, false, func() any { return new(v1alpha1.Workload) }),
		own(v1alpha1.KindCertificate, false, func() any { return new(v1alpha1.Certificate) }),
		own(v1alpha1.KindTokenIssuer, false, func() any { return new(v1alpha1.TokenIssuer) }),
		own(v1alpha1.KindAuthPolicy, false, func() any { return new(v1alpha1.AuthPolicy) }),
		own(v1alpha1.KindGatewaySettings, false, func() any { return new(v1alpha1.GatewaySettings) }),
		own(v1alpha1.KindCredentials, false, func() any { return new(v1alpha1.Credentials) }),
		own(v1alpha1.KindRevocationList, false, func() any { return new(v1alpha1.RevocationList) }),
		foreign("Gateway", func() any { return new(gatewayv1.Gateway) }, gatewayFields),
		foreign("HTTPRoute", func() any { return new(gatewayv1.HTTPRoute) }, routeFields),
		foreign("GRPCRoute", func() any { return new(gatewayv1.GRPCRoute) }, grpcRouteFields),
		foreign("ReferenceGrant", func() any { return new(gatewayv1.ReferenceGrant) }, grantFields),
	}
}

const gatewayFields = `gatewayClassName
	infrastructure infrastructure.parametersRef infrastructure.parametersRef.group infrastructure.parametersRef.kind
	infrastructure.parametersRef.name
	addresses addresses.type addresses.value
	listeners listeners.name listeners.hostname listeners.port listeners.protocol
	listeners.tls listeners.tls.mode listeners.tls.certificateRefs listeners.tls.certificateRefs.group
	listeners.tls.certificateRefs.kind listeners.tls.certificateRefs.namespace listeners.tls.certificateRefs.name
	listeners.allowedRoutes listeners.allowedRoutes.namespaces listeners.allowedRoutes.namespaces.from
	listeners.allowedRoutes.kinds listeners.allowedRoutes.kinds.group listeners.allowedRoutes.kinds.kind`

const routeFields = `hostnames
	parentRefs parentRefs.group parentRefs.kind parentRefs.namespace parentRefs.name parentRefs.sectionName parentRefs.port
	rules rules.name rules.timeouts rules.timeouts.request rules.timeouts.backendRequest
	rules.matches rules.matches.method rules.matches.path rules.matches.path.type rules.matches.path.value
	rules.matches.headers rules.matches.headers.type rules.matches.headers.name rules.matches.headers.value
	rules.matches.queryParams rules.matches.queryParams.type rules.matches.queryParams.name rules.matches.queryParams.value
	rules.backendRefs rules.backendRefs.group rules.backendRefs.kind rules.backendRefs.namespace rules.backendRefs.name
	rules.backendRefs.port rules.backendRefs.weight
	rules.filters rules.filters.type
	rules.filters.requestHeaderModifier rules.filters.requestHeaderModifier.remove
	rules.filters.requestHeaderModifier.set rules.filters.requestHeaderModifier.set.name rules.filters.requestHeaderModifier.set.value
	rules.filters.requestHeaderModifier.add rules.filters.requestHeaderModifier.add.name rules.filters.requestHeaderModifier.add.value
	rules.filters.responseHeaderModifier rules.filters.responseHeaderModifier.remove
	rules.filters.responseHeaderModifier.set rules.filters.responseHeaderModifier.set.name rules.filters.responseHeaderModifier.set.value
	rules.filters.responseHeaderModifier.add rules.filters.responseHeaderModifier.add.name rules.filters.responseHeaderModifier.add.value
	rules.filters.requestRedirect rules.filters.requestRedirect.scheme rules.filters.requestRedirect.hostname
	rules.filters.requestRedirect.path rules.filters.requestRedirect.path.type rules.filters.requestRedirect.path.replaceFullPath
	rules.filters.requestRedirect.path.replacePrefixMatch rules.filters.requestRedirect.port rules.filters.requestRedirect.statusCode
	rules.filters.urlRewrite rules.filters.urlRewrite.hostname rules.filters.urlRewrite.path rules.filters.urlRewrite.path.type
	rules.filters.urlRewrite.path.replaceFullPath rules.filters.urlRewrite.path.replacePrefixMatch
	rules.filters.cors rules.filters.cors.allowOrigins rules.filters.cors.allowCredentials rules.filters.cors.allowMethods
	rules.filters.cors.allowHeaders rules.filters.cors.exposeHeaders rules.filters.cors.maxAge`

const grantFields = `from from.group from.kind from.namespace to to.group to.kind to.name`
