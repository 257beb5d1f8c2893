package identity

import (
	"crypto/x509"
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

// watch begins with the peer's verified chain. A connection that has been closed stays closed.
func (c *conn) watch(certs []*x509.Certificate, until time.Time) {
	c.mu.Lock()
	if c.closed || c.timer != nil {
		c.mu.Unlock()
		return
	}
	c.certs = certs
	c.source.conns.Store(c, struct{}{})
	c.timer = time.AfterFunc(until.Sub(c.source.now()), c.check)
	c.mu.Unlock()
	c.check() // an update since the verification has not seen this connection
}

// check closes the connection unless its peer is trusted now.
func (c *conn) check() {
	c.mu.Lock()
	certs, closed := c.certs, c.closed
	c.mu.Unlock()
	if closed {
		return
	}
	_, until, err := c.source.verify(certs)
	if err != nil {
		c.source.log.Info("connection closed: no trust any more", "peer_address", c.RemoteAddr().String(), "reason", err)
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
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	c.source.conns.Delete(c)
	return c.Conn.Close()
}
