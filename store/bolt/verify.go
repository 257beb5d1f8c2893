package bolt

import (
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/credence-mesh/credence/store"
	"github.com/credence-mesh/credence/store/seal"
)

// canaryName names the sealed value that tells whether a key ring is that of the file.
var canaryName = []byte("canary")

// verify reads everything there is, and makes the key ring of a file that is new.
func (s *Store) verify() error {
	fresh := s.ring == nil
	err := s.db.View(func(tx *bbolt.Tx) error {
		t := txn{tx: tx, s: s, now: s.now()}
		if fresh {
			return t.kinds(func(store.Kind, kind) error {
				return s.damaged("it has entries, and its key ring " + s.opts.Keys + " is missing")
			})
		}
		return t.verify()
	})
	if err != nil {
		if errors.Is(err, store.ErrCorrupt) {
			return s.damaged(err.Error())
		}
		return err
	}
	if fresh {
		if s.ring, err = seal.Create(s.opts.Keys, s.opts.Now()); err != nil {
			return err
		}
	}
	return s.db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(metaBucket))
		if err != nil {
			return err
		}
		return b.Put(canaryName, s.ring.Seal(nil, canaryName, nil))
	})
}

// verify counts what there is and compares every entry with its seal, its expiry and its indexes.
func (t *txn) verify() error {
	if b := t.tx.Bucket([]byte(metaBucket)); b != nil {
		if _, err := t.s.ring.Open(canaryName, b.Get(canaryName)); err != nil {
			return fmt.Errorf("the key ring is of another store: %w", err)
		}
	}
	err := t.kinds(t.verifyKind)
	t.s.bytes.Store(t.bytes)
	t.s.entries.Store(t.entries)
	return err
}

func (t *txn) verifyKind(k store.Kind, b kind) error {
	var expiring, indexed int
	err := b.values.ForEach(func(name, raw []byte) error {
		r, err := parseRecord(raw)
		if err != nil {
			return err
		}
		if _, err := t.s.ring.Open(beside(k, name, r.head), r.sealed); err != nil {
			return err
		}
		if r.expires != 0 {
			expiring++
			if !has(b.expiry, expiryKey(r.expires, name)) {
				return fmt.Errorf("%w: an entry is missing among those that expire", store.ErrCorrupt)
			}
		}
		for _, x := range r.indexes {
			indexed++
			if !has(b.indexes, indexKey(x, name)) {
				return fmt.Errorf("%w: an entry is missing in an index", store.ErrCorrupt)
			}
		}
		t.entries++
		t.bytes += r.cost()
		return nil
	})
	if err != nil {
		return err
	}
	if count(b.expiry) != expiring || count(b.indexes) != indexed {
		return fmt.Errorf("%w: an index leads to what is not there", store.ErrCorrupt)
	}
	return nil
}

func has(b *bbolt.Bucket, key []byte) bool { return b.Get(key) != nil }

func count(b *bbolt.Bucket) int {
	n := 0
	c := b.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		n++
	}
	return n
}
