package xds

import (
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	upstreamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/credence-mesh/credence/policy"
)

// grpcWebFilter translates gRPC-Web (HTTP/1.1 clients without trailers) to gRPC and back. It stands before ext_authz and is off but for
// the routes that turn it on: an application that speaks gRPC-Web itself is left alone.
const grpcWebFilter = "envoy.filters.http.grpc_web"

// grpc makes a route one for gRPC: gRPC-Web is translated, and the client's deadline (grpc-timeout) ends the stream with DEADLINE_EXCEEDED
// at the proxy too, never later than limit, which ends every stream.
func (t *translation) grpc(r *routev3.Route, limit time.Duration) {
	if r.TypedPerFilterConfig == nil {
		r.TypedPerFilterConfig = map[string]*anypb.Any{}
	}
	// A configuration without content is how Envoy has a filter turned on.
	r.TypedPerFilterConfig[grpcWebFilter] = t.pack(&routev3.FilterConfig{Config: &anypb.Any{}})
	if a := r.GetRoute(); a != nil {
		a.MaxStreamDuration = &routev3.RouteAction_MaxStreamDuration{GrpcTimeoutHeaderMax: durationpb.New(limit)}
	}
}

// gatewayCap is what ends every stream of the gateway.
func (t *translation) gatewayCap() time.Duration {
	return orDefault(t.settings.StreamCap, gatewayStreamCap)
}

// applicationProtocol is what the application behind a port speaks, in clear text.
func applicationProtocol(p *policy.Port) *upstreamv3.HttpProtocolOptions_ExplicitHttpConfig {
	if !p.HTTP2 {
		return &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{HttpProtocolOptions: &corev3.Http1ProtocolOptions{EnableTrailers: true}},
		}
	}
	return &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig{
		ProtocolConfig: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: &corev3.Http2ProtocolOptions{
			MaxConcurrentStreams:        wrapperspb.UInt32(meshStreams),
			InitialStreamWindowSize:     wrapperspb.UInt32(http2StreamWindow),
			InitialConnectionWindowSize: wrapperspb.UInt32(meshConnectionWindow),
			AllowConnect:                true,
		}},
	}
}

// uncachedErrors keeps caches before the gateway from storing what Envoy itself answers to a gRPC call: HTTP 200, whatever it was, and for a GET
// too. A client that adds the content type to a request for a page could else leave an empty page there for everybody.
func uncachedErrors() *hcmv3.LocalReplyConfig {
	return &hcmv3.LocalReplyConfig{Mappers: []*hcmv3.ResponseMapper{{
		Filter: &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_HeaderFilter{HeaderFilter: &accesslogv3.HeaderFilter{
			Header: &routev3.HeaderMatcher{Name: "content-type", HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
				MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: "application/grpc"}, IgnoreCase: true,
			}}},
		}}},
		HeadersToAdd: []*corev3.HeaderValueOption{{
			Header: &corev3.HeaderValue{Key: "cache-control", Value: "no-store"}, AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		}},
	}}}
}
