package identity

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"

	"github.com/credence-mesh/credence/identity/svid"
)

// maxVerified bounds what one state remembers; past it a peer is verified anew each time.
const maxVerified = 4096

// state is what one update of the Workload API says. It is immutable but for its memory of verified peers, which ends with it: nothing
// that an older bundle has verified counts any more.
type state struct {
	id      spiffeid.ID
	cert    *tls.Certificate
	expires time.Time
	bundles x509bundle.Source

	verified sync.Map // [sha256.Size]byte to verified
	count    atomic.Int64
}

// verified is a peer and the time in which its chain is good.
type verified struct {
	id            spiffeid.ID
	begins, until time.Time
}

// newState checks our own SVID as strictly as a peer's: what others would refuse is not taken over.
func newState(c *workloadapi.X509Context, now time.Time) (*state, error) {
	own := c.DefaultSVID()
	id, err := svid.Verify(own.Certificates, c.Bundles, now)
	if err != nil {
		return nil, fmt.Errorf("the SVID of the Workload API: %w", err)
	}
	if err := svid.CheckKey(own.Certificates[0], own.PrivateKey); err != nil {
		return nil, fmt.Errorf("the SVID of the Workload API: %w", err)
	}
	cert := &tls.Certificate{PrivateKey: own.PrivateKey, Leaf: own.Certificates[0]}
	for _, one := range own.Certificates {
		cert.Certificate = append(cert.Certificate, one.Raw)
	}
	_, until := span(own.Certificates)
	return &state{id: id, cert: cert, expires: until, bundles: c.Bundles}, nil
}

// span is the time in which all certificates are good.
func span(certs []*x509.Certificate) (begins, until time.Time) {
	begins, until = certs[0].NotBefore, certs[0].NotAfter
	for _, c := range certs[1:] {
		if c.NotBefore.After(begins) {
			begins = c.NotBefore
		}
		if c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	return begins, until
}

// verify is svid.Verify by the bundles of this state, remembered by the bytes of the whole chain. until is when it must be asked again.
func (s *state) verify(certs []*x509.Certificate, now time.Time) (id spiffeid.ID, until time.Time, err error) {
	if len(certs) == 0 {
		return spiffeid.ID{}, time.Time{}, fmt.Errorf("%w: the peer has sent no certificate", svid.ErrSVID)
	}
	key := fingerprint(certs)
	if v, ok := s.verified.Load(key); ok {
		if v, ok := v.(verified); ok && !now.Before(v.begins) && now.Before(v.until) {
			return v.id, v.until, nil
		}
	}
	if id, err = svid.Verify(certs, s.bundles, now); err != nil {
		return spiffeid.ID{}, time.Time{}, err
	}
	begins, until := span(certs)
	if now.Before(begins) || !now.Before(until) {
		return spiffeid.ID{}, time.Time{}, fmt.Errorf("%w: a certificate that came along is out of its time", svid.ErrUntrusted)
	}
	// Which authority the path ends in is not known: the first end of any that is good now decides.
	bundle, err := s.bundles.GetX509BundleForTrustDomain(id.TrustDomain())
	if err != nil {
		return spiffeid.ID{}, time.Time{}, fmt.Errorf("%w: %w", svid.ErrUntrusted, err)
	}
	for _, a := range bundle.X509Authorities() {
		if a.NotAfter.After(now) && a.NotAfter.Before(until) {
			until = a.NotAfter
		}
	}
	if s.count.Add(1) <= maxVerified {
		s.verified.Store(key, verified{id, begins, until})
	}
	return id, until, nil
}

// fingerprint is a hash over the hashes of all certificates: no two chains run together.
func fingerprint(certs []*x509.Certificate) [sha256.Size]byte {
	all := make([]byte, 0, len(certs)*sha256.Size)
	for _, c := range certs {
		one := sha256.Sum256(c.Raw)
		all = append(all, one[:]...)
	}
	return sha256.Sum256(all)
}
