package svid

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// Verify checks a chain, leaf first, as X509-SVID §5 says: the leaf by CheckLeaf, then the path to an authority of the leaf's own
// trust domain, at the time now. bundles answers for each trust domain separately; a domain that it does not know, or whose
// bundle is empty, trusts nothing. Errors wrap ErrSVID, ErrID or ErrUntrusted.
func Verify(certs []*x509.Certificate, bundles x509bundle.Source, now time.Time) (spiffeid.ID, error) {
	if len(certs) == 0 {
		return spiffeid.ID{}, fmt.Errorf("%w: no certificate", ErrSVID)
	}
	id, err := CheckLeaf(certs[0])
	if err != nil {
		return spiffeid.ID{}, err
	}
	for i, c := range certs[1:] {
		if err := CheckAuthority(c, id.TrustDomain()); err != nil {
			return spiffeid.ID{}, fmt.Errorf("intermediate %d: %w", i+1, err)
		}
	}
	got, chains, err := x509svid.Verify(certs, bundles, x509svid.WithTime(now))
	if err != nil {
		return spiffeid.ID{}, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	if got != id || len(chains) == 0 {
		return spiffeid.ID{}, fmt.Errorf("%w: read as %q and as %q", ErrSVID, id, got)
	}
	return id, nil
}

// CheckAuthority checks a signing certificate of td: cA=true, keyCertSign, and if it carries a SPIFFE ID, the trust
// domain's own, without a path (X509-SVID §3.2, §4.1, §4.3). Errors wrap ErrSVID.
func CheckAuthority(cert *x509.Certificate, td spiffeid.TrustDomain) error {
	switch {
	case !cert.BasicConstraintsValid || !cert.IsCA:
		return fmt.Errorf("%w: a signing certificate must have cA=true", ErrSVID)
	case cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return fmt.Errorf("%w: a signing certificate must have keyCertSign", ErrSVID)
	}
	uris, _, err := uriNames(cert)
	if err != nil {
		return err
	}
	switch {
	case len(uris) == 0:
		return nil
	case len(uris) > 1:
		return fmt.Errorf("%w: %d URI names in a signing certificate", ErrSVID, len(uris))
	case uris[0] != td.IDString():
		return fmt.Errorf("%w: a signing certificate of %q, expected %q", ErrSVID, uris[0], td.IDString())
	}
	return nil
}

// CheckKey reports whether key is the private key of cert. Errors wrap ErrSVID.
func CheckKey(cert *x509.Certificate, key crypto.PrivateKey) error {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return fmt.Errorf("%w: a private key of type %T can't sign", ErrSVID, key)
	}
	pub, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return fmt.Errorf("%w: a public key of type %T", ErrSVID, signer.Public())
	}
	if !pub.Equal(cert.PublicKey) {
		return fmt.Errorf("%w: the private key is not the certificate's", ErrSVID)
	}
	return nil
}
