package token

import (
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

const maxAudiences = 16

// claims are the members that verification reads, with their types checked, beside all of them. Immutable.
type claims struct {
	all           map[string]any
	iss, sub, jti string
	aud           []string
	exp, nbf, iat *instant
	scopes        []string
	// acr and signedIn are empty where the claim is not of its type: they prove nothing then, and tokens of people who ask for neither are good.
	acr      string
	signedIn *instant
}

// view is claims as one issuer means them.
type view struct {
	*claims
	// audience is aud, or what stands for it.
	audience []string
	// client is the OAuth client; service: the token speaks for a service, not for a user.
	client  string
	service bool
}

func readClaims(all map[string]any) (*claims, error) {
	c := &claims{all: all}
	var err error
	for _, m := range []struct {
		name string
		to   *string
	}{{"iss", &c.iss}, {"sub", &c.sub}, {"jti", &c.jti}} {
		if *m.to, err = text(all, m.name); err != nil {
			return nil, err
		}
	}
	for _, m := range []struct {
		name string
		to   **instant
	}{{"exp", &c.exp}, {"nbf", &c.nbf}, {"iat", &c.iat}} {
		if *m.to, err = date(all, m.name); err != nil {
			return nil, err
		}
	}
	if c.aud, err = audience(all, "aud"); err != nil {
		return nil, err
	}
	if c.scopes, err = scopes(all); err != nil {
		return nil, err
	}
	if acr, err := text(all, "acr"); err == nil {
		c.acr = acr
	}
	if at, err := date(all, "auth_time"); err == nil {
		c.signedIn = at
	}
	return c, nil
}

// view reads what the issuer's configuration gives a meaning.
func (i *issuer) view(c *claims) (view, error) {
	v := view{claims: c, audience: c.aud}
	var err error
	if i.audienceFrom != "aud" {
		if v.audience, err = audience(c.all, i.audienceFrom); err != nil {
			return v, err
		}
	}
	for _, name := range i.clientFrom {
		client, err := text(c.all, name)
		if err != nil {
			return v, err
		}
		if v.client == "" {
			v.client = client
		}
		v.service = v.service || client != "" && client == c.sub
	}
	// RFC 9068 §5: a token whose subject is its client speaks for the client, whatever claims name clients here.
	client, err := text(c.all, "client_id")
	if err != nil {
		return v, err
	}
	v.service = v.service || client != "" && client == c.sub ||
		slices.ContainsFunc(i.conf.ServiceMarkers, func(mark policy.Claim) bool { return decide.HoldsClaim(c.all, &mark) })
	return v, nil
}

// text is a string claim, "" where it is absent. Present and another type (or null) is an error: "wrong" is never read as "missing".
func text(all map[string]any, name string) (string, error) {
	v, ok := all[name]
	if !ok {
		return "", nil
	}
	s, ok := v.(string)
	if !ok {
		return "", invalid(ReasonClaimType, "%s is not a string", name)
	}
	return s, nil
}

func date(all map[string]any, name string) (*instant, error) {
	v, ok := all[name]
	if !ok {
		return nil, nil
	}
	n, ok := v.(decide.Number)
	if !ok {
		return nil, invalid(ReasonClaimType, "%s is not a number", name)
	}
	ms, ok := millis(string(n))
	if !ok {
		return nil, invalid(ReasonClaimValue, "%s is not between the years 1970 and 9999", name)
	}
	t := instant(ms)
	return &t, nil
}

func audience(all map[string]any, name string) ([]string, error) {
	v, ok := all[name]
	if !ok {
		return nil, nil
	}
	if s, ok := v.(string); ok {
		return []string{s}, nil
	}
	aud, ok := stringList(v)
	switch {
	case !ok:
		return nil, invalid(ReasonClaimType, "%s is neither a string nor strings", name)
	case len(aud) > maxAudiences:
		return nil, invalid(ReasonTooLarge, "%s of over %d entries", name, maxAudiences)
	}
	return aud, nil
}

func stringList(v any) ([]string, bool) {
	list, ok := v.([]any)
	if !ok {
		return nil, false
	}
	out := make([]string, 0, len(list))
	for _, e := range list {
		s, ok := e.(string)
		if !ok {
			return nil, false
		}
		out = append(out, s)
	}
	return out, true
}

// scopes are those of scope or scp, each a space-delimited string (RFC 6749 §3.3, RFC 8693 §4.2) or an array of which every element is
// one scope. Where both exist they must say the same: a union could grant what neither issuer meant.
func scopes(all map[string]any) ([]string, error) {
	one, has1, err := scopeClaim(all, "scope")
	if err != nil {
		return nil, err
	}
	two, has2, err := scopeClaim(all, "scp")
	switch {
	case err != nil:
		return nil, err
	case has1 && has2 && !slices.Equal(one, two):
		return nil, invalid(ReasonScope, "scope and scp differ")
	case has1:
		return one, nil
	}
	return two, nil
}

func scopeClaim(all map[string]any, name string) (_ []string, present bool, _ error) {
	v, ok := all[name]
	if !ok {
		return nil, false, nil
	}
	var list []string
	if s, ok := v.(string); ok {
		list = slices.DeleteFunc(strings.Split(s, " "), func(e string) bool { return e == "" })
	} else if list, ok = stringList(v); !ok {
		return nil, false, invalid(ReasonClaimType, "%s is neither a string nor strings", name)
	}
	for _, s := range list {
		if !scopeToken(s) {
			return nil, false, invalid(ReasonScope, "%s holds a character that no scope has", name)
		}
	}
	slices.Sort(list)
	return slices.Compact(list), true, nil
}

// scopeToken is RFC 6749 §3.3: 1*( %x21 / %x23-5B / %x5D-7E ).
func scopeToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

// instant is milliseconds since the epoch.
type instant int64

func (i instant) time() time.Time { return time.UnixMilli(int64(i)).UTC() }

func (i *instant) numeric() *jwt.NumericDate {
	if i == nil {
		return nil
	}
	return &jwt.NumericDate{Time: i.time()}
}

// expiring and starting are the two halves of claims as jwt.Validator sees them: it knows one leeway, and exp has its own.
type expiring struct{ view }

type starting struct{ view }

var (
	_ jwt.Claims = expiring{}
	_ jwt.Claims = starting{}
)

func (c expiring) GetExpirationTime() (*jwt.NumericDate, error) { return c.exp.numeric(), nil }
func (c expiring) GetIssuedAt() (*jwt.NumericDate, error)       { return nil, nil }
func (c expiring) GetNotBefore() (*jwt.NumericDate, error)      { return nil, nil }
func (c expiring) GetIssuer() (string, error)                   { return c.iss, nil }
func (c expiring) GetSubject() (string, error)                  { return c.sub, nil }
func (c expiring) GetAudience() (jwt.ClaimStrings, error)       { return c.audience, nil }

func (c starting) GetExpirationTime() (*jwt.NumericDate, error) { return nil, nil }
func (c starting) GetIssuedAt() (*jwt.NumericDate, error)       { return c.iat.numeric(), nil }
func (c starting) GetNotBefore() (*jwt.NumericDate, error)      { return c.nbf.numeric(), nil }
func (c starting) GetIssuer() (string, error)                   { return c.iss, nil }
func (c starting) GetSubject() (string, error)                  { return c.sub, nil }
func (c starting) GetAudience() (jwt.ClaimStrings, error)       { return c.audience, nil }
