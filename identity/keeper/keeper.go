package keeper

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
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"golang.org/x/sync/singleflight"

	"github.com/credence-mesh/credence/identity/internal/pulse"
	"github.com/credence-mesh/credence/identity/svid"
)

// DefaultTTL is the lifetime of an SVID.
const DefaultTTL = time.Hour

const (
	minTTL   = 10 * time.Second
	minRetry = time.Second
	maxRetry = time.Minute
	idle     = time.Hour
)

// Authority signs SVIDs: the embedded CA, or a server elsewhere.
type Authority interface {
	// Issue returns the chain of an SVID for id over key, leaf first.
	Issue(ctx context.Context, id spiffeid.ID, key crypto.PublicKey, ttl time.Duration) ([]*x509.Certificate, error)
}

// Options of New.
type Options struct {
	Authority Authority
	// TTL is the lifetime that is asked for; 0 is DefaultTTL.
	TTL time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Log receives failed issues; nil discards.
	Log *slog.Logger
}

// Keeper holds SVIDs. Safe for concurrent use.
type Keeper struct {
	authority Authority
	ttl       time.Duration
	now       func() time.Time
	log       *slog.Logger

	changed pulse.Pulse // an SVID was replaced
	wake    pulse.Pulse // the schedule has changed
	flight  singleflight.Group

	mu   sync.Mutex
	held map[spiffeid.ID]*entry
}

type entry struct {
	svid    *x509svid.SVID
	rotate  time.Time
	backoff time.Duration
	used    bool
}

// New returns a Keeper that holds nothing yet. It starts nothing: call Run, without it nothing is replaced before its end.
func New(o Options) (*Keeper, error) {
	k := &Keeper{authority: o.Authority, ttl: o.TTL, now: o.Now, log: o.Log, held: map[spiffeid.ID]*entry{}}
	if k.authority == nil {
		return nil, errors.New("keep SVIDs: no authority")
	}
	if k.ttl == 0 {
		k.ttl = DefaultTTL
	}
	if k.ttl < minTTL {
		return nil, fmt.Errorf("keep SVIDs: a lifetime of %v, at least %v is needed", k.ttl, minTTL)
	}
	if k.now == nil {
		k.now = time.Now
	}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	return k, nil
}

// Changed returns a channel that is closed when any SVID has been replaced. Take it before Get.
func (k *Keeper) Changed() <-chan struct{} { return k.changed.C() }

// Get returns the current SVID of id, issuing one if none is held. It blocks while one is issued. The SVID is shared and must not
// be modified. Get never returns one that has ended.
func (k *Keeper) Get(ctx context.Context, id spiffeid.ID) (*x509svid.SVID, error) {
	if s := k.current(id); s != nil {
		return s, nil
	}
	result := k.flight.DoChan(id.String(), func() (any, error) {
		if s := k.current(id); s != nil {
			return s, nil
		}
		// The first caller's end must not be the failure of those who wait with it.
		s, err := k.issue(context.WithoutCancel(ctx), id)
		if err != nil {
			return nil, err
		}
		k.store(id, s, true)
		return s, nil
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-result:
		if r.Err != nil {
			return nil, r.Err
		}
		s, ok := r.Val.(*x509svid.SVID)
		if !ok {
			return nil, fmt.Errorf("issue %s: got %T", id, r.Val)
		}
		return s, nil
	}
}

func (k *Keeper) current(id spiffeid.ID) *x509svid.SVID {
	now := k.now()
	k.mu.Lock()
	defer k.mu.Unlock()
	e, ok := k.held[id]
	if !ok || !now.Before(e.svid.Certificates[0].NotAfter) {
		return nil
	}
	e.used = true
	return e.svid
}

func (k *Keeper) store(id spiffeid.ID, s *x509svid.SVID, used bool) {
	leaf := s.Certificates[0]
	now := k.now()
	half := max(leaf.NotAfter.Sub(now)/2, 0)
	early := time.Duration(mathrand.Int64N(int64(half)/10 + 1)) //nolint:gosec // spreads load, guards nothing
	k.mu.Lock()
	k.held[id] = &entry{svid: s, rotate: now.Add(half - early), used: used}
	k.mu.Unlock()
	k.wake.Fire()
}

func (k *Keeper) issue(ctx context.Context, id spiffeid.ID) (*x509svid.SVID, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of %s: %w", id, err)
	}
	chain, err := k.authority.Issue(ctx, id, key.Public(), k.ttl)
	if err != nil {
		return nil, err
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("issue %s: an empty chain", id)
	}
	got, err := svid.CheckLeaf(chain[0])
	if err != nil {
		return nil, fmt.Errorf("issue %s: %w", id, err)
	}
	if got != id {
		return nil, fmt.Errorf("issue %s: the authority signed %s", id, got)
	}
	if err := svid.CheckKey(chain[0], key); err != nil {
		return nil, fmt.Errorf("issue %s: %w", id, err)
	}
	if !k.now().Before(chain[0].NotAfter) {
		return nil, fmt.Errorf("issue %s: the authority signed an SVID that has ended", id)
	}
	return &x509svid.SVID{ID: id, Certificates: chain, PrivateKey: key}, nil
}

// Run replaces SVIDs when they are due, until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for {
		wake := k.wake.C()
		due, next := k.due()
		for _, id := range due {
			k.replace(ctx, id)
		}
		if len(due) > 0 {
			k.changed.Fire()
			continue
		}
		timer.Reset(next)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		case <-wake:
		}
	}
}

// due returns the IDs to be replaced now; if there are none, how long to wait. It drops what is due and unused.
func (k *Keeper) due() (ids []spiffeid.ID, next time.Duration) {
	now, next := k.now(), idle
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, e := range k.held {
		switch {
		case now.Before(e.rotate):
			next = min(next, e.rotate.Sub(now))
		case e.used:
			ids = append(ids, id)
		default:
			delete(k.held, id)
		}
	}
	return ids, max(next, time.Millisecond)
}

func (k *Keeper) replace(ctx context.Context, id spiffeid.ID) {
	s, err := k.issue(ctx, id)
	if err == nil {
		k.store(id, s, false)
		return
	}
	if ctx.Err() == nil {
		k.log.Error("an SVID was not replaced; the old one stays until its end", "spiffe_id", id.String(), "error", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if e, ok := k.held[id]; ok {
		e.backoff = min(max(2*e.backoff, minRetry), maxRetry)
		e.rotate = k.now().Add(e.backoff/2 + mathrand.N(e.backoff/2+1)) //nolint:gosec // jitter
	}
}
