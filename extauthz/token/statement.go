package token

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// Statement is what an authorization server says about somebody outside of a token (RFC 7662 §2.2), read as strictly as a token's claims.
// Times are zero where they are absent. Nothing in it has been compared with anything.
type Statement struct {
	Issuer, Subject, ID string
	// Client and Service are as in decide.User.
	Client  string
	Service bool
	// Addressed is aud; Audience is that too, or what stands for it (policy.Issuer.AudienceFrom).
	Addressed, Audience          []string
	Expires, NotBefore, IssuedAt time.Time
	Scopes                       []string
	ACR                          string
	AuthTime                     time.Time
	Confirmation                 *decide.Confirmation
	All                          map[string]any
}

// ParseObject decodes one JSON object as strictly as those of a token: no name twice, UTF-8, nothing after it, within the limits of a token.
// Values are those of decide.User.Claims. Its errors are ErrInvalid.
func ParseObject(data []byte) (map[string]any, error) { return object(data) }

// ReadStatement reads all, of which conf says what the claims mean. Its errors are ErrInvalid: a claim of another type than its RFC says.
func ReadStatement(conf *policy.Issuer, all map[string]any) (*Statement, error) {
	c, err := readClaims(all)
	if err != nil {
		return nil, err
	}
	i := issuer{conf: *conf, audienceFrom: cmp.Or(conf.AudienceFrom, "aud"), clientFrom: conf.ClientFrom}
	if len(i.clientFrom) == 0 {
		i.clientFrom = []string{"azp", "appid", "cid", "client_id"}
	}
	v, err := i.view(c)
	if err != nil {
		return nil, err
	}
	s := &Statement{
		Issuer: c.iss, Subject: c.sub, Client: v.client, Service: v.service, Addressed: c.aud, Audience: v.audience, Scopes: c.scopes, All: all,
		Expires: c.exp.orZero(), NotBefore: c.nbf.orZero(), IssuedAt: c.iat.orZero(), ID: c.jti, ACR: c.acr, AuthTime: c.signedIn.orZero(),
	}
	if s.Confirmation, err = confirmation(all); err != nil {
		return nil, err
	}
	return s, nil
}

func (i *instant) orZero() time.Time {
	if i == nil {
		return time.Time{}
	}
	return i.time()
}

// VerifyTyped is VerifySignature for a JWS whose header says that it is of type typ, in lower case and without "application/" (RFC 8725
// §3.11), with the keys of source; it also returns the key that verified. A kid that source does not have is asked for once more, as that
// of a token. The error is ErrUnavailable where the keys are not known or can't be told in time.
func VerifyTyped(ctx context.Context, raw, typ string, source *jwks.Source, algorithms []string) (payload []byte, key *jwks.Key, err error) {
	if len(raw) > maxToken {
		return nil, nil, invalid(ReasonTooLarge, "over %d bytes", maxToken)
	}
	p, payload, err := parseJWS(raw)
	if err != nil {
		return nil, nil, err
	}
	method, ok := methods()[p.alg]
	switch {
	case !ok || !slices.Contains(algorithms, p.alg):
		return nil, nil, invalid(ReasonAlg, "algorithm %.16q is not accepted", p.alg)
	case p.typ != strings.ToLower(typ):
		return nil, nil, invalid(ReasonTyp, "typ %.40q is not %s", p.typ, typ)
	case p.keyInHeader:
		return nil, nil, invalid(ReasonHeader, "a key in the header")
	}
	set := source.Set()
	if set == nil {
		source.Wanted()
		return nil, nil, unavailable(ReasonNoKeys, "the keys are not known")
	}
	i := issuer{keys: source}
	key, err = i.signature(ctx, p, method, set)
	if err != nil {
		return nil, nil, err
	}
	return payload, key, nil
}
