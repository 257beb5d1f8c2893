package identity

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/credence-mesh/credence/identity/svid"
)

// Limits of the connections that Client makes.
const (
	connectTimeout = 10 * time.Second
	idleTimeout    = 90 * time.Second
)

// Client calls https URLs by mTLS: servers that a allows, by HTTP/2 where they speak it. Each connection is closed when trust in its server
// ends. It goes through no proxy and refuses http URLs, which would carry no identity. The caller sets its Timeout.
func (s *Source) Client(a Authorizer) *http.Client {
	return &http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		IdleConnTimeout:   idleTimeout,
		DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
			return nil, fmt.Errorf("http to %s would carry no identity: use https", address)
		},
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, connectTimeout)
			defer cancel()
			raw, err := (&net.Dialer{}).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			t := s.dialled(raw, a)
			if err := t.HandshakeContext(ctx); err != nil {
				return nil, errors.Join(err, closed(t.NetConn()))
			}
			return t, nil
		},
	}}
}

// closed closes a connection that is of no use; that it is closed already is no fault.
func closed(c net.Conn) error {
	if err := c.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Peer is the verified SPIFFE ID of the caller. It is checked now, by today's bundle and the clock, also where the connection is older:
// an error is a refusal. Whether the caller may is another question.
func (s *Source) Peer(r *http.Request) (spiffeid.ID, error) { return s.peer(r.TLS) }

func (s *Source) peer(cs *tls.ConnectionState) (spiffeid.ID, error) {
	if cs == nil {
		return spiffeid.ID{}, fmt.Errorf("%w: the connection has no TLS", svid.ErrSVID)
	}
	id, _, err := s.verify(cs.PeerCertificates)
	return id, err
}

// Handler lets requests through to next whose caller is trusted now and allowed by a, without headers x-credence-*, which are only the
// caller's word here. Others are answered with 403 and a body that names this service as the one that refused; the connection of a caller
// that is not trusted any more is closed.
func (s *Source) Handler(a Authorizer, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := s.Peer(r)
		if err != nil {
			w.Header().Set("Connection", "close") // by HTTP/2 a GOAWAY
			s.refuse(w, "peer_not_trusted", "the SVID of the caller is not trusted")
			return
		}
		if err := a.allow(id); err != nil {
			s.refuse(w, "peer_not_allowed", fmt.Sprintf("%s may not call this service", id))
			return
		}
		clean := r.WithContext(r.Context())
		clean.Header = r.Header.Clone()
		for name := range clean.Header {
			if reserved(name) {
				delete(clean.Header, name)
			}
		}
		next.ServeHTTP(w, clean)
	})
}

// reserved names are those that a sidecar sets after its Check.
func reserved(name string) bool { return strings.HasPrefix(strings.ToLower(name), "x-credence-") }

func (s *Source) refuse(w http.ResponseWriter, reason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusForbidden)
	body := map[string]string{"error": "forbidden", "reason": reason, "message": message, "decided_by": "the code of " + s.ID().String()}
	if err := json.NewEncoder(w).Encode(body); err != nil {
		s.log.Debug("answering a refused caller", "fault", err)
	}
}
