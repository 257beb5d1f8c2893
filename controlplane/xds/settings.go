package xds

import (
	"iter"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	healthv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/health_check/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	xffv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/original_ip_detection/xff/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/credence-mesh/credence/policy"
)

const (
	healthFilter = "envoy.filters.http.health_check"
	xffDetection = "envoy.http.original_ip_detection.xff"
	// noHost is the host of HTTP/1.0 requests without one. It is none (of its two dots at the end Envoy takes one off), so Check refuses
	// whatever a route for every host takes of them.
	noHost = "http10.invalid.."
)

// manners are how one manager reads its clients.
type manners struct {
	side
	settings policy.GatewaySettings
	// front: every peer is a trusted proxy of settings.TrustedProxies.
	front bool
	// internalTokens: the mesh makes some.
	internalTokens bool
}

// behind are the manners of a sidecar's port: its own path rules, and what gateways that route to it need to reach the application.
func (t *translation) behind(w *policy.Workload, p *policy.Port) manners {
	m := manners{side: fromMesh, settings: policy.GatewaySettings{Paths: p.Paths}}
	for i := range t.set.Gateways {
		g := &t.set.Gateways[i]
		if g.Settings.Underscores != policy.UnderscoresKept && g.Settings.StreamIdle <= streamIdle {
			continue
		}
		for r := range routesOf(g) {
			for _, b := range r.Backends {
				if b.Workload == w.Name && b.Port == p.Port && !b.Missing {
					m.settings.StreamIdle = max(m.settings.StreamIdle, g.Settings.StreamIdle)
					if g.Settings.Underscores == policy.UnderscoresKept {
						m.settings.Underscores = policy.UnderscoresKept
					}
				}
			}
		}
	}
	if m.settings.StreamIdle <= streamIdle {
		m.settings.StreamIdle = 0
	}
	return m
}

func routesOf(g *policy.Gateway) iter.Seq[*policy.Route] {
	return func(yield func(*policy.Route) bool) {
		for i := range g.Listeners {
			for j := range g.Listeners[i].Sections {
				for k := range g.Listeners[i].Sections[j].VirtualHosts {
					routes := g.Listeners[i].Sections[j].VirtualHosts[k].Routes
					for r := range routes {
						if !yield(&routes[r]) {
							return
						}
					}
				}
			}
		}
	}
}

// frontChain is c for connections of trusted proxies alone; Envoy prefers it to one without a source.
func frontChain(c *listenerv3.FilterChain, trusted []*corev3.CidrRange) *listenerv3.FilterChain {
	c.Name += "/front"
	if c.FilterChainMatch == nil {
		c.FilterChainMatch = &listenerv3.FilterChainMatch{}
	}
	c.FilterChainMatch.SourcePrefixRanges = trusted
	return c
}

func (t *translation) trusted(s *policy.GatewaySettings) []*corev3.CidrRange {
	var out []*corev3.CidrRange
	for _, text := range s.TrustedProxies {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			t.fail("trusted proxies %q: %w", text, err)
			continue
		}
		out = append(out, &corev3.CidrRange{AddressPrefix: p.Addr().String(), PrefixLen: wrapperspb.UInt32(uint32(p.Bits()))}) //nolint:gosec // 0 to 128
	}
	return out
}

// clientAddress sets whose word counts for where a client is. Nobody's: the peer is the client.
func (t *translation) clientAddress(s *manners, m *hcmv3.HttpConnectionManager) {
	m.UseRemoteAddress = wrapperspb.Bool(s.side == fromOutside)
	switch {
	case s.side != fromOutside:
	case s.front:
		m.UseRemoteAddress = wrapperspb.Bool(false)
		// The last address that is no proxy's is the client's; what stands before it is the client's own invention.
		m.OriginalIpDetectionExtensions = []*corev3.TypedExtensionConfig{{
			Name: xffDetection,
			TypedConfig: t.pack(&xffv3.XffConfig{
				XffTrustedCidrs: &xffv3.XffTrustedCidrs{Cidrs: t.trusted(&s.settings)},
				SkipXffAppend:   wrapperspb.Bool(false),
			}),
		}}
	case s.settings.TrustedHops > 0:
		m.XffNumTrustedHops = s.settings.TrustedHops
	}
}

// believed: the x-forwarded-* of the peer stay.
func (s *manners) believed() bool { return s.front || s.settings.TrustedHops > 0 }

func (s *manners) underscores() corev3.HttpProtocolOptions_HeadersWithUnderscoresAction {
	switch s.settings.Underscores {
	case policy.UnderscoresRejected:
		return corev3.HttpProtocolOptions_REJECT_REQUEST
	case policy.UnderscoresKept:
		return corev3.HttpProtocolOptions_ALLOW
	case policy.UnderscoresDropped:
	}
	// Frameworks map "_" to "-": x_credence_subject would be ours. Refusing would break clients whose tracing headers have them.
	return corev3.HttpProtocolOptions_DROP_HEADER
}

// lookalikes removes the headers whose names are these, or begin with these that end in "-", once another character that is no letter or
// digit stands for "-". CGI and its heirs make "_" of many: behind FastCGI, PHP reads X.Credence.Subject as HTTP_X_CREDENCE_SUBJECT. "_" itself
// is there only where it is kept.
func lookalikes(names []string) *mutationv3.HeaderMutation {
	const odd, joint = `[^a-z0-9-]`, `[^a-z0-9]`
	var spellings []string
	for _, name := range names {
		parts := strings.Split(name, "-")
		// The first odd character stands after part i: no spelling with "-" alone matches.
		for i := range len(parts) - 1 {
			var b strings.Builder
			for j, p := range parts {
				b.WriteString(regexp.QuoteMeta(p))
				switch {
				case j == len(parts)-1:
				case j < i:
					b.WriteByte('-')
				case j == i:
					b.WriteString(odd)
				default:
					b.WriteString(joint)
				}
			}
			if strings.HasSuffix(name, "-") {
				b.WriteString(".*")
			}
			if !slices.Contains(spellings, b.String()) {
				spellings = append(spellings, b.String())
			}
		}
	}
	return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_RemoveOnMatch_{RemoveOnMatch: &mutationv3.HeaderMutation_RemoveOnMatch{
		KeyMatcher: matches(strings.Join(spellings, "|")),
	}}}
}

// health answers the health path before anything else is looked at, whatever the host.
func (t *translation) health(s *manners, m *hcmv3.HttpConnectionManager) {
	path := s.settings.HealthPath
	if path == "" {
		return
	}
	filter := t.httpFilter(healthFilter, &healthv3.HealthCheck{
		PassThroughMode: wrapperspb.Bool(false),
		Headers:         []*routev3.HeaderMatcher{headerIs(":path", path)},
	})
	m.HttpFilters = append([]*hcmv3.HttpFilter{filter}, m.HttpFilters...)
	// Load balancers ask in HTTP/1.0, without a host.
	m.HttpProtocolOptions.AcceptHttp_10, m.HttpProtocolOptions.DefaultHostForHttp_10 = true, noHost
}

func orDefault(d, def time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return def
}
