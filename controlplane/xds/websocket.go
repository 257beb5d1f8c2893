package xds

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
)

// websocketKey stands in for a client's Sec-WebSocket-Key: 16 bytes, "Credence sidecar". The key shows a client that the server speaks WebSocket
// and no cache answered (RFC 6455 §1.3); between a sidecar and the application behind it there is neither doubt nor cache.
const websocketKey = "Q3JlZGVuY2Ugc2lkZWNhcg=="

// websocket is route for WebSockets at an application that speaks HTTP/1.1. Over HTTP/2 browsers send no Sec-WebSocket-Key (RFC 8441 §5.1),
// Envoy 1.40 makes none, and servers refuse a handshake without one.
func websocket(route *routev3.Route) *routev3.Route {
	out := proto.CloneOf(route)
	out.Match.Headers = append(out.Match.Headers, headerIs("upgrade", "websocket"))
	out.RequestHeadersToAdd = append(out.RequestHeadersToAdd, &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: "sec-websocket-key", Value: websocketKey},
		AppendAction: corev3.HeaderValueOption_ADD_IF_ABSENT,
	})
	return out
}
