package token

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// maxLeeway bounds what a configuration may forgive.
const maxLeeway = time.Minute

// issuer is one TokenIssuer, ready to verify. Immutable.
type issuer struct {
	conf policy.Issuer
	// hash of conf: cached facts are found under it only.
	hash    [sha256.Size]byte
	methods map[string]jwt.SigningMethod
	keys    *jwks.Source
	// tenants are the exact iss, each with what the tenant's claim must be.
	tenants map[string]string
	// audienceFrom and clientFrom are conf's, or the defaults of the manifests.
	audienceFrom string
	clientFrom   []string
	// unusable says why nothing can be verified with conf.
	unusable string
	end      *jwt.Validator
	start    *jwt.Validator
	now      func() time.Time
}

func newIssuer(conf policy.Issuer, keys *jwks.Source, all map[string]jwt.SigningMethod, now func() time.Time) *issuer {
	i := &issuer{
		conf: conf, keys: keys, now: now, methods: map[string]jwt.SigningMethod{}, tenants: make(map[string]string, len(conf.Issuers)),
		audienceFrom: cmp.Or(conf.AudienceFrom, "aud"), clientFrom: conf.ClientFrom,
	}
	if len(i.clientFrom) == 0 {
		i.clientFrom = []string{"azp", "appid", "cid", "client_id"}
	}
	for n, iss := range conf.Issuers {
		i.tenants[iss] = ""
		if conf.Tenant != nil && n < len(conf.Tenant.Values) {
			i.tenants[iss] = conf.Tenant.Values[n]
		}
	}
	for _, alg := range conf.Algorithms {
		if m, ok := all[alg]; ok {
			i.methods[alg] = m
		}
	}
	text, err := json.Marshal(conf)
	switch {
	case err != nil:
		i.unusable = "its configuration can't be encoded"
	// Each of these would switch a check off instead of failing it.
	case len(conf.Issuers) == 0 || slices.Contains(conf.Issuers, ""):
		i.unusable = "it has no issuer URL, or an empty one"
	case conf.Tenant != nil && (len(conf.Tenant.Path) == 0 || len(conf.Tenant.Values) != len(conf.Issuers) || slices.Contains(conf.Tenant.Values, "")):
		i.unusable = "its tenants do not fit its issuers"
	case conf.Profile != policy.StrictAccessToken && conf.Profile != policy.LegacyAccessToken && conf.Profile != policy.IDToken:
		i.unusable = "its profile is not known"
	case len(conf.Audiences) == 0 || slices.Contains(conf.Audiences, ""):
		i.unusable = "it has no audience, or an empty one"
	case len(i.methods) == 0:
		i.unusable = "it has no supported algorithm"
	}
	i.hash = sha256.Sum256(text)
	i.end = jwt.NewValidator(jwt.WithTimeFunc(now), jwt.WithExpirationRequired(),
		jwt.WithAudience(conf.Audiences...), jwt.WithLeeway(clamp(conf.ExpLeeway)))
	i.start = jwt.NewValidator(jwt.WithTimeFunc(now), jwt.WithIssuedAt(), jwt.WithLeeway(clamp(conf.Leeway)))
	return i
}

func clamp(d time.Duration) time.Duration { return min(max(d, 0), maxLeeway) }

// verified are the facts of one token and what they rest on.
type verified struct {
	user *decide.User
	key  *jwks.Key
	// kid is what the token's header says (it may say nothing).
	kid    string
	claims *claims
	// refusedBy are the configurations that came before and will never take this token, whatever keys there are and what time it is.
	refusedBy [][sha256.Size]byte
	// weight in the cache, in bytes.
	weight uint32
}

// verify checks signature and claims of p.
func (i *issuer) verify(ctx context.Context, p *parsed) (*verified, error) {
	if i.unusable != "" {
		return nil, unavailable(ReasonIssuerConfig, "issuer %s: %s", i.conf.Name, i.unusable)
	}
	method, ok := i.methods[p.alg]
	if !ok {
		return nil, invalid(ReasonAlg, "algorithm %.16q is not accepted of issuer %s", p.alg, i.conf.Name)
	}
	if err := i.kind(p); err != nil {
		return nil, err
	}
	set := i.keys.Set()
	if set == nil {
		i.keys.Wanted()
		return nil, unavailable(ReasonNoKeys, "the keys of issuer %s are not known", i.conf.Name)
	}
	key, err := i.signature(ctx, p, method, set)
	if err != nil {
		return nil, err
	}
	c, err := i.view(p.claims)
	if err != nil {
		return nil, err
	}
	if err := i.issued(p.claims); err != nil {
		return nil, err
	}
	if !key.For(c.iss, i.tenants[c.iss]) {
		return nil, invalid(ReasonKeyIssuer, "the key %.64q is for tokens of the issuer %.200q only", p.kid, key.Issuer)
	}
	if err := i.end.Validate(expiring{c}); err != nil {
		return nil, i.explain(p.claims, err)
	}
	if err := i.addressed(p.claims); err != nil {
		return nil, err
	}
	if err := i.start.Validate(starting{c}); err != nil {
		return nil, i.explain(p.claims, err)
	}
	if err := i.profile(p, c); err != nil {
		return nil, err
	}
	u, err := i.user(c)
	if err != nil {
		return nil, err
	}
	return &verified{user: u, key: key, kid: p.kid, claims: p.claims}, nil
}

