package introspect

import (
	"context"
	"mime"
	"slices"
	"strings"
	"time"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
)

// Media types of answers, and the type of a signed one (RFC 9701 §5).
const (
	typeJSON   = "application/json"
	typeSigned = "application/token-introspection+jwt"
	typSigned  = "token-introspection+jwt"
)

// maxAnswerAge is how old a signed answer may be: nothing in it says which question it answers.
const maxAnswerAge = time.Minute

// signed says which key a signed answer rests on.
type signed struct {
	key *jwks.Key
}

// still tells whether the issuer has the key.
func (s *signed) still(keys *jwks.Source, conf *policy.Issuer) bool {
	set := keys.Set()
	if set == nil {
		return false
	}
	key, ok := set.Lookup(s.key.ID, s.key.Algorithm)
	return ok && key.Fingerprint == s.key.Fingerprint && slices.ContainsFunc(conf.Issuers, func(iss string) bool { return key.For(iss, "") })
}

// answer reads the members of an answer. Its error says what is wrong with it.
func (i *issuer) answer(ctx context.Context, body []byte) (map[string]any, *signed, error) {
	if !i.conf.Introspection.JWT {
		all, err := token.ParseObject(body)
		return all, nil, err
	}
	payload, key, err := token.VerifyTyped(ctx, strings.TrimSpace(string(body)), typSigned, i.keys, i.conf.Algorithms)
	if err != nil {
		return nil, nil, err
	}
	outer, err := token.ParseObject(payload)
	if err != nil {
		return nil, nil, err
	}
	s, err := token.ReadStatement(&policy.Issuer{}, outer)
	if err != nil {
		return nil, nil, err
	}
	now, iat := i.now(), s.IssuedAt
	inner, ok := outer["token_introspection"].(map[string]any)
	refuse := func(reason, what string) (map[string]any, *signed, error) {
		return nil, nil, credential.Invalid(reason, "of the signed answer: %s", what)
	}
	switch {
	case !slices.Contains(i.conf.Issuers, s.Issuer):
		return refuse(token.ReasonIssuerUnknown, "iss is not that of the issuer")
	case !key.For(s.Issuer, ""):
		return refuse(token.ReasonKeyIssuer, "the key is for another issuer")
	case !slices.Contains(s.Addressed, i.conf.Introspection.ClientID):
		return refuse(token.ReasonAudience, "aud is not our client id")
	case iat.IsZero():
		return refuse(token.ReasonClaimMissing, "iat is missing")
	case now.Add(clamp(i.conf.Leeway)).Before(iat):
		return refuse(token.ReasonIssuedInFuture, "iat is ahead of this clock")
	case iat.Before(now.Add(-maxAnswerAge - clamp(i.conf.Leeway))):
		return refuse(token.ReasonExpired, "iat is too long ago: it may be the answer to another question")
	case !s.Expires.IsZero() && !now.Before(s.Expires.Add(clamp(i.conf.ExpLeeway))):
		return refuse(token.ReasonExpired, "exp has passed")
	case !ok:
		return refuse(token.ReasonClaimType, "token_introspection is not an object")
	}
	return inner, &signed{key: key}, nil
}

// mediaType is that of a Content-Type; "" where it is none.
func mediaType(header string) string {
	kind, _, err := mime.ParseMediaType(header)
	if err != nil {
		return ""
	}
	return kind
}
