package bolt

import (
	"bytes"
	"context"
	"errors"
	"iter"

	"go.etcd.io/bbolt"

	"github.com/credence-mesh/credence/store"
)

// page is how many values are read at a time: between two pages nothing of the file is held, so the loop may change it.
const page = 128

// Lookup implements store.Store.
func (s *Store) Lookup(ctx context.Context, kind store.Kind, index string) iter.Seq2[[]byte, error] {
	if err := errors.Join(kind.Validate(), store.ValidateID(index)); err != nil {
		return failing(err)
	}
	x := s.ring.Index(kind, index)
	return s.paged(ctx, kind, func(t *txn, after []byte) [][]byte { return t.indexed(kind, x[:], after, page) })
}

// All implements store.Store.
func (s *Store) All(ctx context.Context, kind store.Kind) iter.Seq2[[]byte, error] {
	if err := kind.Validate(); err != nil {
		return failing(err)
	}
	return s.paged(ctx, kind, func(t *txn, after []byte) [][]byte { return t.names(kind, after, page) })
}

func failing(err error) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) { yield(nil, err) }
}

// paged yields the values of the names that next returns, page by page, until there is none.
func (s *Store) paged(ctx context.Context, k store.Kind, next func(t *txn, after []byte) [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var after []byte
		for {
			var values [][]byte
			var names [][]byte
			err := ctx.Err()
			if err == nil {
				err = s.view(func(tx *bbolt.Tx) (err error) {
					t := txn{tx: tx, s: s, now: s.now()}
					names = next(&t, after)
					values, err = t.values(k, names)
					return err
				})
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for _, v := range values {
				if !yield(v, nil) {
					return
				}
			}
			if len(names) == 0 {
				return
			}
			after = names[len(names)-1]
		}
	}
}

// values opens those of names that live.
func (t *txn) values(k store.Kind, names [][]byte) ([][]byte, error) {
	var out [][]byte
	for _, name := range names {
		if _, err := t.find(k, name); err != nil {
			return nil, corruptIfMissing(err)
		}
		v, err := t.value(k, name)
		if errors.Is(err, store.ErrNotFound) {
			continue // it has expired
		} else if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// names returns those of entries after the one given, limit at most. They are copies.
func (t *txn) names(k store.Kind, after []byte, limit int) [][]byte {
	b := t.kind(k)
	if b.values == nil {
		return nil
	}
	var out [][]byte
	c := b.values.Cursor()
	key, _ := c.Seek(after)
	if after != nil && bytes.Equal(key, after) {
		key, _ = c.Next()
	}
	for ; key != nil && len(out) < limit; key, _ = c.Next() {
		out = append(out, bytes.Clone(key))
	}
	return out
}
