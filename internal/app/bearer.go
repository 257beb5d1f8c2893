package app

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/extauthz/introspect"
	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// bearers verify bearer tokens: JWTs, and opaque ones by introspection. Safe for concurrent use.
type bearers struct {
	jwts   *token.Verifier
	opaque *introspect.Verifier
}

var _ extauthz.Verifier = (*bearers)(nil)

func newBearers(keys *jwks.Keys, log *slog.Logger, metrics prometheus.Registerer) (*bearers, error) {
	jwts, err := token.New(token.Options{Keys: keys})
	if err != nil {
		return nil, err
	}
	opaque, err := introspect.New(introspect.Options{Keys: keys, Log: log})
	if err != nil {
		return nil, err
	}
	if err := metrics.Register(opaque); err != nil {
		return nil, err
	}
	return &bearers{jwts: jwts, opaque: opaque}, nil
}

// Publish makes issuers those that verify. Keys are published on the way, before those who need them. Calls must not overlap.
func (b *bearers) Publish(issuers []policy.Issuer) {
	b.jwts.Publish(issuers)
	b.opaque.Publish(issuers)
}

// Snapshot verifies by what was published last, and by nothing later.
func (b *bearers) Snapshot() extauthz.Verifier {
	return introspect.Bearer{JWT: b.jwts.Snapshot(), Opaque: b.opaque.Snapshot()}
}

// Verify is that of the Snapshot now.
func (b *bearers) Verify(ctx context.Context, raw string, accepted []policy.Name) (*decide.User, error) {
	return b.Snapshot().Verify(ctx, raw, accepted)
}

// assume is what a token of issuer with these claims would be, for people who ask.
func (b *bearers) assume(issuer policy.Name, claims []byte) (*decide.User, error) {
	if opaque := b.opaque.Snapshot(); opaque.Has(issuer) {
		return opaque.Assume(issuer, claims)
	}
	return b.jwts.Snapshot().Assume(issuer, claims)
}
