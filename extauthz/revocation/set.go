package revocation

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// Store keeps acknowledged revocations. It is called by one goroutine at a time.
type Store interface {
	// Put returns when value would survive a crash of the machine. A later Put of the id replaces it.
	Put(ctx context.Context, id string, value []byte) error
	// Delete is as lasting; there may be none of the id.
	Delete(ctx context.Context, id string) error
	// All calls each with every value, and ends with its first error. value is valid during the call.
	All(ctx context.Context, each func(value []byte) error) error
}

// none keeps nothing.
type none struct{}

var errNone = errors.New("there is no store")

func (none) Put(context.Context, string, []byte) error           { return errNone }
func (none) Delete(context.Context, string) error                { return errNone }
func (none) All(context.Context, func(value []byte) error) error { return nil }

// Options of Open.
type Options struct {
	// Store: nil: only manifests revoke, and Add refuses.
	Store Store
	// Limit is how many acknowledged revocations are kept; 0: DefaultLimit.
	Limit int
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Log: nil: none.
	Log *slog.Logger
	// Metrics is where the metrics are registered. Nil: nowhere.
	Metrics prometheus.Registerer
}

// DefaultLimit of acknowledged revocations: some 50 MB of memory.
const DefaultLimit = 100_000

// recentLimit is how many of them are indexed apart, so that each Add costs little however many there are.
const recentLimit = 256

// sweepEvery is how often what can cover nothing any more is forgotten.
const sweepEvery = time.Minute

// sweepAtOnce is how many: each is a write to disk, and Add waits meanwhile.
const sweepAtOnce = 200

// Set is what is revoked now. All methods may be called at the same time.
type Set struct {
	store   Store
	limit   int
	now     func() time.Time
	log     *slog.Logger
	metrics *metrics

	// indices are what Revoked reads: those of the manifests, of most that is kept, and of the rest.
	indices atomic.Pointer[[3]*index]

	mu        sync.Mutex
	published *policy.Set
	kept      map[string]*Entry
	ids       map[what]string
	recent    map[string]bool
}

// Places in Set.indices.
const (
	manifestIndex = iota
	keptIndex
	recentIndex
)

// Open reads what is kept: it is in force when Open returns. It starts nothing; see Run. Its error is ErrCorrupt, or what the store says.
func Open(ctx context.Context, o Options) (*Set, error) {
	if o.Store == nil {
		o.Store = none{}
	}
	if o.Limit == 0 {
		o.Limit = DefaultLimit
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, fmt.Errorf("revocation: %w", err)
	}
	s := &Set{store: o.Store, limit: o.Limit, now: o.Now, log: o.Log, metrics: m, kept: map[string]*Entry{}, ids: map[what]string{}, recent: map[string]bool{}}
	s.indices.Store(&[3]*index{newIndex(), newIndex(), newIndex()})
	err = o.Store.All(ctx, func(value []byte) error {
		e, err := decode(value)
		if err != nil {
			return err
		}
		s.kept[e.ID], s.ids[whatOf(&e.Revocation)] = &e, e.ID
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the revocations: %w", err)
	}
	s.reindex()
	return s, nil
}

// Revoked is the ID of a revocation that covers u at now, "" where none does. It does not block and allocates nothing.
func (s *Set) Revoked(u *decide.User, now time.Time) string {
	for _, x := range s.indices.Load() {
		if id := x.revoked(u, now); id != "" {
			return id
		}
	}
	return ""
}

// Publish puts the revocations of set's manifests in force in place of those before. Its issuers tell how long those that were acknowledged
// are kept: they may gain time, and never lose any. set is never changed.
func (s *Set) Publish(set *policy.Set) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.published = set
	for _, e := range s.kept {
		e.Until = later(e.Until, until(&e.Revocation, e.Created, set))
	}
	manifest := newIndex()
	for i := range set.Revocations {
		manifest.add(&set.Revocations[i])
	}
	s.reindexWith(manifest)
}

