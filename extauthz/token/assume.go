package token

import (
	"time"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// Assume is the User of a token of the issuer that has these claims, a JSON object, without any token: nothing is verified, neither
// times nor audience. It is for people who ask what would happen, never for requests. The error is as that of Verify.
func (s Snapshot) Assume(issuer policy.Name, claims []byte) (*decide.User, error) {
	i, ok := s.state.issuers[issuer]
	if !ok {
		return nil, unavailable(ReasonIssuerConfig, "there is no TokenIssuer %s with JWTs", issuer)
	}
	all, err := object(claims)
	if err != nil {
		return nil, err
	}
	c, err := readClaims(all)
	if err != nil {
		return nil, err
	}
	if c.iss == "" {
		c.iss = i.conf.URL()
	}
	if c.exp == nil {
		end := instant(i.now().Add(defaultLife).UnixMilli())
		c.exp = &end
	}
	v, err := i.view(c)
	if err != nil {
		return nil, err
	}
	return i.user(v)
}

// defaultLife of claims that do not say.
const defaultLife = 5 * time.Minute
