package token

import (
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/policy/decide"
)

// VerifySignature checks a JWS in the compact serialisation (RFC 7515 §5.2) whose payload may be anything, with the key of keys that its
// header names and by one of algorithms (RFC 7518, RFC 8037), exactly as Verify checks an access token's, and returns the payload. It
// looks at no claim and no type: a payload that it returns is nobody's credential yet. Every error is ErrInvalid.
func VerifySignature(raw string, keys *jwks.Set, algorithms []string) (payload []byte, err error) {
	if len(raw) > maxToken {
		return nil, invalid(ReasonTooLarge, "over %d bytes", maxToken)
	}
	p, payload, err := parseJWS(raw)
	if err != nil {
		return nil, err
	}
	method, ok := methods()[p.alg]
	if !ok || !slices.Contains(algorithms, p.alg) {
		return nil, invalid(ReasonAlg, "algorithm %.16q is not accepted", p.alg)
	}
	if _, err := p.verify(method, keys); err != nil {
		return nil, err
	}
	return payload, nil
}

// verify checks the signature of p with the one key that its header means, and returns the key.
func (p *parsed) verify(method jwt.SigningMethod, keys *jwks.Set) (*jwks.Key, error) {
	key, ok := keys.Lookup(p.kid, p.alg)
	if !ok || key.Algorithm != p.alg || !fits(method, key.Public) {
		return nil, invalid(ReasonKidUnknown, "no key %.64q for %s", p.kid, p.alg)
	}
	if err := method.Verify(p.signed, p.signature, key.Public); err != nil {
		return nil, invalid(ReasonSignature, "the signature does not verify")
	}
	return key, nil
}

// VerifyTypedBy is VerifySignature for a JWS whose header says that it is of type typ, in lower case and without "application/" (RFC 8725
// §3.11); it also returns the header's kid.
func VerifyTypedBy(raw, typ string, keys *jwks.Set, algorithms []string) (payload []byte, kid string, err error) {
	if len(raw) > maxToken {
		return nil, "", invalid(ReasonTooLarge, "over %d bytes", maxToken)
	}
	p, payload, err := parseJWS(raw)
	if err != nil {
		return nil, "", err
	}
	method, ok := methods()[p.alg]
	switch {
	case !ok || !slices.Contains(algorithms, p.alg):
		return nil, "", invalid(ReasonAlg, "algorithm %.16q is not accepted", p.alg)
	case p.typ != typ:
		return nil, "", invalid(ReasonTyp, "typ %.40q is not %s", p.typ, typ)
	case p.keyInHeader:
		return nil, "", invalid(ReasonHeader, "a key in the header")
	}
	if _, err := p.verify(method, keys); err != nil {
		return nil, "", err
	}
	return payload, p.kid, nil
}

// Seconds is a NumericDate (RFC 7519 §2) between the years 1970 and 9999.
func Seconds(n decide.Number) (t time.Time, ok bool) {
	ms, ok := millis(string(n))
	if !ok {
		return time.Time{}, false
	}
	return instant(ms).time(), true
}
