package identity

import (
	"crypto/tls"
	"fmt"

	"github.com/credence-mesh/credence/identity/svid"
)

// ServerTLS is a configuration for servers that bring their own listener: it shows the newest SVID and lets in whom a allows. Peers are
// checked at the handshake only; Peer and Handler check at every request, and Listen closes connections besides. The caller may not change
// its fields, but for NextProtos.
func (s *Source) ServerTLS(a Authorizer) *tls.Config { return s.serverConfig(a, nil) }

// ClientTLS is a configuration for clients: it shows the newest SVID and talks to servers that a allows, whatever their host name is. Servers
// are checked at the handshake only; Client closes connections besides. The caller may not change its fields, but for NextProtos. An
// http.Transport with it needs ForceAttemptHTTP2.
func (s *Source) ClientTLS(a Authorizer) *tls.Config { return s.clientConfig(a, nil) }

func (s *Source) serverConfig(a Authorizer, c *conn) *tls.Config {
	cfg := s.config(a, c)
	// Any certificate at first: VerifyConnection is the verifier, the system's roots are never asked.
	cfg.ClientAuth = tls.RequireAnyClientCert
	cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.certificate() }
	return cfg
}

func (s *Source) clientConfig(a Authorizer, c *conn) *tls.Config {
	cfg := s.config(a, c)
	// The name of a server is its SPIFFE ID: VerifyConnection takes the place of the check of host names.
	cfg.InsecureSkipVerify = true
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return s.certificate() }
	return cfg
}

// config is what both ends share. A resumed session would skip the check of the peer against today's bundle: there are no tickets and no
// cache, and VerifyConnection, which runs for resumed sessions too, refuses one.
func (s *Source) config(a Authorizer, c *conn) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{"h2", "http/1.1"},
		SessionTicketsDisabled: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			if cs.DidResume {
				return fmt.Errorf("%w: a resumed session", svid.ErrUntrusted)
			}
			id, until, err := s.verify(cs.PeerCertificates)
			if err != nil {
				return err
			}
			if err := a.allow(id); err != nil {
				return err
			}
			if c != nil {
				c.watch(cs.PeerCertificates, until)
			}
			return nil
		},
	}
}

func (s *Source) certificate() (*tls.Certificate, error) {
	st, err := s.current()
	if err != nil {
		return nil, err
	}
	return st.cert, nil
}
