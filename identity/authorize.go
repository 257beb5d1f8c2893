package identity

import (
	"errors"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/credence-mesh/credence/identity/svid"
)

// ErrDenied is wrapped by every refusal of an Authorizer: the peer has proved who it is, and may not.
var ErrDenied = errors.New("peer not allowed")

// Authorizer decides whether a peer, whose SVID has been verified, may connect or call: nil is yes. It may be called at the same time by
// several goroutines, at every handshake and request: it must not block. A nil Authorizer allows nobody.
type Authorizer func(peer spiffeid.ID) error

// Only allows exactly these SPIFFE IDs, compared byte by byte (SPIFFE-ID §2.4). Without IDs, or where one of them is no workload's
// SPIFFE ID, it allows nobody, and its error says why.
func Only(ids ...string) Authorizer {
	allowed := make(map[string]bool, len(ids))
	for _, id := range ids {
		if _, err := svid.ParseID(id); err != nil {
			return func(peer spiffeid.ID) error {
				return fmt.Errorf("%w: %s: who may is written wrongly: %w", ErrDenied, peer, err)
			}
		}
		allowed[id] = true
	}
	return func(peer spiffeid.ID) error {
		if !allowed[peer.String()] {
			return fmt.Errorf("%w: %s is not on the list", ErrDenied, peer)
		}
		return nil
	}
}

// AnyOf allows every workload of the trust domain ("example.org"): also those that exist for something else. Where the name is no trust
// domain's, it allows nobody.
func AnyOf(trustDomain string) Authorizer {
	td, err := svid.ParseTrustDomain(trustDomain)
	if err != nil {
		return func(peer spiffeid.ID) error {
			return fmt.Errorf("%w: %s: who may is written wrongly: %w", ErrDenied, peer, err)
		}
	}
	return func(peer spiffeid.ID) error {
		if !peer.MemberOf(td) {
			return fmt.Errorf("%w: %s is not of %s", ErrDenied, peer, td)
		}
		return nil
	}
}

// allow asks the Authorizer.
func (a Authorizer) allow(peer spiffeid.ID) error {
	if a == nil {
		return fmt.Errorf("%w: nobody is: no Authorizer is set", ErrDenied)
	}
	err := a(peer)
	if err == nil || errors.Is(err, ErrDenied) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrDenied, peer, err)
}
