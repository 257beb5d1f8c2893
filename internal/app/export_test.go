package app

import (
	"context"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/credence-mesh/credence/extauthz/basic"
	"github.com/credence-mesh/credence/extauthz/introspect"
	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/identity/attest"
	"github.com/credence-mesh/credence/identity/sds"
	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/policy"
)

// What the tests of this package see of its parts.
type (
	Entitlements = entitlements
	Certificates = certificates
	Joined       = joined
)

// OpenStateDir returns what ends the hold on the directory.
func OpenStateDir(path string) (release func() error, err error) {
	s, err := openStateDir(path)
	if err != nil {
		return nil, err
	}
	return s.Close, nil
}

func OpenRunDir(path string) (remove func() error, err error) {
	r, err := openRunDir(path)
	if err != nil {
		return nil, err
	}
	return r.remove, nil
}

func ListenUnix(ctx context.Context, path string, mode os.FileMode) (net.Listener, error) {
	return listenUnix(ctx, path, mode, nil)
}

func NewJoined() *Joined                               { return newJoined() }
func (j *joined) Add(name string, l net.Listener)      { j.add(name, l) }
func (j *joined) Keep(wanted map[string]bool)          { j.keep(wanted) }
func NewEntitlements(c *attest.Children) *Entitlements { return newEntitlements(c) }

func GatewayCertificates(e *Entitlements, c *Certificates) sds.Certificates {
	return gatewayCertificates{entitlements: e, store: c}
}

func NewCertificates(now func() time.Time) *Certificates {
	return newCertificates(slog.New(slog.DiscardHandler), now)
}

// Reload looks for changed files, as Run does from time to time.
func (c *certificates) Reload() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.load() {
		c.broadcast()
	}
}

// WriteEndpoints writes endpoints.json.
func WriteEndpoints(e Endpoints, stateDir string) error { return e.write(stateDir) }

// SelfSignedPair is a certificate for tests.
func SelfSignedPair(now time.Time) (cert, key []byte, err error) {
	p, err := selfSign([]string{"localhost"}, now)
	return p.cert, p.key, err
}

// SelfSignedLife of a certificate that is made here.
const SelfSignedLife = selfSignedLife

// KeyHealth is keyHealth.
type KeyHealth struct{ h *keyHealth }

// NewKeyHealth makes one of keys.
func NewKeyHealth(keys *jwks.Keys) KeyHealth { return KeyHealth{&keyHealth{keys: keys}} }

// NewIssuerHealth makes one of keys and of issuers that are asked.
func NewIssuerHealth(keys *jwks.Keys, opaque *introspect.Verifier) KeyHealth {
	return KeyHealth{&keyHealth{keys: keys, opaque: opaque}}
}

// Issuers are what Status tells of the issuers of set.
func (k KeyHealth) Issuers(set *policy.Set) []admin.Issuer { return issuerStatus(set, k.h) }

// NotReady is keyHealth.notReady.
func (k KeyHealth) NotReady(others []string) []string { return k.h.notReady(others) }

// Degraded is keyHealth.degraded.
func (k KeyHealth) Degraded() []string { return k.h.degraded() }

// Checker is what answers `credence check`, for one directory of manifests.
type Checker struct{ c *checker }

// NewChecker reads and compiles dir.
func NewChecker(ctx context.Context, dir string) (Checker, error) {
	set, _, err := compiled(ctx, dir)
	if err != nil {
		return Checker{}, err
	}
	c, err := newChecker(set, jwks.New(jwks.Options{Log: discard()}))
	return Checker{c}, err
}

// Ask is Check without reading again.
func (c Checker) Ask(ctx context.Context, q Question) (*admin.Decision, error) {
	at, err := aim(c.c.set, &q)
	if err != nil {
		return nil, err
	}
	return c.c.check(ctx, &at, &q)
}

// NewPasswordHealth makes one of these keys and users.
func NewPasswordHealth(keys *jwks.Keys, passwords *basic.Verifier) KeyHealth {
	return KeyHealth{&keyHealth{keys: keys, passwords: passwords}}
}
