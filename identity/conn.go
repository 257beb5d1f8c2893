package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync"
	"time"
)

// lookAtMost bounds how long overdue looks at a handshake that still goes on.
const lookAtMost = time.Second

// conn is the raw connection below a TLS connection that ends when trust in its peer ends.
type conn struct {
	net.Conn
	source *Source
	tls    *tls.Conn

	mu    sync.Mutex
	certs []*x509.Certificate
	// limit ends a handshake that takes too long; trust ends, from watch on, what was verified.
	limit, trust *time.Timer
	closed       bool
}

// track makes a connection, with the TLS that over makes on it, that is closed unless its handshake ends in time.
func (s *Source) track(raw net.Conn, over func(*conn) *tls.Conn) *tls.Conn {
	c := &conn{Conn: raw, source: s}
	c.tls = over(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit = time.AfterFunc(s.handshake, c.overdue)
	return c.tls
}

// overdue closes the connection unless its handshake has ended. Certificates that are verified are no sign of it: they come before the
// proof that the peer has their key, and whoever has seen a certificate could keep connections open with it.
func (c *conn) overdue() {
	c.mu.Lock()
	shown, gone := c.certs != nil, c.closed
	c.mu.Unlock()
	if gone {
		return
	}
	if shown {
		end := time.AfterFunc(lookAtMost, func() { _ = c.Close() })
		complete := c.tls.ConnectionState().HandshakeComplete // waits for a handshake that goes on
		end.Stop()
		if complete {
			return
		}
	}
	c.distrust(errNoHandshake)
}

// watch begins with the peer's verified chain. A connection that has been closed stays closed.
func (c *conn) watch(certs []*x509.Certificate, until time.Time) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.certs = certs
	c.source.conns.Store(c, struct{}{})
	c.trust = time.AfterFunc(until.Sub(c.source.now()), c.check)
	c.mu.Unlock()
	c.check() // an update since the verification has not seen this connection
}

var errNoHandshake = errors.New("the peer has not shown who it is in time")

// check closes the connection unless its peer is trusted now.
func (c *conn) check() {
	c.mu.Lock()
	certs, gone := c.certs, c.closed
	c.mu.Unlock()
	if gone {
		return
	}
	_, until, err := c.source.verify(certs)
	if err != nil {
		c.distrust(err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.trust.Reset(until.Sub(c.source.now()))
	}
}

func (c *conn) distrust(reason error) {
	c.source.log.Info("connection closed: no trust", "peer_address", c.RemoteAddr().String(), "reason", reason)
	_ = c.Close() // what fails to close is closed
}

// Close closes the connection and forgets it.
func (c *conn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.limit.Stop()
	if c.trust != nil {
		c.trust.Stop()
	}
	c.mu.Unlock()
	c.source.conns.Delete(c)
	return c.Conn.Close()
}
