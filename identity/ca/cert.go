package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/credence-mesh/credence/identity/svid"
)

const (
	minRSA = 2048
	maxRSA = 4096
)

// serial returns a positive random number of 127 bits: RFC 5280 §4.1.2.2 allows 20 bytes.
func serial() (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	b[0] = b[0]&0x7f | 0x40 // positive, and always of the same length
	return new(big.Int).SetBytes(b), nil
}

func newAuthority(td spiffeid.TrustDomain, now time.Time, ttl time.Duration) (authority, error) {
	key, err := newKey()
	if err != nil {
		return authority{}, err
	}
	number, err := serial()
	if err != nil {
		return authority{}, err
	}
	template := &x509.Certificate{
		SerialNumber: number,
		// The serial number in the subject tells authorities of one trust domain apart while both are in the bundle.
		Subject:               pkix.Name{Organization: []string{"Credence"}, SerialNumber: number.Text(16)},
		NotBefore:             now.Add(-Backdate),
		NotAfter:              now.Add(ttl),
		URIs:                  []*url.URL{td.ID().URL()},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return authority{}, fmt.Errorf("sign an authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return authority{}, fmt.Errorf("sign an authority: %w", err)
	}
	return authority{cert: cert, key: key}, nil
}

type request struct {
	id  spiffeid.ID
	td  spiffeid.TrustDomain
	key crypto.PublicKey
	ttl time.Duration
	now time.Time
}

func (r request) check() error {
	if err := svid.CheckID(r.id); err != nil {
		return err
	}
	if !r.id.MemberOf(r.td) {
		return fmt.Errorf("the CA signs for %q only", r.td.Name())
	}
	if r.ttl <= 0 {
		return fmt.Errorf("a lifetime of %v", r.ttl)
	}
	switch k := r.key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() && k.Curve != elliptic.P384() {
			return errors.New("an ECDSA key must be on P-256 or P-384")
		}
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSA || n > maxRSA {
			return fmt.Errorf("an RSA key of %d bits, %d to %d are allowed", n, minRSA, maxRSA)
		}
	default:
		return fmt.Errorf("a public key of type %T", r.key)
	}
	return nil
}

// issue signs one leaf: X509-SVID §2 to §4. The subject is empty, so crypto/x509 makes the name critical.
func (a authority) issue(r request) (*x509.Certificate, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	number, err := serial()
	if err != nil {
		return nil, err
	}
	notBefore, notAfter := r.now.Add(-Backdate), r.now.Add(r.ttl)
	if notBefore.Before(a.cert.NotBefore) {
		notBefore = a.cert.NotBefore
	}
	if notAfter.After(a.cert.NotAfter) {
		notAfter = a.cert.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber:          number,
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		URIs:                  []*url.URL{r.id.URL()},
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, r.key, a.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	// What leaves is what was asked for, read back as a stranger would.
	got, err := svid.CheckLeaf(leaf)
	if err != nil {
		return nil, err
	}
	if got != r.id || !bytes.Equal(leaf.AuthorityKeyId, a.cert.SubjectKeyId) {
		return nil, fmt.Errorf("signed for %q", got)
	}
	return leaf, nil
}
