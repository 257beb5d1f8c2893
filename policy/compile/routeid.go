package compile

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"slices"

	"github.com/credence-mesh/credence/policy"
)

// routeID hashes exactly what Envoy matches and rewrites, and where it may lead: the same id means the same traffic, always. An Envoy that
// still has the old destination must not be answered by the rules of the new one, so the backends that get traffic are part of it; their
// weights, policies and the place in the manifest are not. Every string is quoted, so no two inputs run together.
func routeID(s *section, host string, r *policy.Route) policy.RouteID {
	b := make([]byte, 0, 512)
	b = fmt.Appendf(b, "route 1 %q %q %d %q %q %q ", policy.GatewayID(s.gw.name), s.socket.String(), s.protocol, s.name(), s.hostname, host)
	b = appendPathRules(b, s.gw.settings.Paths)
	b = appendMatch(b, &r.Match)
	if r.GRPC {
		b = append(b, "grpc "...)
	}
	b = appendHeaders(b, "request", &r.Request)
	b = appendHeaders(b, "response", &r.Response)
	if d := r.Redirect; d != nil {
		b = fmt.Appendf(b, "redirect %q %q %d %d ", d.Scheme, d.Host, d.Port, d.Status)
		if s.gw.settings.Fronted() {
			b = append(b, "fronted "...) // its port is the front proxy's
		}
		b = appendPath(b, d.Path)
	}
	if w := r.Rewrite; w != nil {
		b = fmt.Appendf(b, "rewrite %q ", w.Host)
		b = appendPath(b, w.Path)
	}
	if c := r.CORS; c != nil {
		b = fmt.Appendf(b, "cors %q %q %q %q %t %d ", c.AllowOrigins, c.AllowMethods, c.AllowHeaders, c.ExposeHeaders, c.AllowCredentials, c.MaxAge)
	}
	return digest(appendBackends(b, r.Backends))
}

func appendBackends(b []byte, backends []policy.Backend) []byte {
	var served []string
	for _, d := range backends {
		if d.Weight > 0 && !d.Missing {
			served = append(served, fmt.Sprintf("%q %d ", d.Workload, d.Port))
		}
	}
	slices.Sort(served)
	for _, d := range slices.Compact(served) {
		b = fmt.Appendf(b, "to %s", d)
	}
	return b
}

// portID is the id of one port of a sidecar.
func portID(n policy.Name, p *policy.Port) policy.RouteID {
	b := fmt.Appendf(nil, "port 1 %q %d %q", policy.SidecarID(n), p.Port, p.Inbound)
	if p.HTTP2 {
		b = append(b, " http2"...)
	}
	return digest(appendPathRules(b, p.Paths))
}

// appendPathRules: what a path is read by is part of what is matched.
func appendPathRules(b []byte, p policy.PathRules) []byte {
	if p == (policy.PathRules{}) {
		return b
	}
	return fmt.Appendf(b, " paths %t %t ", p.KeepEscapedSlashes, p.KeepEmptySegments)
}

func digest(b []byte) policy.RouteID {
	sum := sha256.Sum256(b)
	// 160 of 256 bits: 32 characters without padding.
	return policy.RouteID(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:20]))
}

func appendMatch(b []byte, m *policy.RouteMatch) []byte {
	b = fmt.Appendf(b, "match %d %q %q ", m.PathKind, m.Path, m.Method)
	b = appendPairs(b, "headers", m.Headers)
	b = appendPairs(b, "query", m.Query)
	if len(m.HeaderRegex)+len(m.QueryRegex) > 0 {
		b = appendPairs(b, "header regex", m.HeaderRegex)
		b = appendPairs(b, "query regex", m.QueryRegex)
	}
	return b
}

func appendHeaders(b []byte, what string, h *policy.HeaderChange) []byte {
	b = appendPairs(fmt.Appendf(b, "%s ", what), "set", h.Set)
	b = appendPairs(b, "add", h.Add)
	return fmt.Appendf(b, "remove %q ", h.Remove)
}

func appendPairs(b []byte, what string, pairs []policy.NameValue) []byte {
	b = fmt.Appendf(b, "%s %d ", what, len(pairs))
	for _, p := range pairs {
		b = fmt.Appendf(b, "%q %q ", p.Name, p.Value)
	}
	return b
}

func appendPath(b []byte, p *policy.PathChange) []byte {
	if p == nil {
		return append(b, "as-is "...)
	}
	return fmt.Appendf(b, "path %t %q ", p.Prefix, p.Value)
}
