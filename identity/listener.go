package identity

import (
	"context"
	"crypto/tls"
	"net"
)

// Listen listens on the TCP address ("ip:port") and serves mTLS there: connections of peers that a allows, each closed when trust in its
// peer ends. It is for http.Server.Serve, without ServeTLS. A refused peer is an error of its connection, never of the listener.
func (s *Source) Listen(ctx context.Context, address string, a Authorizer) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return s.Listener(l, a), nil
}

// Listener is Listen on a listener that is there.
func (s *Source) Listener(l net.Listener, a Authorizer) net.Listener {
	return &listener{Listener: l, source: s, authorizer: a}
}

type listener struct {
	net.Listener
	source     *Source
	authorizer Authorizer
}

// Accept returns a *tls.Conn before its handshake.
func (l *listener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.source.server(raw, l.authorizer), nil
}

// server is the server's end of a connection, before its handshake.
func (s *Source) server(raw net.Conn, a Authorizer, protocols ...string) *tls.Conn {
	return s.track(raw, func(c *conn) *tls.Conn { return tls.Server(c, speaking(s.serverConfig(a, c), protocols)) })
}

// dialled is the client's end of a connection, before its handshake.
func (s *Source) dialled(raw net.Conn, a Authorizer, protocols ...string) *tls.Conn {
	return s.track(raw, func(c *conn) *tls.Conn { return tls.Client(c, speaking(s.clientConfig(a, c), protocols)) })
}

// speaking has cfg speak the protocols (ALPN), where there are any.
func speaking(cfg *tls.Config, protocols []string) *tls.Config {
	if len(protocols) > 0 {
		cfg.NextProtos = protocols
	}
	return cfg
}
