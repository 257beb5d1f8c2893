package txntoken

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// Reasons of tokens that are refused, beside those of extauthz/token.
const (
	reasonIssuer    = "issuer"
	reasonAudience  = "audience"
	reasonRequester = "requester"
	reasonLifetime  = "lifetime"
	reasonExpired   = "expired"
	reasonFuture    = "issued_in_future"
	reasonClaim     = "claim"
	reasonKid       = "kid"
	reasonTooLarge  = "too_large"
	reasonOff       = "internal_tokens_off"
)

const (
	// leeway between the clocks of one mesh.
	leeway = 5 * time.Second
	// maxFacts are tokens whose facts are kept: one passes several sidecars.
	maxFacts = 20_000
)

// Verifier verifies tokens that this mesh has made. Safe for concurrent use.
type Verifier struct {
	keys  *Keys
	now   func() time.Time
	mesh  *mesh
	facts *otter.Cache[[sha256.Size]byte, facts]
}

// facts of a token that verified.
type facts struct {
	user *decide.User
	kid  string
}

// Snapshot verifies the tokens of conf, whatever is published later; the keys are always those of today. Nil where the mesh has none.
func (m *Minter) Snapshot(conf *policy.Mesh) (*Verifier, error) {
	if conf == nil || conf.InternalTokens == nil {
		return nil, nil
	}
	cache, err := otter.New(&otter.Options[[sha256.Size]byte, facts]{MaximumSize: maxFacts, Executor: func(task func()) { task() }})
	if err != nil {
		return nil, fmt.Errorf("facts of internal tokens: %w", err)
	}
	return &Verifier{keys: m.keys, now: m.now, mesh: newMesh(conf), facts: cache}, nil
}

// Verify implements extauthz.Verifier. Its errors are credential.ErrInvalid or credential.ErrUnavailable.
func (v *Verifier) Verify(_ context.Context, raw string, _ []policy.Name) (*decide.User, error) {
	if len(raw) > maxToken {
		return nil, credential.Invalid(reasonTooLarge, "over %d bytes", maxToken)
	}
	set := v.keys.state.Load().set
	if set == nil {
		return nil, credential.Unavailable(token.ReasonNoKeys, "there are no keys of internal tokens")
	}
	sum := sha256.Sum256([]byte(raw))
	if hit, ok := v.facts.GetIfPresent(sum); ok {
		if _, known := set.Lookup(hit.kid, algorithm); known {
			return v.timely(hit.user)
		}
	}
	payload, kid, err := token.VerifyTypedBy(raw, Type, set, []string{algorithm})
	if err != nil {
		return nil, err
	}
	if kid == "" {
		return nil, credential.Invalid(reasonKid, "no kid")
	}
	all, err := token.ParseObject(payload)
	if err != nil {
		return nil, err
	}
	user, err := v.user(all)
	if err != nil {
		return nil, err
	}
	if user, err = v.timely(user); err == nil {
		v.facts.Set(sum, facts{user, kid})
	}
	return user, err
}

func (v *Verifier) timely(u *decide.User) (*decide.User, error) {
	if !v.now().Before(u.Expires.Add(leeway)) {
		return nil, credential.Invalid(reasonExpired, "ended at %s", u.Expires.UTC().Format(time.RFC3339))
	}
	return u, nil
}

// user reads the claims. A token of ours is exactly as Mint makes it: everything else is refused, also with a good signature.
func (v *Verifier) user(all map[string]any) (*decide.User, error) {
	r := reader{all: all}
	iss, aud, txn, sub, requester := r.text("iss"), r.text("aud"), r.text("txn"), r.text("sub"), r.text("req_wl")
	iat, exp := r.date("iat"), r.date("exp")
	r.text("jti")
	scope := r.optional("scope")
	client := r.optional("azp")
	tctx := reader{all: r.object("tctx")}
	u := &decide.User{
		Credential: policy.InternalToken, IssuerURL: tctx.optional("u_iss"), Subject: tctx.text("u_sub"), Origin: kinds()[tctx.text("origin")],
		Client: client, Scopes: slices.DeleteFunc(strings.Split(scope, " "), func(s string) bool { return s == "" }), Expires: exp,
		ACR: tctx.optional("acr"), TokenID: tctx.optional("u_jti"), Requester: requester, Transaction: txn,
		Roles: tctx.list("roles"), Groups: tctx.list("groups"), AuthTime: tctx.maybe("auth_time"), IssuedAt: tctx.maybe("u_iat"), Service: tctx.yes("service"),
	}
	u.Issuer.Namespace, u.Issuer.Name, _ = strings.Cut(tctx.optional("issuer"), "/")
	if _, ok := tctx.all["claims"]; ok {
		u.Claims = tctx.object("claims")
	}
	slices.Sort(u.Scopes)
	switch now := v.now(); {
	case r.wrong != "" || tctx.wrong != "":
		return nil, credential.Invalid(reasonClaim, "%s%s is missing or of another type", r.wrong, tctx.wrong)
	case iss != v.mesh.Issuer:
		return nil, credential.Invalid(reasonIssuer, "not of this mesh")
	case aud != v.mesh.audience:
		return nil, credential.Invalid(reasonAudience, "not for this trust domain")
	case !strings.HasPrefix(requester, v.mesh.trust):
		return nil, credential.Invalid(reasonRequester, "req_wl is not of this trust domain")
	case sub == "" || u.Origin == policy.NoCredential || u.Origin == policy.InternalToken:
		return nil, credential.Invalid(reasonClaim, "sub or origin")
	case iat.After(now.Add(leeway)):
		return nil, credential.Invalid(reasonFuture, "iat is ahead of the clock")
	case !exp.After(iat) || exp.Sub(iat) > maxLife:
		return nil, credential.Invalid(reasonLifetime, "it lives longer than %s, or not at all", maxLife)
	}
	return u, nil
}

func kinds() map[string]policy.CredentialKind {
	out := map[string]policy.CredentialKind{}
	for k := policy.NoCredential; k <= policy.PeerIdentity; k++ {
		out[k.String()] = k
	}
	return out
}

// reader takes members of an object and remembers the first that is not as it must be.
type reader struct {
	all   map[string]any
	wrong string
}

func (r *reader) fail(name string) {
	if r.wrong == "" {
		r.wrong = name
	}
}

func (r *reader) text(name string) string {
	s, ok := r.all[name].(string)
	if !ok || s == "" {
		r.fail(name)
	}
	return s
}

func (r *reader) optional(name string) string {
	v, there := r.all[name]
	s, ok := v.(string)
	if there && !ok {
		r.fail(name)
	}
	return s
}

func (r *reader) yes(name string) bool {
	v, there := r.all[name]
	b, ok := v.(bool)
	if there && !ok {
		r.fail(name)
	}
	return b
}

func (r *reader) object(name string) map[string]any {
	o, ok := r.all[name].(map[string]any)
	if !ok {
		r.fail(name)
	}
	return o
}

func (r *reader) list(name string) []string {
	v, there := r.all[name]
	if !there {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		r.fail(name)
	}
	out := make([]string, 0, len(list))
	for _, e := range list {
		s, ok := e.(string)
		if !ok {
			r.fail(name)
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (r *reader) maybe(name string) time.Time {
	if _, there := r.all[name]; !there {
		return time.Time{}
	}
	return r.date(name)
}

func (r *reader) date(name string) time.Time {
	n, ok := r.all[name].(decide.Number)
	if !ok {
		r.fail(name)
		return time.Time{}
	}
	t, ok := token.Seconds(n)
	if !ok {
		r.fail(name)
	}
	return t
}
