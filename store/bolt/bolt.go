package bolt

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/credence-mesh/credence/store"
	"github.com/credence-mesh/credence/store/seal"
)

var _ store.Store = (*Store)(nil)

// Store is the embedded engine. Make it with Open. All methods may be called at the same time.
type Store struct {
	path string
	opts Options
	ring *seal.Ring
	db   *bbolt.DB

	// failed is why no call is answered any more: damage, a disk that lost what it was given, or ErrClosed.
	failed atomic.Pointer[error]
	// stuck: a panic of bbolt may have left its locks taken.
	stuck atomic.Bool

	// queueing guards queue. Whoever has committing works the queue off, for the others too.
	queueing   sync.Mutex
	queue      []*op
	committing sync.Mutex

	// bytes and entries are of the last commit.
	bytes, entries atomic.Int64
}

// Stats is the state of a Store, for metrics.
type Stats struct {
	// Entries is how many there are, with those that have expired and are not swept yet.
	Entries int64
	// Bytes is what counts against MaxBytes.
	Bytes, MaxBytes int64
	// SealingKeys is more than 1 while entries are sealed anew.
	SealingKeys int
}

// Stats returns the state as of the last commit.
func (s *Store) Stats() Stats {
	return Stats{Entries: s.entries.Load(), Bytes: s.bytes.Load(), MaxBytes: s.opts.MaxBytes, SealingKeys: s.ring.Len()}
}

// Close waits for what is being done and releases the file. Later calls fail with ErrClosed.
func (s *Store) Close() error {
	err := store.ErrClosed
	s.failed.CompareAndSwap(nil, &err)
	if s.stuck.Load() {
		return nil // closing would wait for a lock that nobody releases; the process ends soon
	}
	s.committing.Lock()
	defer s.committing.Unlock()
	return s.db.Close()
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, item store.Item) error {
	return s.put(ctx, &item, func(bool) error { return nil })
}

// PutIfAbsent implements store.Store.
func (s *Store) PutIfAbsent(ctx context.Context, item store.Item) error {
	return s.put(ctx, &item, func(lives bool) error {
		if lives {
			return store.ErrExists
		}
		return nil
	})
}

// Replace implements store.Store.
func (s *Store) Replace(ctx context.Context, item store.Item) error {
	return s.put(ctx, &item, func(lives bool) error {
		if !lives {
			return store.ErrNotFound
		}
		return nil
	})
}

func (s *Store) put(ctx context.Context, item *store.Item, may func(lives bool) error) error {
	if err := item.Validate(); err != nil {
		return err
	}
	name := s.ring.ID(item.Kind, item.ID)
	return s.change(ctx, func(t *txn) error {
		_, err := t.value(item.Kind, name[:])
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := may(err == nil); err != nil {
			return err
		}
		return t.put(item, name[:])
	})
}

// Get implements store.Store. It does not wait for changes.
func (s *Store) Get(ctx context.Context, kind store.Kind, id string) ([]byte, error) {
	if err := errors.Join(kind.Validate(), store.ValidateID(id), ctx.Err()); err != nil {
		return nil, err
	}
	name := s.ring.ID(kind, id)
	var value []byte
	err := s.view(func(tx *bbolt.Tx) (err error) {
		t := txn{tx: tx, s: s, now: s.now()}
		value, err = t.value(kind, name[:])
		return err
	})
	return value, err
}

// Take implements store.Store.
func (s *Store) Take(ctx context.Context, kind store.Kind, id string) ([]byte, error) {
	if err := errors.Join(kind.Validate(), store.ValidateID(id)); err != nil {
		return nil, err
	}
	name := s.ring.ID(kind, id)
	var value []byte
	err := s.change(ctx, func(t *txn) (err error) {
		if value, err = t.value(kind, name[:]); err != nil {
			return err
		}
		return t.remove(kind, name[:])
	})
	if err != nil {
		return nil, err // a value whose removal was not committed is not handed out
	}
	return value, nil
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, kind store.Kind, id string) error {
	if err := errors.Join(kind.Validate(), store.ValidateID(id)); err != nil {
		return err
	}
	name := s.ring.ID(kind, id)
	return s.change(ctx, func(t *txn) error { return t.remove(kind, name[:]) })
}

// DeleteIndexed implements store.Store. Here it is one change: all are gone or none.
func (s *Store) DeleteIndexed(ctx context.Context, kind store.Kind, index string) (int, error) {
	if err := errors.Join(kind.Validate(), store.ValidateID(index)); err != nil {
		return 0, err
	}
	x := s.ring.Index(kind, index)
	lived := 0
	err := s.change(ctx, func(t *txn) error {
		lived = 0
		for _, name := range t.indexed(kind, x[:], nil, 0) {
			r, err := t.find(kind, name)
			if err != nil {
				return corruptIfMissing(err)
			}
			if !r.over(t.now) {
				lived++
			}
			if err := t.remove(kind, name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return lived, nil
}

func (s *Store) now() int64 { return s.opts.Now().UnixMilli() }

// Options are how a Store is opened. The zero value is complete.
type Options struct {
	// Keys is the file of the key ring; empty: that of the store with ".keys" behind.
	Keys string
	// MaxBytes bounds what is kept, with names and indexes; zero: 256 MiB. The file may become about three times as large.
	MaxBytes int64
	// SweepEvery is how often Run removes what has expired; zero: a minute.
	SweepEvery time.Duration
	// RotateAfter is the age at which Run replaces the sealing key; zero: 90 days.
	RotateAfter time.Duration
	// Wait is for how long Open waits for another process to let go of the file; zero: 5 s.
	Wait time.Duration
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Log hears of failed sweeps; nil: nobody.
	Log *slog.Logger
}

func (o Options) withDefaults(path string) Options {
	if o.Keys == "" {
		o.Keys = path + ".keys"
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 256 << 20
	}
	if o.SweepEvery <= 0 {
		o.SweepEvery = time.Minute
	}
	if o.RotateAfter <= 0 {
		o.RotateAfter = 90 * 24 * time.Hour
	}
	if o.Wait <= 0 {
		o.Wait = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}
