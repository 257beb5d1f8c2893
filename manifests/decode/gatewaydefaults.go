package decode

import gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

// defaultGateway gives what the CRD of Gateway gives, for the supported fields.
func defaultGateway(g *gatewayv1.Gateway) {
	for i := range g.Spec.Addresses {
		unset(&g.Spec.Addresses[i].Type, gatewayv1.IPAddressType)
	}
	for i := range g.Spec.Listeners {
		l := &g.Spec.Listeners[i]
		unset(&l.AllowedRoutes, gatewayv1.AllowedRoutes{})
		unset(&l.AllowedRoutes.Namespaces, gatewayv1.RouteNamespaces{})
		unset(&l.AllowedRoutes.Namespaces.From, gatewayv1.NamespacesFromSame)
		for j := range l.AllowedRoutes.Kinds {
			unset(&l.AllowedRoutes.Kinds[j].Group, gatewayv1.GroupName)
		}
		if l.TLS == nil {
			continue
		}
		unset(&l.TLS.Mode, gatewayv1.TLSModeTerminate)
		for j := range l.TLS.CertificateRefs {
			unset(&l.TLS.CertificateRefs[j].Group, "")
			unset(&l.TLS.CertificateRefs[j].Kind, "Secret")
		}
	}
}

// defaultRoute gives what the CRD of HTTPRoute gives, for the supported fields.
func defaultRoute(r *gatewayv1.HTTPRoute) {
	for i := range r.Spec.ParentRefs {
		unset(&r.Spec.ParentRefs[i].Group, gatewayv1.GroupName)
		unset(&r.Spec.ParentRefs[i].Kind, "Gateway")
	}
	if len(r.Spec.Rules) == 0 {
		r.Spec.Rules = []gatewayv1.HTTPRouteRule{{}}
	}
	for i := range r.Spec.Rules {
		rule := &r.Spec.Rules[i]
		if len(rule.Matches) == 0 {
			rule.Matches = []gatewayv1.HTTPRouteMatch{{}}
		}
		for j := range rule.Matches {
			defaultMatch(&rule.Matches[j])
		}
		for j := range rule.BackendRefs {
			b := &rule.BackendRefs[j]
			unset(&b.Group, "")
			unset(&b.Kind, "Service")
			unset(&b.Weight, 1)
		}
		for j := range rule.Filters {
			if rr := rule.Filters[j].RequestRedirect; rr != nil {
				unset(&rr.StatusCode, 302)
			}
			if cors := rule.Filters[j].CORS; cors != nil && cors.MaxAge == 0 {
				cors.MaxAge = 5
			}
		}
	}
}

func defaultMatch(m *gatewayv1.HTTPRouteMatch) {
	unset(&m.Path, gatewayv1.HTTPPathMatch{})
	unset(&m.Path.Type, gatewayv1.PathMatchPathPrefix)
	unset(&m.Path.Value, "/")
	for i := range m.Headers {
		unset(&m.Headers[i].Type, gatewayv1.HeaderMatchExact)
	}
	for i := range m.QueryParams {
		unset(&m.QueryParams[i].Type, gatewayv1.QueryParamMatchExact)
	}
}

// unset sets *p to v where it is nil.
func unset[T any](p **T, v T) {
	if *p == nil {
		*p = &v
	}
}
