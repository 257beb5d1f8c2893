package compile

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
)

// className is the GatewayClass that is ours.
const className = "credence"

// gateway is one Gateway on its way into the Set.
type gateway struct {
	item[gatewayv1.Gateway]
	index    int             // in Set.Gateways
	declared map[string]bool // names of all listeners of the manifest
	sections []*section      // those in force, by name
	settings policy.GatewaySettings
	denied   string // why every route of it is denied; empty: none is for the Gateway's sake
}

// section is one listener in force.
type section struct {
	gw       *gateway
	spec     *gatewayv1.Listener
	field    string
	socket   netip.AddrPort
	protocol policy.Protocol
	hostname string
	certs    []policy.Name
	hosts    map[string][]*candidate
	attached []attachedRoute
}

func (s *section) name() string { return string(s.spec.Name) }

// useGateways decides which listeners are in force. Routes come later.
func (c *compiler) useGateways() {
	c.set.Gateways = []policy.Gateway{}
	c.gatewayByName = make(map[policy.Name]*gateway)
	c.sockets = make(sockets)
	for _, it := range c.gateways {
		if it.value.Spec.GatewayClassName != className {
			c.noticeAt(place{it.obj, "spec.gatewayClassName"}, "foreign-gateway-class",
				fmt.Sprintf("%s is of class %s: it is not ours", it.obj.Key, it.value.Spec.GatewayClassName), "")
			continue
		}
		g := &gateway{item: it, index: len(c.set.Gateways), declared: make(map[string]bool)}
		c.gatewaySettings(g)
		c.set.Gateways = append(c.set.Gateways, policy.Gateway{
			Name:     it.name,
			SPIFFEID: c.gatewayID(it.name),
			Settings: g.settings,
		})
		c.gatewayByName[it.name] = g
		c.useListeners(g)
	}
}

// useListeners checks the listeners of g by name: the later one of two that conflict is dropped.
func (c *compiler) useListeners(g *gateway) {
	order := make([]int, len(g.value.Spec.Listeners))
	for i, l := range g.value.Spec.Listeners {
		order[i] = i
		g.declared[string(l.Name)] = true
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(g.value.Spec.Listeners[a].Name, g.value.Spec.Listeners[b].Name)
	})
	addr, ok := c.gatewayAddress(g)
	if !ok {
		return
	}
	refused := make(map[netip.AddrPort]error)
	for _, i := range order {
		s := &section{
			gw: g, spec: &g.value.Spec.Listeners[i], field: fmt.Sprintf("spec.listeners[%d]", i),
			hosts: make(map[string][]*candidate),
		}
		port, isPort := portNumber(s.spec.Port)
		if !isPort {
			c.errorAt(place{g.obj, s.field + ".port"}, "port", fmt.Sprintf("%d is not a port", s.spec.Port), "use 1 to 65535")
			continue
		}
		if !c.listenerProtocol(s) {
			continue
		}
		if s.spec.Hostname != nil {
			s.hostname = strings.ToLower(string(*s.spec.Hostname))
		}
		s.socket = netip.AddrPortFrom(addr, port)
		if c.conflicts(s) || !c.takeSocket(s, refused) {
			continue
		}
		g.sections = append(g.sections, s)
	}
}

func (c *compiler) gatewayAddress(g *gateway) (netip.Addr, bool) {
	given := g.value.Spec.Addresses
	if len(given) == 0 {
		if c.set.Mesh.Development {
			return netip.AddrFrom4([4]byte{127, 0, 0, 1}), true
		}
		return netip.IPv4Unspecified(), true
	}
	addr, err := netip.ParseAddr(given[0].Value)
	if err != nil {
		c.errorAt(place{g.obj, "spec.addresses[0]"}, "address",
			fmt.Sprintf("%q is not an IP address: %s is not served", given[0].Value, g.obj.Key), "give one address of type IPAddress")
		return netip.Addr{}, false
	}
	if len(given) > 1 {
		c.errorAt(place{g.obj, "spec.addresses[1]"}, "address",
			g.obj.Key.String()+" is served on its first address only", "give one address; 0.0.0.0 or :: is all of them")
	}
	return addr.Unmap(), true
}

