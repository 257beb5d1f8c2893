package xds

import (
	"strings"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	grpcwebv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/grpc_web/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/credence-mesh/credence/policy"
)

const (
	managerFilter       = "envoy.filters.network.http_connection_manager"
	routerFilter        = "envoy.filters.http.router"
	earlyHeaderMutation = "envoy.http.early_header_mutation.header_mutation"
	internalToken       = "txn-token"
)

// side is where requests come from. It decides what of a request is believed.
type side int

const (
	_ side = iota
	// fromOutside: clients of a gateway. Nothing is believed.
	fromOutside
	// fromMesh: proxies of the mesh at a sidecar's inbound listener. What their gateway wrote about the client is left alone.
	fromMesh
	// fromApplication: the workload's own calls at its sidecar's outbound listener.
	fromApplication
)

func without(name string) *mutationv3.HeaderMutation {
	return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Remove{Remove: name}}
}

func withoutPrefix(prefix string) *mutationv3.HeaderMutation {
	return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_RemoveOnMatch_{RemoveOnMatch: &mutationv3.HeaderMutation_RemoveOnMatch{
		KeyMatcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: prefix}},
	}}}
}

// mutations remove every header that could pass for something that we or Envoy say. They run before routing and Check: a removal at the
// route would run after ext_authz and take our own headers.
func (s *manners) mutations() []*mutationv3.HeaderMutation {
	names := []string{
		"x-credence-", "x-envoy-", internalToken, "proxy-authorization",
		// A framework that honours one of these would run another method, or another path, than the one that was judged.
		"x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url",
	}
	switch {
	case s.side != fromOutside:
	case s.believed():
		// A front proxy says where the client is and what it asked for, never who the user is, nor what is to be done instead.
		names = append(names, "forwarded", "x-real-ip", "x-forwarded-client-cert", "x-forwarded-user", "x-forwarded-email",
			"x-forwarded-groups", "x-forwarded-preferred-username", "x-forwarded-access-token", "x-forwarded-method", "x-forwarded-uri", "x-forwarded-path")
	default:
		// The gateway's Envoy writes these anew; inside the mesh they are a gateway's word.
		names = append(names, "x-forwarded-", "forwarded", "x-real-ip")
	}
	var ms []*mutationv3.HeaderMutation
	for _, n := range names {
		// Services of a mesh with internal tokens pass them on, and the sidecar that receives one judges it. Nobody else can have one.
		if n == internalToken && s.internalTokens && s.side != fromOutside {
			continue
		}
		if strings.HasSuffix(n, "-") {
			ms = append(ms, withoutPrefix(n))
			continue
		}
		ms = append(ms, without(n))
	}
	return append(ms, lookalikes(append(names, "x-forwarded-", "x-forwarded-client-cert", "content-length", "transfer-encoding")))
}

// httpFilters is the order of HTTP filters in every manager. Places that are kept: cors and grpc_web stand before ext_authz (a preflight
// is answered without a user, a denial to gRPC-Web is translated); nothing that clears the route cache may ever stand after it.
func (t *translation) httpFilters(s side, routes string) []*hcmv3.HttpFilter {
	var filters []*hcmv3.HttpFilter
	if t.configured[filterOf{routes, corsFilter}] {
		filters = append(filters, t.httpFilter(corsFilter, &corsv3.Cors{}))
	}
	if t.configured[filterOf{routes, grpcWebFilter}] {
		f := t.httpFilter(grpcWebFilter, &grpcwebv3.GrpcWeb{})
		f.Disabled = true // but for the routes that turn it on
		filters = append(filters, f)
	}
	// The application's own calls are not judged where they leave: the application could bypass that proxy. The receiving sidecar
	// judges them, by the identity that mTLS proves and the token that came along.
	if s != fromApplication {
		filters = append(filters, t.httpFilter(extAuthzFilter, extAuthz()))
	}
	return append(filters, t.httpFilter(trailersFilter, withoutRequestTrailers()), t.httpFilter(routerFilter, &routerv3.Router{}))
}

func (t *translation) httpFilter(name string, config proto.Message) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: t.pack(config)}}
}

