package token

import (
	"context"
	"errors"

	"github.com/golang-jwt/jwt/v5"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/policy"
)

// ReasonKeysPending says that it could not be told in time whether the issuer has the key: unavailable, or invalid where its configuration
// says so.
const ReasonKeysPending = "keys_pending"

// signature checks the signature of p with a key of set. A kid that set does not have is worth one look at what the issuer has now, within
// the limits of jwks; a signature that does not verify never is.
func (i *issuer) signature(ctx context.Context, p *parsed, method jwt.SigningMethod, set *jwks.Set) (*jwks.Key, error) {
	if _, ok := set.Lookup(p.kid, p.alg); ok || p.kid == "" {
		return p.verify(method, set)
	}
	err := i.keys.Refresh(ctx, p.kid, p.alg)
	switch {
	case err == nil:
		return p.verify(method, i.keys.Set())
	case errors.Is(err, jwks.ErrUnknownKey):
		return nil, invalid(ReasonKidUnknown, "no key %.64q for %s", p.kid, p.alg)
	case i.conf.Keys.UnknownKey == policy.UnknownKeyUnauthorized:
		return nil, invalid(ReasonKeysPending, "no key %.64q for %s yet", p.kid, p.alg)
	}
	return nil, unavailable(ReasonKeysPending, "no key %.64q for %s yet", p.kid, p.alg)
}
