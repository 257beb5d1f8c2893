package ca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/credence-mesh/credence/identity/internal/pulse"
)

const (
	// Backdate is how much earlier than now certificates begin: the clocks of nodes differ.
	Backdate = 60 * time.Second
	// DefaultTTL is the lifetime of an authority.
	DefaultTTL = 7 * 24 * time.Hour

	minTTL   = time.Minute
	retry    = 30 * time.Second
	maxSleep = time.Hour // a wall clock that is set forward is noticed within this time
)

// ErrClock says that the clock stands before the start of every authority.
var ErrClock = errors.New("the clock is before the CA's own start")

// Options of Open.
type Options struct {
	// Dir holds File. It is created with mode 0700 if it doesn't exist.
	Dir string
	// TrustDomain that the CA signs for.
	TrustDomain spiffeid.TrustDomain
	// TTL is the lifetime of an authority; 0 is DefaultTTL, less than a minute is an error. It applies to the next authority that is made.
	TTL time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Log receives a line for each rotation and each failed one; nil discards.
	Log *slog.Logger
}

// CA signs X.509-SVIDs of one trust domain. Safe for concurrent use.
type CA struct {
	path string
	td   spiffeid.TrustDomain
	ttl  time.Duration
	now  func() time.Time
	log  *slog.Logger

	changed pulse.Pulse

	mu   sync.RWMutex
	list []authority // oldest first; the slice is replaced, never modified
}

// authority is one signing certificate. key is nil once it has stopped to sign.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (a authority) start() time.Time { return a.cert.NotBefore.Add(Backdate) }
func (a authority) lifetime() time.Duration {
	return a.cert.NotAfter.Sub(a.start())
}

// Open reads the CA in o.Dir, or makes one if there is none, and brings its rotation up to date. It starts nothing: call Run. Errors
// wrap ErrCorrupt or ErrTrustDomain where they apply; then nothing has been written.
func Open(o Options) (*CA, error) {
	c := &CA{path: filepath.Join(o.Dir, File), td: o.TrustDomain, ttl: o.TTL, now: o.Now, log: o.Log}
	if c.td.IsZero() {
		return nil, errors.New("open the CA: no trust domain")
	}
	if c.ttl == 0 {
		c.ttl = DefaultTTL
	}
	if c.ttl < minTTL {
		return nil, fmt.Errorf("open the CA: a lifetime of %v, at least %v is needed", c.ttl, minTTL)
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the CA: %w", err)
	}
	list, err := load(c.path, c.td)
	if err != nil {
		return nil, fmt.Errorf("open the CA: %w", err)
	}
	c.list = list
	if err := c.Rotate(); err != nil {
		return nil, fmt.Errorf("open the CA: %w", err)
	}
	return c, nil
}

// TrustDomain that the CA signs for.
func (c *CA) TrustDomain() spiffeid.TrustDomain { return c.td }

// Bundle returns every authority that is to be trusted now, the next one too. The caller owns it.
func (c *CA) Bundle() *x509bundle.Bundle {
	now := c.now()
	c.mu.RLock()
	defer c.mu.RUnlock()
	b := x509bundle.New(c.td)
	for _, a := range c.list {
		if now.Before(a.cert.NotAfter) {
			b.AddX509Authority(a.cert)
		}
	}
	return b
}

// Bundles is Bundle as a list: what servers of several trust domains ask for.
func (c *CA) Bundles() []*x509bundle.Bundle { return []*x509bundle.Bundle{c.Bundle()} }

// Changed returns a channel that is closed at the next change of Bundle. Take it before reading Bundle.
func (c *CA) Changed() <-chan struct{} { return c.changed.C() }

// signer returns the authority that signs at now: the oldest with a key whose time has not ended.
func signer(list []authority, now time.Time) (authority, bool) {
	for _, a := range list {
		if a.key != nil && now.Before(a.cert.NotAfter) {
			return a, true
		}
	}
	return authority{}, false
}

// Rotate makes the next authority when the newest is past half of its life, lets it sign when it has been in the bundle for a third
// of its lifetime, drops the key of the one before, and drops authorities that have ended. It writes before it publishes; after an error the
// state is as before.
func (c *CA) Rotate() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	next, changed, err := c.plan(c.now())
	if err != nil || !changed {
		return err
	}
	if err := save(c.path, next); err != nil {
		return err
	}
	c.list = next
	c.changed.Fire()
	return nil
}

func (c *CA) plan(now time.Time) (list []authority, changed bool, err error) {
	for _, a := range c.list {
		if now.Before(a.cert.NotAfter) {
			list = append(list, a)
		}
	}
	changed = len(list) != len(c.list)
	if len(list) > 0 && now.Before(list[0].cert.NotBefore) {
		return nil, false, fmt.Errorf("%w: it is %s, the CA starts at %s", ErrClock, now.UTC().Format(time.RFC3339), list[0].cert.NotBefore.UTC().Format(time.RFC3339))
	}
	if n := len(list); n == 0 || !now.Before(list[n-1].start().Add(list[n-1].lifetime()/2)) {
		a, err := newAuthority(c.td, now, c.ttl)
		if err != nil {
			return nil, false, err
		}
		c.log.Info("a new authority is in the bundle", "trust_domain", c.td.Name(), "serial", a.cert.SerialNumber.Text(16), "ends", a.cert.NotAfter)
		list, changed = append(list, a), true
	}
	for i := len(list) - 1; i > 0; i-- {
		if list[i].key == nil || now.Before(list[i].start().Add(list[i].lifetime()/3)) {
			continue
		}
		for j := range list[:i] {
			changed = changed || list[j].key != nil
			list[j].key = nil
		}
		break
	}
	return list, changed, nil
}

// due returns when Rotate has something to do next.
func (c *CA) due() time.Time {
	c.mu.RLock()
	defer c.mu.RUnlock()
	newest := c.list[len(c.list)-1]
	at := newest.start().Add(newest.lifetime() / 2)
	if third := newest.start().Add(newest.lifetime() / 3); len(c.list) > 1 && c.list[len(c.list)-2].key != nil && third.Before(at) {
		at = third
	}
	if end := c.list[0].cert.NotAfter; end.Before(at) {
		at = end
	}
	return at
}

// Run rotates authorities when they are due, until ctx ends. A rotation that fails is logged and tried again: what is held stays in use.
func (c *CA) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		wait := retry
		if err := c.Rotate(); err != nil {
			c.log.Error("the CA's rotation failed", "error", err)
		} else {
			wait = min(max(c.due().Sub(c.now()), time.Millisecond), maxSleep)
		}
		timer.Reset(wait)
	}
}

// Issue signs an X.509-SVID for id over key (ECDSA P-256 or P-384, RSA of 2048 to 4096 bits) and returns the chain, leaf first, without the
// authority itself. It lasts for ttl, but never longer than the authority that signs it. Deciding who may have id is the caller's.
func (c *CA) Issue(ctx context.Context, id spiffeid.ID, key crypto.PublicKey, ttl time.Duration) ([]*x509.Certificate, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	now := c.now()
	c.mu.RLock()
	a, ok := signer(c.list, now)
	c.mu.RUnlock()
	if !ok {
		return nil, fmt.Errorf("issue %s: every authority has ended", id)
	}
	if now.Before(a.cert.NotBefore) {
		return nil, fmt.Errorf("issue %s: %w", id, ErrClock)
	}
	leaf, err := a.issue(request{id: id, td: c.td, key: key, ttl: ttl, now: now})
	if err != nil {
		return nil, fmt.Errorf("issue %s: %w", id, err)
	}
	return []*x509.Certificate{leaf}, nil
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return key, nil
}
