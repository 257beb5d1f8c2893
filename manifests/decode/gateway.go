package decode

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
)

// GatewayClass is the one class of Gateways that are ours.
const GatewayClass = "credence"

// checker collects what is wrong with an object of the Gateway API: what its CRD checks, and values that are not supported.
type checker struct{ found []v1alpha1.FieldError }

func (c *checker) fail(path, code, message, hint string) {
	c.found = append(c.found, v1alpha1.FieldError{Path: path, Code: code, Message: path + ": " + message, Hint: hint})
}

func (c *checker) oneOf(path, value string, values ...string) bool {
	if slices.Contains(values, value) {
		return true
	}
	c.fail(path, "unsupported-value", fmt.Sprintf("%q is not supported", value), "supported: "+strings.Join(values, ", "))
	return false
}

func (c *checker) port(path string, port gatewayv1.PortNumber) {
	if port < 1 || port > 65535 {
		c.fail(path, "out-of-range", fmt.Sprintf("%d is not a port", port), "from 1 to 65535")
	}
}

func (c *checker) name(path, value string) {
	if value == "" {
		c.fail(path, "required", "a name is required", "")
	} else if len(value) > 253 || !dnsSubdomain.MatchString(value) {
		c.fail(path, "invalid-name", fmt.Sprintf("%q is not a name", value), `lower-case letters, digits, "-" and "." (RFC 1123)`)
	}
}

func (c *checker) namespace(path string, ns *gatewayv1.Namespace) {
	if ns != nil && !dnsLabel.MatchString(string(*ns)) {
		c.fail(path, "invalid-name", fmt.Sprintf("%q is not a namespace", *ns), "")
	}
}

// hostname checks a Hostname of the Gateway API: RFC 1123, in lower case, no IP address, "*." before it where wildcards may be.
func (c *checker) hostname(path, h string, wildcard bool) {
	rest := h
	if wildcard {
		rest = strings.TrimPrefix(h, "*.")
	}
	_, err := netip.ParseAddr(h)
	switch {
	case err == nil:
		c.fail(path, "invalid-host", fmt.Sprintf("%q is an IP address", h), "leave the hostname out to take every host")
	case len(h) > 253 || !dnsSubdomain.MatchString(rest):
		c.fail(path, "invalid-host", fmt.Sprintf("%q is not a hostname", h), hostHint(h))
	}
}

