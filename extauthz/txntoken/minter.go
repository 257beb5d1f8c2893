package txntoken

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/maypok86/otter/v2"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

const (
	// maxToken bounds a token in bytes: every hop carries it, and headers have limits everywhere.
	maxToken = 4 << 10
	// minLife: no token is made where the credential has less left, nor where it has ended within its issuer's leeway. A token never outlives
	// the credential.
	minLife = time.Second
	// maxKept tokens of cached mode.
	maxKept = 10_000
)

// Errors of Mint beside those of keys.
var (
	// ErrTooLarge: what the token would have to say does not fit.
	ErrTooLarge = errors.New("the internal token would be larger than 4 KiB")
	// ErrOff: the mesh makes no internal tokens.
	ErrOff = errors.New("the mesh makes no internal tokens")
	// ErrNoUser: nobody to make a token for, or nobody who asks.
	ErrNoUser = errors.New("an internal token needs a user and a requester")
)

// MinterOptions of a Minter.
type MinterOptions struct {
	// Keys is required.
	Keys *Keys
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Minter makes tokens. Safe for concurrent use.
type Minter struct {
	keys   *Keys
	now    func() time.Time
	method *jwt.SigningMethodEd25519
	mesh   atomic.Pointer[mesh]
}

// mesh is what one Set says of tokens. Immutable but for the tokens that it keeps.
type mesh struct {
	policy.InternalTokens
	audience, trust string
	// kept is nil unless tokens serve several requests.
	kept *otter.Cache[keptKey, kept]
}

// keptKey: User values are shared by all requests with the same credential, and immutable. A workload by itself has none.
type keptKey struct {
	user      *decide.User
	requester string
	route     policy.RouteID
	need      string
}

type kept struct {
	token string
	until time.Time
}

// NewMinter makes a Minter that makes nothing before Publish. It starts nothing.
func NewMinter(o MinterOptions) *Minter {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Minter{keys: o.Keys, now: o.Now, method: &jwt.SigningMethodEd25519{}}
}

// Publish makes m the mesh that tokens are of. Tokens that were kept are forgotten. An error leaves everything as it was: without a key
// no token can be made.
func (m *Minter) Publish(conf *policy.Mesh) error {
	if conf.InternalTokens == nil {
		m.mesh.Store(nil)
		return m.keys.Rotate(0)
	}
	if err := m.keys.Rotate(conf.InternalTokens.RotateEvery); err != nil {
		return fmt.Errorf("keys of internal tokens: %w", err)
	}
	next := newMesh(conf)
	if old := m.mesh.Load(); old != nil && old.InternalTokens == next.InternalTokens && old.audience == next.audience {
		return nil
	}
	if next.Cached {
		cache, err := otter.New(&otter.Options[keptKey, kept]{MaximumSize: maxKept, Executor: func(task func()) { task() }})
		if err != nil {
			return fmt.Errorf("cache of internal tokens: %w", err)
		}
		next.kept = cache
	}
	m.mesh.Store(next)
	return nil
}

func newMesh(conf *policy.Mesh) *mesh {
	audience := "spiffe://" + conf.TrustDomain
	return &mesh{InternalTokens: *conf.InternalTokens, audience: audience, trust: audience + "/"}
}

// Mint implements extauthz.Minter. Where the user's credential has ended, or is about to, the error is of class credential.ErrInvalid.
func (m *Minter) Mint(_ context.Context, r *Request) (string, error) {
	conf := m.mesh.Load()
	switch {
	case conf == nil:
		return "", ErrOff
	case r.User == nil || r.User.Subject == "" || !strings.HasPrefix(r.Requester, conf.trust):
		return "", ErrNoUser
	case conf.kept == nil:
		token, _, err := m.make(conf, r)
		return token, err
	}
	k := keptKey{user: r.User, requester: r.Requester, route: r.Route, need: need(r)}
	if r.User.Credential == policy.PeerIdentity {
		k.user = nil
	}
	now := m.now()
	if old, ok := conf.kept.GetIfPresent(k); ok && now.Before(old.until) {
		return old.token, nil
	}
	token, life, err := m.make(conf, r)
	if err != nil {
		return "", err
	}
	conf.kept.Set(k, kept{token, now.Add(life / 2)})
	return token, nil
}

// need is what the token may say, as one string: paths and scopes hold no control characters that could make two of them equal.
func need(r *Request) string {
	var b strings.Builder
	for _, s := range r.Scopes {
		b.WriteString(s)
		b.WriteByte(' ')
	}
	for _, path := range r.Claims {
		fmt.Fprintf(&b, "%q", path)
	}
	return b.String()
}

func (m *Minter) make(conf *mesh, r *Request) (token string, life time.Duration, err error) {
	now := m.now()
	signer, err := m.keys.signer(now)
	if err != nil {
		return "", 0, err
	}
	end := now.Add(conf.TTL)
	if own := r.User.Expires; !own.IsZero() && own.Before(end) {
		if end = own; own.Sub(now) < minLife {
			return "", 0, credential.Invalid(reasonExpired, "the credential has %s left: too little for an internal token", own.Sub(now))
		}
	}
	c := content{
		Issuer: conf.Issuer, Audience: conf.audience, IssuedAt: now.Unix(), Expires: end.Unix(), ID: rand.Text(), Transaction: rand.Text(),
		Subject: subject(r.User), Scope: reduced(r.User.Scopes, r.Scopes), Requester: r.Requester, Client: r.User.Client, Context: contextOf(r),
	}
	if conf.kept == nil {
		// A token that serves several requests says nothing of one of them.
		c.Request = &request{Address: r.ClientIP, Method: r.Method, URL: r.URL}
	}
	payload, err := json.Marshal(&c)
	if err != nil {
		return "", 0, fmt.Errorf("internal token: %w", err)
	}
	if base64.RawURLEncoding.EncodedLen(len(payload)) > maxToken {
		return "", 0, ErrTooLarge
	}
	signed := signer.header + "." + base64.RawURLEncoding.EncodeToString(payload)
	signature, err := m.method.Sign(signed, signer.private)
	if err != nil {
		return "", 0, fmt.Errorf("signing an internal token: %w", err)
	}
	token = signed + "." + base64.RawURLEncoding.EncodeToString(signature)
	if len(token) > maxToken {
		return "", 0, ErrTooLarge
	}
	return token, time.Duration(c.Expires-c.IssuedAt) * time.Second, nil
}