// Add acknowledges r: it is on disk and in force when Add returns, and Checks that begin later are judged by it. ID and Until are set by
// Add; what is revoked already keeps its ID and is kept for longer. The error is ErrInvalid, ErrFull or ErrStore, and r is not in force.
func (s *Set) Add(ctx context.Context, r policy.Revocation) (Entry, error) {
	begun := s.now()
	if err := validate(&r); err != nil {
		return Entry{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, again := s.ids[whatOf(&r)]
	if !again {
		if len(s.kept) >= s.limit {
			return Entry{}, fmt.Errorf("%w: %d are kept: undo those that are not needed, or revoke by subject, client or issuer", ErrFull, s.limit)
		}
		var err error
		if id, err = newID(); err != nil {
			return Entry{}, fmt.Errorf("%w: %w", ErrStore, err)
		}
	}
	r.ID, r.IssuedBefore = id, r.IssuedBefore.UTC()
	e := &Entry{Revocation: r, Created: begun.UTC()}
	if e.Until = until(&r, e.Created, s.published); s.published != nil && incomplete(s.published) {
		e.Until = time.Time{}
	}
	if again {
		e.Until = later(e.Until, s.kept[id].Until)
	}
	value, err := encode(e)
	if err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrStore, err)
	}
	if err := s.store.Put(ctx, id, value); err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrStore, err)
	}
	s.keep(e)
	s.metrics.seconds.Observe(s.now().Sub(begun).Seconds())
	if e.Until.IsZero() {
		s.log.Info("revoked", "id", id, "until", "undone")
	} else {
		s.log.Info("revoked", "id", id, "until", e.Until)
	}
	return *e, nil
}

// newID is not to be guessed, and no path needs to escape it.
func newID() (string, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	return "r-" + hex.EncodeToString(b[:]), nil
}

// keep puts e in force.
func (s *Set) keep(e *Entry) {
	_, again := s.kept[e.ID]
	s.kept[e.ID], s.ids[whatOf(&e.Revocation)] = e, e.ID
	if again && !s.recent[e.ID] || len(s.recent) >= recentLimit {
		s.reindex()
		return
	}
	s.recent[e.ID] = true
	now := *s.indices.Load()
	now[recentIndex] = s.indexOf(maps.Keys(s.recent))
	s.indices.Store(&now)
	s.count()
}

// Remove undoes what Add has acknowledged; it is undone on disk and in force when Remove returns. The error is ErrUnknown, ErrManifest or
// ErrStore, and the revocation stays in force.
func (s *Set) Remove(ctx context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept[id] == nil {
		if s.published != nil && slices.ContainsFunc(s.published.Revocations, func(r policy.Revocation) bool { return r.ID == id }) {
			return fmt.Errorf("%w: remove %s from its RevocationList", ErrManifest, id)
		}
		return fmt.Errorf("%w: %.64q", ErrUnknown, id)
	}
	if err := s.store.Delete(ctx, id); err != nil {
		return fmt.Errorf("%w: undoing %s: %w", ErrStore, id, err)
	}
	s.forget(id)
	s.reindex()
	s.log.Info("a revocation is undone", "id", id)
	return nil
}

func (s *Set) forget(id string) {
	delete(s.ids, whatOf(&s.kept[id].Revocation))
	delete(s.kept, id)
}

// List is everything that is revoked: what was acknowledged by age, then the manifests' by ID.
func (s *Set) List() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Entry, 0, len(s.kept))
	for _, e := range s.kept {
		out = append(out, *e)
	}
	slices.SortFunc(out, func(a, b Entry) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
	if s.published != nil {
		for _, r := range s.published.Revocations {
			out = append(out, Entry{Revocation: r, Manifest: true})
		}
	}
	return out
}

// Run forgets what can cover nothing any more, until ctx ends.
func (s *Set) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("old revocations are not forgotten yet", "error", err)
			}
		}
	}
}

func (s *Set) sweep(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.published == nil {
		return nil // the issuers may have come to allow longer lives since these ends were written
	}
	now, before := s.now(), len(s.kept)
	var failed error
	for id, e := range s.kept {
		if before-len(s.kept) == sweepAtOnce {
			break
		}
		if e.Until.IsZero() || now.Before(e.Until) {
			continue
		}
		if failed = s.store.Delete(ctx, id); failed != nil {
			break
		}
		s.forget(id)
	}
	if len(s.kept) != before {
		s.reindex()
	}
	return failed
}

func (s *Set) reindex() { s.reindexWith(s.indices.Load()[manifestIndex]) }

func (s *Set) reindexWith(manifest *index) {
	clear(s.recent)
	s.indices.Store(&[3]*index{manifest, s.indexOf(maps.Keys(s.kept)), newIndex()})
	s.count()
}

func (s *Set) indexOf(ids func(func(string) bool)) *index {
	x := newIndex()
	for id := range ids {
		x.add(&s.kept[id].Revocation)
	}
	return x
}

func (s *Set) count() {
	s.metrics.kept.Set(float64(len(s.kept)))
	if s.published != nil {
		s.metrics.manifests.Set(float64(len(s.published.Revocations)))
	}
}
