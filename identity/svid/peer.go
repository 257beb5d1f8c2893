package svid

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// maxPeerLen bounds what a proxy may send as a certificate: about 630 bytes are usual for P-256.
const maxPeerLen = 64 << 10

const pemHead = "-----BEGIN CERTIFICATE-----\n"

// PeerFromEnvoy reads the ID of the peer from Envoy's source.certificate: the leaf only, PEM, percent-encoded. Envoy has verified the
// chain and the validity of it at the handshake; Envoy's SPIFFE validator lets through several URI names, root and dotted paths and
// foreign extended key usages, so everything of CheckLeaf is checked again here. An empty string is an error: no peer.
// Errors wrap ErrSVID or ErrID.
func PeerFromEnvoy(certificate string) (spiffeid.ID, error) {
	id, _, err := PeerUntil(certificate)
	return id, err
}

// PeerUntil is PeerFromEnvoy, and tells when the certificate runs out: Envoy leaves connections open that were let in before.
func PeerUntil(certificate string) (spiffeid.ID, time.Time, error) {
	cert, err := leafFromEnvoy(certificate)
	if err != nil {
		return spiffeid.ID{}, time.Time{}, err
	}
	id, err := CheckLeaf(cert)
	return id, cert.NotAfter, err
}

func leafFromEnvoy(certificate string) (*x509.Certificate, error) {
	switch {
	case certificate == "":
		return nil, fmt.Errorf("%w: the peer has sent no certificate", ErrSVID)
	case len(certificate) > maxPeerLen:
		return nil, fmt.Errorf("%w: a certificate of %d bytes, at most %d are read", ErrSVID, len(certificate), maxPeerLen)
	}
	text, err := url.PathUnescape(certificate)
	if err != nil {
		return nil, fmt.Errorf("%w: percent-encoding: %w", ErrSVID, err)
	}
	if !strings.HasPrefix(text, pemHead) {
		return nil, fmt.Errorf("%w: not a PEM certificate", ErrSVID)
	}
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil:
		return nil, fmt.Errorf("%w: broken PEM", ErrSVID)
	case block.Type != "CERTIFICATE" || len(block.Headers) != 0:
		return nil, fmt.Errorf("%w: not a plain PEM certificate", ErrSVID)
	case len(rest) != 0:
		return nil, fmt.Errorf("%w: %d bytes after the certificate", ErrSVID, len(rest))
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSVID, err)
	}
	return cert, nil
}