// listenerProtocol checks protocol and TLS of s: an HTTPS listener without a certificate, and an HTTP listener of which
// someone expects TLS, are not served at all.
func (c *compiler) listenerProtocol(s *section) bool {
	at := place{s.gw.obj, s.field}
	switch s.spec.Protocol {
	case gatewayv1.HTTPProtocolType:
		s.protocol = policy.HTTP
		if s.spec.TLS != nil {
			c.errorAt(at.at("tls"), "http-with-tls",
				fmt.Sprintf("listener %s speaks HTTP and has tls: it is not served", s.name()), "use protocol: HTTPS, or remove tls")
			return false
		}
		return true
	case gatewayv1.HTTPSProtocolType:
		s.protocol = policy.HTTPS
		return c.listenerCertificates(s)
	default:
		c.errorAt(at.at("protocol"), "unsupported-protocol",
			fmt.Sprintf("protocol %s of listener %s is not supported", s.spec.Protocol, s.name()), "use HTTP or HTTPS")
		return false
	}
}

func (c *compiler) listenerCertificates(s *section) bool {
	at := place{s.gw.obj, s.field}
	if s.spec.TLS != nil {
		for i, ref := range s.spec.TLS.CertificateRefs {
			n := policy.Name{Namespace: s.gw.name.Namespace, Name: string(ref.Name)}
			if ref.Namespace != nil {
				n.Namespace = string(*ref.Namespace)
			}
			where := at.at("tls.certificateRefs[%d]", i)
			if !isCertificate(ref) {
				c.errorAt(where, "certificate-missing", fmt.Sprintf("listener %s: %s is not a Certificate", s.name(), ref.Name),
					"group: credence.mesh, kind: Certificate")
				continue
			}
			if !c.certificateNames[n] {
				c.errorAt(where, "certificate-missing", fmt.Sprintf("listener %s: %s", s.name(), c.absent(ourKey(v1alpha1.KindCertificate, n))),
					"name a Certificate that is there")
				continue
			}
			if !c.granted(kindGateway, s.gw.name.Namespace, ourKey(v1alpha1.KindCertificate, n)) {
				c.errorAt(where, "reference-not-granted", fmt.Sprintf("namespace %s does not let %s use Certificate %s",
					n.Namespace, s.gw.obj.Key, n), "add a ReferenceGrant in namespace "+n.Namespace)
				continue
			}
			s.certs = append(s.certs, n)
		}
	}
	if len(s.certs) == 0 {
		c.errorAt(at.at("tls"), "https-without-certificate",
			fmt.Sprintf("listener %s speaks HTTPS and has no certificate: it is not served", s.name()), "set tls.certificateRefs")
		return false
	}
	return true
}

func isCertificate(ref gatewayv1.SecretObjectReference) bool {
	return ref.Group != nil && string(*ref.Group) == v1alpha1.Group && ref.Kind != nil && string(*ref.Kind) == v1alpha1.KindCertificate
}

// conflicts tells whether s cannot share its socket with the listeners of the gateway before it (Gateway API: Conflicted).
func (c *compiler) conflicts(s *section) bool {
	for _, o := range s.gw.sections {
		at := place{s.gw.obj, s.field}
		switch {
		case o.name() == s.name():
			c.errorAt(at.at("name"), "listener-conflict", fmt.Sprintf("listener %s is there twice", s.name()), "give it another name")
		case o.socket != s.socket:
			continue
		case o.protocol != s.protocol:
			c.errorAt(at.at("protocol"), "listener-conflict",
				fmt.Sprintf("listeners %s and %s share port %d with different protocols", o.name(), s.name(), s.spec.Port), "give one another port")
		case o.hostname == s.hostname:
			c.errorAt(at.at("hostname"), "listener-conflict",
				fmt.Sprintf("listeners %s and %s share port %d and hostname %q", o.name(), s.name(), s.spec.Port, s.hostname),
				"give one another hostname or port")
		default:
			continue
		}
		return true
	}
	return false
}

// takeSocket claims the socket of s unless a listener of the same gateway has it already.
func (c *compiler) takeSocket(s *section, refused map[netip.AddrPort]error) bool {
	if slices.ContainsFunc(s.gw.sections, func(o *section) bool { return o.socket == s.socket }) {
		return true
	}
	err, seen := refused[s.socket]
	if !seen {
		err = c.sockets.take(s.socket, s.gw.obj.Key.String())
		refused[s.socket] = err
	}
	if err != nil {
		c.errorAt(place{s.gw.obj, s.field + ".port"}, "port-collision",
			fmt.Sprintf("listener %s of %s cannot have %s: %v", s.name(), s.gw.obj.Key, s.socket, err), "give one another port or address")
		return false
	}
	return true
}
