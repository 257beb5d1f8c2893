package bolt

import (
	"context"
	"errors"
	"time"

	"github.com/credence-mesh/credence/store"
)

// Run removes what has expired until ctx ends, and replaces the sealing key when it is old. It returns an error only when the store has
// failed.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(s.opts.SweepEvery)
	defer tick.Stop()
	for {
		if err := s.tidy(ctx); err != nil && ctx.Err() == nil {
			if err := s.broken(); errors.Is(err, store.ErrClosed) {
				return nil
			} else if err != nil {
				return err
			}
			s.opts.Log.Warn("sweeping the store", "path", s.path, "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// tidy does what is due.
func (s *Store) tidy(ctx context.Context) error {
	_, err := s.Sweep(ctx)
	if _, made := s.ring.Current(); s.opts.Now().Sub(made) >= s.opts.RotateAfter {
		return errors.Join(err, s.Rotate(ctx))
	} else if s.ring.Len() > 1 {
		return errors.Join(err, s.reseal(ctx))
	}
	return err
}

// Sweep removes what has expired and tells how many entries that were.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	total := 0
	for {
		n := 0
		err := s.change(ctx, func(t *txn) (err error) {
			n, err = t.sweep(evictable)
			return err
		})
		if err != nil {
			return total, err
		}
		total += n
		if n < evictable {
			return total, nil
		}
	}
}
