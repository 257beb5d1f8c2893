package identity

import (
	"crypto/x509"
	"errors"
	"net"
	"sync"
	"time"
)

// conn is the raw connection below a TLS connection that ends when trust in its peer ends.
type conn struct {
	net.Conn
	source *Source

	mu     sync.Mutex
	certs  []*x509.Certificate
	timer  *time.Timer
	closed bool
}

// track makes a connection that is closed unless its peer is verified within the time for handshakes.
func (s *Source) track(raw net.Conn) *conn {
	c := &conn{Conn: raw, source: s}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(s.handshake, c.check)
	return c
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
	c.timer.Reset(until.Sub(c.source.now()))
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
	until, err := time.Time{}, errNoHandshake
	if certs != nil {
		_, until, err = c.source.verify(certs)
	}
	if err != nil {
		c.source.log.Info("connection closed: no trust", "peer_address", c.RemoteAddr().String(), "reason", err)
		_ = c.Close() // what fails to close is closed
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.timer.Reset(until.Sub(c.source.now()))
	}
}

// Close closes the connection and forgets it.
func (c *conn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.timer.Stop()
	c.mu.Unlock()
	c.source.conns.Delete(c)
	return c.Conn.Close()
}
