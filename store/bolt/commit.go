package bolt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/credence-mesh/credence/store"
)

// maxBatch bounds how many changes share a transaction.
const maxBatch = 256

// op is a change that waits for its turn.
type op struct {
	do func(*txn) error
	// late tells that nobody waits for the change any more.
	late func() error
	done bool
	err  error
}

// change has do done in a transaction and returns when that is on disk, or failed. do may be called more than once.
func (s *Store) change(ctx context.Context, do func(*txn) error) error {
	o := &op{do: do, late: ctx.Err}
	s.queueing.Lock()
	s.queue = append(s.queue, o)
	s.queueing.Unlock()

	s.committing.Lock()
	defer s.committing.Unlock()
	for !o.done {
		s.queueing.Lock()
		n := min(len(s.queue), maxBatch)
		batch := s.queue[:n:n]
		s.queue = s.queue[n:]
		s.queueing.Unlock()
		s.commit(batch)
	}
	return o.err
}

// commit does the changes of a batch. One that is refused leaves the others alone; what fails in the engine fails for all.
func (s *Store) commit(batch []*op) {
	var sum txn
	var id int
	err := s.broken()
	if err == nil {
		err = s.guard(func() error {
			return s.db.Update(func(tx *bbolt.Tx) error {
				id = tx.ID()
				sum = txn{tx: tx, s: s, now: s.now()}
				return sum.all(batch)
			})
		})
		err = s.judge(err, id)
	}
	if err == nil {
		s.bytes.Add(sum.bytes)
		s.entries.Add(sum.entries)
	}
	for _, o := range batch {
		o.done = true
		if err != nil {
			o.err = err
		}
	}
}

// errNothing ends a transaction that has changed nothing without a sync.
var errNothing = errors.New("nothing to commit")

func (t *txn) all(batch []*op) error {
	for _, o := range batch {
		if o.err = o.late(); o.err != nil {
			continue
		}
		t.touched = false
		if o.err = o.do(t); o.err != nil && (t.touched || errors.Is(o.err, store.ErrCorrupt)) {
			return o.err
		}
	}
	if !t.changed {
		return errNothing
	}
	return nil
}

// judge says what the error of transaction id means for the store.
func (s *Store) judge(err error, id int) error {
	switch {
	case err == nil, errors.Is(err, errNothing):
		return nil
	case errors.Is(err, store.ErrCorrupt):
	case noRoom(err) && s.before(id):
		// bbolt has rolled back; there may be room later.
		return fmt.Errorf("%w: no room on the disk of %s: %w", store.ErrFull, s.path, err)
	default:
		// After a failed sync nobody knows what the disk has, and asking it again may get the wrong answer.
		err = fmt.Errorf("writing %s: %w; start credence anew, on a disk that works", s.path, err)
	}
	s.fail(err)
	return err
}

// noRoom also knows the error from its text: bbolt formats that of growing the file.
func noRoom(err error) bool {
	for _, e := range []syscall.Errno{syscall.ENOSPC, syscall.EFBIG, syscall.EDQUOT} {
		if errors.Is(err, e) || strings.HasSuffix(err.Error(), e.Error()) {
			return true
		}
	}
	return false
}

// before tells whether the file is as it was before transaction id.
func (s *Store) before(id int) bool {
	now := id
	err := s.guard(func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			now = tx.ID()
			return nil
		})
	})
	return err == nil && now < id
}

// view has f read one state of the file.
func (s *Store) view(f func(*bbolt.Tx) error) error {
	if err := s.broken(); err != nil {
		return err
	}
	err := s.guard(func() error { return s.db.View(f) })
	switch {
	case errors.Is(err, store.ErrCorrupt):
		s.fail(err)
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		return store.ErrClosed
	}
	return err
}

// fail ends the store: err is what every call gets from now on.
func (s *Store) fail(err error) {
	if s.failed.CompareAndSwap(nil, &err) {
		s.opts.Log.Error("the store has failed and answers no more", "path", s.path, "error", err.Error())
	}
}

func (s *Store) broken() error {
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return nil
}
