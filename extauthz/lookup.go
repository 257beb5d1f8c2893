package extauthz

import (
	"strings"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
	"github.com/credence-mesh/credence/policy/route"
)

// Lookup has routes found by the request itself, for proxies that another control plane configures: they send no route id.
type Lookup struct {
	// Gateway chooses the Gateway of a Set whose routes count. It is called once for each Publish; false: every Check is refused.
	Gateway func(*policy.Set) (policy.Name, bool)
	// Principal reads the SPIFFE ID out of source.principal, strictly, where the proxy sends no certificate. Nil: a principal without a
	// certificate is refused. Set it only where proxies verify clients at least as strictly as SPIFFE asks (X509-SVID §5): Envoy takes
	// the first of several URI SANs, and any path, for the principal.
	Principal func(principal string) (string, error)
}

// Reasons of a lookup that finds no route (403), or can't be made (400).
const (
	reasonRouteAmbiguous = "route_ambiguous"
	reasonListener       = "listener_unknown"
	reasonHeader         = "header_ambiguous"
	reasonPeerUnproven   = "peer_unproven"
)

// listenerExtension of context_extensions names the listener of the Gateway that the request came in by.
const listenerExtension = "listener"

// router finds the routes of one gateway.
type router struct {
	proxy policy.ProxyID
	table *route.Table
	paths policy.PathRules
}

// router of the gateway that l chooses. Without one the table is empty, and finds nothing.
func (l *Lookup) router(set *policy.Set) *router {
	name, ok := l.Gateway(set)
	if !ok {
		return &router{}
	}
	for i := range set.Gateways {
		g := &set.Gateways[i]
		if g.Name != name {
			continue
		}
		return &router{proxy: policy.GatewayID(name), table: route.New(g), paths: g.Settings.Paths}
	}
	return &router{}
}

// peerOf is the SPIFFE ID of the connection's peer, see peers.id; or, at a gateway, the certificate of its client. Clients of gateways of ours
// are no workloads, whatever their certificates say. At a proxy of another control plane a certificate that names a workload is that workload's, and any
// other one is a client's where the route accepts those. A principal alone proves nothing, unless the operator says that it does.
func (s *Server) peerOf(source *authv3.AttributeContext_Peer, trust string, r *decide.Route) (id, client, reason string, err error) {
	principal, certificate := source.GetPrincipal(), source.GetCertificate()
	if s.byLookup == nil {
		if r.Proxy().IsGateway() {
			return "", certificate, "", nil
		}
		id, reason, err = s.peers.id(certificate, principal, trust)
		return id, "", reason, err
	}
	if certificate != "" || principal == "" {
		id, reason, err = s.peers.id(certificate, principal, trust)
		if reason == reasonPeerInvalid && len(r.Accepts().Certificates) > 0 {
			return "", certificate, "", nil
		}
		return id, "", reason, err
	}
	if s.byLookup.Principal == nil {
		return "", "", reasonPeerUnproven, nil
	}
	id, err = s.byLookup.Principal(principal)
	switch {
	case err != nil || id == "":
		return "", "", reasonPeerInvalid, err
	case !strings.HasPrefix(id, trust):
		return id, "", reasonPeerForeign, nil
	}
	return id, "", "", nil
}

// lookup finds the route of the canonical request in c. With ok false the outcome says why not.
func (s *Server) lookup(a *authv3.AttributeContext, st *state, t *target, c *check) (verifiers Verifiers, ok bool) {
	refuse := func(k kind, reason string) (Verifiers, bool) {
		c.outcome = outcome{kind: k, reason: reason}
		return Verifiers{}, false
	}
	// Envoys that normalise leave no such thing. Of one that does not, the route "/a" is not that of "/%61", which the server behind takes
	// for the same.
	if escapesUnreserved(t.path) {
		return refuse(badRequest, reasonPathEncoding)
	}
	http := a.GetRequest().GetHttp()
	h := headers{http: http}
	found, outcome := st.router.table.Find(&route.Request{
		Method: c.method, Host: c.host, Path: t.path, Query: t.query, Header: h.get,
		Section: a.GetContextExtensions()[listenerExtension],
	})
	if h.ambiguous {
		return refuse(badRequest, reasonHeader)
	}
	switch outcome {
	case route.Found:
	case route.Ambiguous:
		return refuse(forbidden, reasonRouteAmbiguous)
	case route.NoSection:
		return refuse(forbidden, reasonListener)
	case route.NoHost, route.NoRoute:
		return refuse(forbidden, reasonRoute)
	default:
		return refuse(forbidden, reasonRoute)
	}
	// Whoever may write the proxy's configuration could name a route with weaker rules: the request's own route counts, and another
	// word is refused.
	if sent := policy.RouteID(a.GetContextExtensions()[routeExtension]); sent != "" && sent != found.ID {
		return refuse(forbidden, reasonRouteAmbiguous)
	}
	c.routeID = found.ID
	var r *decide.Route
	if r, verifiers = st.route(found.ID, st.router.proxy, c.started); r == nil {
		return refuse(forbidden, reasonRoute)
	}
	c.route = r
	return verifiers, true
}

// escapesUnreserved: a character that needs no percent-encoding has one (RFC 3986 §2.3). The path has been parsed.
func escapesUnreserved(path string) bool {
	for {
		_, after, ok := strings.Cut(path, "%")
		if !ok || len(after) < 2 {
			return false
		}
		hi, _ := unhex(after[0])
		lo, _ := unhex(after[1])
		c := hi<<4 | lo
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			return true
		}
		path = after[2:]
	}
}

// headers are those of a Check, in either form that Envoy has for them: header_map with the bytes that were sent, or a map whose
// values are joined and have '!' for what is not UTF-8.
type headers struct {
	http   *authv3.AttributeContext_HttpRequest
	byName map[string][]string
	// ambiguous: a header that was asked for can't be told.
	ambiguous bool
}

// get gives the values of a header by its lower-case name, for route.Request.
func (h *headers) get(name string) (values []string, isJoined bool) {
	if name == "host" || name == ":authority" {
		return []string{h.http.GetHost()}, false
	}
	if h.byName == nil {
		h.byName = make(map[string][]string, len(h.http.GetHeaderMap().GetHeaders()))
		for _, f := range h.http.GetHeaderMap().GetHeaders() {
			value := f.GetValue()
			if raw := f.GetRawValue(); len(raw) > 0 {
				value = string(raw)
			}
			key := strings.ToLower(f.GetKey())
			h.byName[key] = append(h.byName[key], value)
		}
	}
	values = h.byName[name]
	joined, ok := h.http.GetHeaders()[name]
	switch {
	case !ok:
		return values, false
	case len(values) > 0 && strings.Join(values, ",") != joined, strings.Contains(joined, "!"):
		h.ambiguous = true
	}
	if len(values) > 0 {
		return values, false
	}
	return []string{joined}, true
}