// user is what the claims of a token of i say.
func (i *issuer) user(c view) (*decide.User, error) {
	bound, err := confirmation(c.all)
	if err != nil {
		return nil, err
	}
	return &decide.User{
		Issuer: i.conf.Name, IssuerURL: c.iss, Subject: c.sub, Service: c.service, Client: c.client, Scopes: c.scopes, Claims: c.all,
		Expires: c.exp.time(), Confirmation: bound, Credential: policy.BearerToken, Origin: policy.BearerToken,
		Roles: decide.Listed(c.all, i.conf.Roles), Groups: decide.Listed(c.all, i.conf.Groups),
		TokenID: c.jti, IssuedAt: c.iat.orZero(), ACR: c.acr, AuthTime: c.signedIn.orZero(),
	}, nil
}

// issued compares iss again, now that it is signed (RFC 9068 §4), and the claim that must name the same tenant.
func (i *issuer) issued(c *claims) error {
	tenant, ok := i.tenants[c.iss]
	if !ok {
		return invalid(ReasonIssuerUnknown, "iss is not that of issuer %s", i.conf.Name)
	}
	if t := i.conf.Tenant; t != nil {
		if said, ok := decide.ClaimText(c.all, t.Path); !ok || said != tenant {
			return invalid(ReasonTenant, "the claim at %q does not name the tenant that iss names", t.Path)
		}
	}
	return nil
}

// addressed looks at aud where another claim holds the audience: RFC 7519 §4.1.3 refuses a token whose aud is somebody else's, whatever
// else it says.
func (i *issuer) addressed(c *claims) error {
	_, there := c.all["aud"]
	if i.audienceFrom != "aud" && there && !slices.ContainsFunc(c.aud, func(a string) bool { return slices.Contains(i.conf.Audiences, a) }) {
		return invalid(ReasonAudience, "aud is there and has none of the audiences of issuer %s", i.conf.Name)
	}
	return nil
}

// again tells whether facts that verified before still stand: the key is there, and it is still the time.
func (i *issuer) again(v *verified) (bool, error) {
	set := i.keys.Set()
	if set == nil {
		i.keys.Wanted()
		return false, unavailable(ReasonNoKeys, "the keys of issuer %s are not known", i.conf.Name)
	}
	iss := v.claims.iss
	if key, ok := set.Lookup(v.kid, v.key.Algorithm); !ok || key.Fingerprint != v.key.Fingerprint || !key.For(iss, i.tenants[iss]) {
		return false, nil
	}
	now := i.now()
	c := v.claims
	if !now.Before(c.exp.time().Add(clamp(i.conf.ExpLeeway))) {
		return false, i.explain(c, jwt.ErrTokenExpired)
	}
	early := now.Add(clamp(i.conf.Leeway))
	if c.nbf != nil && early.Before(c.nbf.time()) {
		return false, i.explain(c, jwt.ErrTokenNotValidYet)
	}
	if c.iat != nil && early.Before(c.iat.time()) {
		return false, i.explain(c, jwt.ErrTokenUsedBeforeIssued)
	}
	return true, nil
}

// explain gives the library's verdict our code. Times are no secret; claim values are left out.
func (i *issuer) explain(c *claims, err error) error {
	now := i.now()
	switch {
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return i.missing(c)
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return invalid(ReasonAudience, "%s has none of the audiences of issuer %s", i.audienceFrom, i.conf.Name)
	case errors.Is(err, jwt.ErrTokenExpired):
		return invalid(ReasonExpired, "expired %s ago", now.Sub(c.exp.time()).Round(time.Second))
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return invalid(ReasonNotYetValid, "nbf is %s ahead of this clock, leeway %s", c.nbf.time().Sub(now).Round(time.Millisecond), clamp(i.conf.Leeway))
	case errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return invalid(ReasonIssuedInFuture, "the issuer's clock is %s ahead of this one, leeway %s", c.iat.time().Sub(now).Round(time.Millisecond),
			clamp(i.conf.Leeway))
	}
	return invalid(ReasonMalformed, "a claim is not valid")
}

func (i *issuer) missing(c *claims) error {
	if c.exp == nil {
		return invalid(ReasonClaimMissing, "exp is missing")
	}
	return invalid(ReasonClaimMissing, "%s is missing", i.audienceFrom)
}
