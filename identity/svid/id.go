package svid

import (
	"errors"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Limits of SPIFFE-ID §2.3, in bytes.
const (
	MaxIDLen          = 2048
	MaxTrustDomainLen = 255
)

// Classes of errors of this package.
var (
	// ErrID: not the SPIFFE ID of a workload.
	ErrID = errors.New("not a workload's SPIFFE ID")
	// ErrSVID: the certificate does not have the shape of an X.509-SVID.
	ErrSVID = errors.New("not an X509-SVID")
	// ErrUntrusted: the chain does not end in the bundle of the SVID's own trust domain, or is out of its time.
	ErrUntrusted = errors.New("untrusted X509-SVID")
)

// ParseID parses the SPIFFE ID of a workload: what SPIFFE-ID §2 allows, at most 2048 bytes, with a path. Nothing is
// normalised: upper case in the trust domain, percent-encoding, dot segments, query and fragment are refused.
// Errors wrap ErrID.
func ParseID(s string) (spiffeid.ID, error) {
	if len(s) > MaxIDLen {
		return spiffeid.ID{}, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrID, len(s), MaxIDLen)
	}
	id, err := spiffeid.FromString(s)
	if err != nil {
		return spiffeid.ID{}, fmt.Errorf("%w: %q: %w", ErrID, s, err)
	}
	if err := CheckID(id); err != nil {
		return spiffeid.ID{}, err
	}
	return id, nil
}

// CheckID applies the rules of ParseID to an ID that is already parsed.
func CheckID(id spiffeid.ID) error {
	switch {
	case id.IsZero():
		return fmt.Errorf("%w: empty", ErrID)
	case len(id.String()) > MaxIDLen:
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrID, len(id.String()), MaxIDLen)
	case len(id.TrustDomain().Name()) > MaxTrustDomainLen:
		return fmt.Errorf("%w: the trust domain has %d bytes, at most %d are allowed", ErrID, len(id.TrustDomain().Name()), MaxTrustDomainLen)
	case id.Path() == "" || id.Path() == "/":
		return fmt.Errorf("%w: %q has no path: it names the trust domain", ErrID, id)
	}
	return nil
}

// ParseTrustDomain parses the name of a trust domain ("example.org"), at most 255 bytes. An ID is refused: a name that is
// sometimes an ID hides mistakes. Errors wrap ErrID.
func ParseTrustDomain(s string) (spiffeid.TrustDomain, error) {
	if len(s) > MaxTrustDomainLen {
		return spiffeid.TrustDomain{}, fmt.Errorf("%w: the trust domain has %d bytes, at most %d are allowed", ErrID, len(s), MaxTrustDomainLen)
	}
	td, err := spiffeid.TrustDomainFromString(s)
	if err != nil {
		return spiffeid.TrustDomain{}, fmt.Errorf("%w: trust domain %q: %w", ErrID, s, err)
	}
	if td.Name() != s {
		return spiffeid.TrustDomain{}, fmt.Errorf("%w: trust domain %q: expected a bare name such as %q", ErrID, s, td.Name())
	}
	return td, nil
}
