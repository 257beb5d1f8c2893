package bolt

import (
	"bytes"
	"context"
	"errors"

	"go.etcd.io/bbolt"

	"github.com/credence-mesh/credence/store"
	"github.com/credence-mesh/credence/store/seal"
)

// Rotate replaces the sealing key, seals everything anew and forgets the keys before. If it fails in between, the next Rotate or Run
// finishes; until then the older keys are kept. Calls of other methods go on meanwhile.
func (s *Store) Rotate(ctx context.Context) error {
	if err := s.newKey(); err != nil {
		return err
	}
	return s.reseal(ctx)
}

// newKey waits for the changes at work: each was sealed and committed with one key, so what reseal does not find later does not exist.
func (s *Store) newKey() error {
	s.committing.Lock()
	defer s.committing.Unlock()
	if err := s.broken(); err != nil {
		return err
	}
	return s.ring.Rotate(s.opts.Now())
}

// reseal seals with the current key what is sealed with another.
func (s *Store) reseal(ctx context.Context) error {
	current, _ := s.ring.Current()
	var kinds []store.Kind
	err := s.view(func(tx *bbolt.Tx) error {
		kinds = nil
		return (&txn{tx: tx, s: s}).kinds(func(k store.Kind, _ kind) error {
			kinds = append(kinds, k)
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, k := range kinds {
		if err := s.resealKind(ctx, k, current); err != nil {
			return err
		}
	}
	if err := s.change(ctx, (*txn).sealCanary); err != nil {
		return err
	}
	return s.forget(current)
}

// forget drops the older keys, unless the key has been replaced since.
func (s *Store) forget(current uint32) error {
	s.committing.Lock()
	defer s.committing.Unlock()
	if now, _ := s.ring.Current(); now != current {
		return nil
	}
	return s.ring.Forget()
}

func (s *Store) resealKind(ctx context.Context, k store.Kind, current uint32) error {
	var after []byte
	for {
		var names, stale [][]byte
		err := s.view(func(tx *bbolt.Tx) error {
			t := txn{tx: tx, s: s}
			names, stale = t.names(k, after, page), nil
			for _, name := range names {
				r, err := t.find(k, name)
				if err != nil {
					return err
				}
				if seal.KeyID(r.sealed) != current {
					stale = append(stale, name)
				}
			}
			return nil
		})
		if err != nil || len(names) == 0 {
			return err
		}
		if len(stale) > 0 {
			if err := s.change(ctx, func(t *txn) error { return t.reseal(k, stale) }); err != nil {
				return err
			}
		}
		after = names[len(names)-1]
	}
}

// reseal seals those of names anew that are still there. Nothing of them changes but the key and the nonce.
func (t *txn) reseal(k store.Kind, names [][]byte) error {
	for _, name := range names {
		r, err := t.find(k, name)
		if errors.Is(err, store.ErrNotFound) {
			continue // taken meanwhile
		} else if err != nil {
			return err
		}
		with := beside(k, name, r.head)
		value, err := t.s.ring.Open(with, r.sealed)
		if err != nil {
			return err
		}
		t.touched, t.changed = true, true
		if err := t.kind(k).values.Put(name, t.s.ring.Seal(bytes.Clone(r.head), with, value)); err != nil {
			return err
		}
	}
	return nil
}

// sealCanary has the file say which key ring is its own.
func (t *txn) sealCanary() error {
	t.touched, t.changed = true, true
	b, err := t.tx.CreateBucketIfNotExists([]byte(metaBucket))
	if err != nil {
		return err
	}
	return b.Put(canaryName, t.s.ring.Seal(nil, t.s.mark(), nil))
}