func hostHint(h string) string {
	switch {
	case strings.Contains(h, ":"):
		return "leave the port out: ports are ignored in matching"
	case strings.ToLower(h) != h:
		return "write it in lower case"
	case h == "*" || h == "":
		return "leave it out to take every host"
	}
	return `a DNS name in lower case, or "*." and a name`
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func validateGateway(g *gatewayv1.Gateway) []v1alpha1.FieldError {
	c := &checker{}
	if g.Spec.GatewayClassName != GatewayClass {
		c.fail("spec.gatewayClassName", "unsupported-value", fmt.Sprintf("class %q is not ours", g.Spec.GatewayClassName),
			"write gatewayClassName: "+GatewayClass)
	}
	seen := map[string]bool{}
	for i := range g.Spec.Addresses {
		a, at := &g.Spec.Addresses[i], index("spec.addresses", i)
		if !c.oneOf(at+".type", string(*a.Type), string(gatewayv1.IPAddressType)) {
			continue
		}
		if ip, err := netip.ParseAddr(a.Value); err != nil || ip.Zone() != "" {
			c.fail(at+".value", "invalid-value", fmt.Sprintf("%q is not an IP address", a.Value), "for example 127.0.0.1")
		}
		if seen[a.Value] {
			c.fail(at+".value", "duplicate-value", a.Value+" is given twice", "")
		}
		seen[a.Value] = true
	}
	c.listeners(g.Spec.Listeners)
	if g.Spec.Infrastructure != nil {
		c.parameters("spec.infrastructure.parametersRef", g.Spec.Infrastructure.ParametersRef)
	}
	return c.found
}

func (c *checker) listeners(listeners []gatewayv1.Listener) {
	if len(listeners) == 0 {
		c.fail("spec.listeners", "required", "a Gateway needs a listener", "")
	}
	names, places := map[gatewayv1.SectionName]bool{}, map[string]int{}
	for i := range listeners {
		l, at := &listeners[i], index("spec.listeners", i)
		c.name(at+".name", string(l.Name))
		if names[l.Name] {
			c.fail(at+".name", "duplicate-value", fmt.Sprintf("another listener is named %q", l.Name), "give each listener a name of its own")
		}
		names[l.Name] = true
		c.port(at+".port", l.Port)
		host := ""
		if l.Hostname != nil && *l.Hostname != "" {
			host = string(*l.Hostname)
			c.hostname(at+".hostname", host, true)
		}
		place := fmt.Sprintf("%d/%s/%s", l.Port, l.Protocol, host)
		if first, ok := places[place]; ok {
			c.fail(at, "duplicate-listener", fmt.Sprintf("port, protocol and hostname are those of listener %q", listeners[first].Name),
				"change one of them")
		} else {
			places[place] = i
		}
		c.protocol(at, l)
		c.oneOf(at+".allowedRoutes.namespaces.from", string(*l.AllowedRoutes.Namespaces.From), "Same", "All")
		for j, k := range l.AllowedRoutes.Kinds {
			p := index(at+".allowedRoutes.kinds", j)
			if *k.Group != gatewayv1.GroupName {
				c.fail(p+".group", "unsupported-value", fmt.Sprintf("no routes are of group %q", *k.Group), "leave it out")
			}
			c.oneOf(p+".kind", string(k.Kind), "HTTPRoute", "GRPCRoute")
		}
	}
}

func (c *checker) parameters(at string, r *gatewayv1.LocalParametersReference) {
	if r == nil {
		return
	}
	if r.Group != v1alpha1.Group || r.Kind != v1alpha1.KindGatewaySettings {
		c.fail(at, "unsupported-reference", fmt.Sprintf("parameters of kind %s are not supported", refKind(r.Group, r.Kind)),
			"kind: GatewaySettings, group: credence.mesh")
	}
	c.name(at+".name", r.Name)
}

func (c *checker) protocol(at string, l *gatewayv1.Listener) {
	c.oneOf(at+".protocol", string(l.Protocol), "HTTP", "HTTPS")
	if l.TLS == nil {
		if l.Protocol == gatewayv1.HTTPSProtocolType {
			c.fail(at+".tls", "required", "an HTTPS listener needs tls", "add tls.certificateRefs")
		}
		return
	}
	if l.Protocol == gatewayv1.HTTPProtocolType {
		c.fail(at+".tls", "unsupported-value", "tls does not go with protocol HTTP", "write protocol: HTTPS")
	}
	c.oneOf(at+".tls.mode", string(*l.TLS.Mode), "Terminate")
	if len(l.TLS.CertificateRefs) == 0 {
		c.fail(at+".tls.certificateRefs", "required", "tls needs a certificate", "refer to a Certificate of group "+v1alpha1.Group)
	}
	for j := range l.TLS.CertificateRefs {
		r, at := &l.TLS.CertificateRefs[j], index(at+".tls.certificateRefs", j)
		if *r.Group != v1alpha1.Group || *r.Kind != v1alpha1.KindCertificate {
			c.fail(at, "unsupported-reference", fmt.Sprintf("certificates of kind %s exist only in Kubernetes", refKind(*r.Group, *r.Kind)),
				"kind: Certificate, group: credence.mesh")
		}
		c.name(at+".name", string(r.Name))
		c.namespace(at+".namespace", r.Namespace)
	}
}

func refKind(g gatewayv1.Group, k gatewayv1.Kind) string {
	if g == "" {
		return string(k)
	}
	return string(k) + "." + string(g)
}

func validateGrant(g *gatewayv1.ReferenceGrant) []v1alpha1.FieldError {
	c := &checker{}
	if len(g.Spec.From) == 0 {
		c.fail("spec.from", "required", "a grant needs from", "")
	}
	if len(g.Spec.To) == 0 {
		c.fail("spec.to", "required", "a grant needs to", "")
	}
	for i := range g.Spec.From {
		f, at := &g.Spec.From[i], index("spec.from", i)
		if f.Kind == "" {
			c.fail(at+".kind", "required", "a kind is required", "")
		}
		c.namespace(at+".namespace", &f.Namespace)
	}
	for i := range g.Spec.To {
		t, at := &g.Spec.To[i], index("spec.to", i)
		if t.Kind == "" {
			c.fail(at+".kind", "required", "a kind is required", "")
		}
		if t.Name != nil {
			c.name(at+".name", string(*t.Name))
		}
	}
	return c.found
}