// manager is the network filter that serves HTTP with the route configuration of the given name.
func (t *translation) manager(s manners, listener, routes string) *listenerv3.Filter {
	s.internalTokens = t.set.Mesh.InternalTokens != nil
	m := &hcmv3.HttpConnectionManager{
		StatPrefix: listener,
		CodecType:  hcmv3.HttpConnectionManager_AUTO,
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{
			ConfigSource: adsSource(), RouteConfigName: routes,
		}},
		HttpFilters: t.httpFilters(s.side, routes),
		EarlyHeaderMutationExtensions: []*corev3.TypedExtensionConfig{{
			Name: earlyHeaderMutation, TypedConfig: t.pack(&earlyv3.HeaderMutation{Mutations: append(s.mutations(), t.claimLookalikes(s.side)...)}),
		}},
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{
			IdleTimeout:                  durationpb.New(orDefault(s.settings.ConnectionIdle, connectionIdle)),
			MaxHeadersCount:              wrapperspb.UInt32(headersCount),
			HeadersWithUnderscoresAction: s.underscores(),
		},
		Http2ProtocolOptions: &corev3.Http2ProtocolOptions{
			MaxConcurrentStreams:        wrapperspb.UInt32(http2Streams),
			InitialStreamWindowSize:     wrapperspb.UInt32(http2StreamWindow),
			InitialConnectionWindowSize: wrapperspb.UInt32(http2ConnectionWindow),
			// WebSockets over HTTP/2 (RFC 8441); plain CONNECT still has no route.
			AllowConnect: true,
		},
		// Response trailers of HTTP/1.1; those of requests end at trailersFilter.
		HttpProtocolOptions: &corev3.Http1ProtocolOptions{EnableTrailers: true},
		// Who is denied is not asked for the body: only the application says "100 Continue".
		Proxy_100Continue:     true,
		MaxRequestHeadersKb:   wrapperspb.UInt32(headersKB),
		StreamIdleTimeout:     durationpb.New(orDefault(s.settings.StreamIdle, streamIdle)),
		RequestHeadersTimeout: durationpb.New(requestHeadersTimeout),
		UpgradeConfigs:        []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}},
		AccessLog:             t.accessLog(listener),
		LocalReplyConfig:      uncachedErrors(),
		// A client's x-forwarded-client-cert is dropped everywhere, in clear text too.
		ForwardClientCertDetails:    hcmv3.HttpConnectionManager_SANITIZE_SET,
		SetCurrentClientCertDetails: &hcmv3.HttpConnectionManager_SetCurrentClientCertDetails{Uri: true},
	}
	t.clientAddress(&s, m)
	t.health(&s, m)
	t.believe(&s, m)
	return &listenerv3.Filter{Name: managerFilter, ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: t.pack(m)}}
}

// believe sets what differs by side.
func (t *translation) believe(s *manners, m *hcmv3.HttpConnectionManager) {
	life := lifetimesOf(t.set.Mesh.SVIDTTL)
	common := m.GetCommonHttpProtocolOptions()
	switch s.side {
	case fromOutside:
		common.MaxStreamDuration = durationpb.New(orDefault(s.settings.StreamCap, gatewayStreamCap))
		// One dot; "a.test." is the host a.test.
		m.StripTrailingHostDot = true
		normalise(m, s.settings.Paths)
	case fromMesh:
		common.MaxStreamDuration = durationpb.New(life.stream)
		common.MaxConnectionDuration = durationpb.New(life.downstream)
		m.DrainTimeout = durationpb.New(life.drain)
		m.Http2ProtocolOptions.MaxConcurrentStreams = wrapperspb.UInt32(meshStreams)
		m.Http2ProtocolOptions.InitialConnectionWindowSize = wrapperspb.UInt32(meshConnectionWindow)
		normalise(m, s.settings.Paths)
	case fromApplication:
		// Paths are left as the application wrote them: no route depends on them, and a second normalisation can read another path
		// than the first ("/a/.%2e;/b"). The receiver normalises once and judges what it forwards.
		m.StripTrailingHostDot = true
		common.MaxStreamDuration = durationpb.New(life.stream)
	}
}

// normalise makes the path that is routed, the path that Check sees and the path that goes upstream one and the same.
func normalise(m *hcmv3.HttpConnectionManager, rules policy.PathRules) {
	m.NormalizePath = wrapperspb.Bool(true)
	m.MergeSlashes = !rules.KeepEmptySegments
	// %2F and %5C: two readers see two paths. The redirecting alternative answers without a Check.
	m.PathWithEscapedSlashesAction = hcmv3.HttpConnectionManager_REJECT_REQUEST
	if rules.KeepEscapedSlashes {
		m.PathWithEscapedSlashesAction = hcmv3.HttpConnectionManager_KEEP_UNCHANGED
	}
}
