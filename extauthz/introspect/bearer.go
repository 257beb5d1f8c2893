package introspect

import (
	"context"

	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// JWTs verifies tokens that are not opaque; token.Snapshot is one.
type JWTs interface {
	// VerifyIssued also tells whether raw is a JWT with the iss of an accepted issuer.
	VerifyIssued(ctx context.Context, raw string, accepted []policy.Name) (user *decide.User, issued bool, err error)
}

var _ JWTs = token.Snapshot{}

// Bearer verifies bearer tokens of both kinds. A JWT of an accepted issuer is judged by JWT alone, good or not: what it could not verify must
// not get a second chance, and no other server is to see it. Anything else is opaque.
type Bearer struct {
	JWT    JWTs
	Opaque Snapshot
}

// Verify tells who raw speaks for, by the issuers that are accepted. See the Verify of both.
func (b Bearer) Verify(ctx context.Context, raw string, accepted []policy.Name) (*decide.User, error) {
	opaque := 0
	for _, name := range accepted {
		if b.Opaque.Has(name) {
			opaque++
		}
	}
	switch {
	case opaque == 0:
		user, _, err := b.JWT.VerifyIssued(ctx, raw, accepted)
		return user, err
	case opaque == len(accepted):
		return b.Opaque.Verify(ctx, raw, accepted)
	}
	jwts := make([]policy.Name, 0, len(accepted)-opaque)
	for _, name := range accepted {
		if !b.Opaque.Has(name) {
			jwts = append(jwts, name)
		}
	}
	user, issued, err := b.JWT.VerifyIssued(ctx, raw, jwts)
	if issued {
		return user, err
	}
	return b.Opaque.Verify(ctx, raw, accepted)
}
