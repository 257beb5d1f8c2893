package introspect

import (
	"cmp"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// Has tells whether the issuer is one with introspection.
func (s Snapshot) Has(issuer policy.Name) bool { return s.state.issuers[issuer] != nil }

// Assume says whom a token would speak for about which the server answered claims, a JSON object, for people who ask. Nothing is asked,
// and nothing vouches for them: the User must never decide about a request.
func (s Snapshot) Assume(issuer policy.Name, claims []byte) (*decide.User, error) {
	i := s.state.issuers[issuer]
	if i == nil {
		return nil, credential.Unavailable(token.ReasonIssuerConfig, "there is no TokenIssuer %s with introspection", issuer)
	}
	all, err := token.ParseObject(claims)
	if err != nil {
		return nil, err
	}
	said, err := token.ReadStatement(&i.conf, all)
	if err != nil {
		return nil, err
	}
	said.Issuer = cmp.Or(said.Issuer, i.conf.URL())
	return i.user(said)
}
