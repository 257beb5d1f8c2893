package xds

import (
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	inspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const tlsInspector = "envoy.filters.listener.tls_inspector"

// socketMode of a listener's unix socket: its owner alone may connect.
const socketMode = 0o600

// listener is one listening socket. Two Envoys on one port would split its traffic silently, so the second must fail to bind.
func listener(name string, address *corev3.Address, direction corev3.TrafficDirection, chains ...*listenerv3.FilterChain) *listenerv3.Listener {
	return &listenerv3.Listener{
		Name:                          name,
		StatPrefix:                    name,
		Address:                       address,
		FilterChains:                  chains,
		TrafficDirection:              direction,
		EnableReusePort:               wrapperspb.Bool(false),
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(connectionBuffer),
	}
}

// inspectTLS lets filter chains be chosen by server name.
func (t *translation) inspectTLS(l *listenerv3.Listener) {
	l.ListenerFilters = []*listenerv3.ListenerFilter{{
		Name:       tlsInspector,
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: t.pack(&inspectorv3.TlsInspector{})},
	}}
	l.ListenerFiltersTimeout = durationpb.New(tlsInspection)
}

func chain(name string, filter *listenerv3.Filter) *listenerv3.FilterChain {
	return &listenerv3.FilterChain{Name: name, Filters: []*listenerv3.Filter{filter}}
}

func secureChain(name string, filter *listenerv3.Filter, socket *corev3.TransportSocket) *listenerv3.FilterChain {
	c := chain(name, filter)
	c.TransportSocket = socket
	c.TransportSocketConnectTimeout = durationpb.New(tlsHandshake)
	return c
}

func socketAddress(ap netip.AddrPort) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       ap.Addr().String(),
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(ap.Port())},
		// "::" means every address, as it does to other servers.
		Ipv4Compat: ap.Addr() == netip.IPv6Unspecified(),
	}}}
}

func pipeAddress(path string, mode uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: path, Mode: mode}}}
}
