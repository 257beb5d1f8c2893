package bolt

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/credence-mesh/credence/store"
	"github.com/credence-mesh/credence/store/seal"
)

// canaryName names the sealed value that tells whether a key ring is that of the file.
var canaryName = []byte("canary")

// mark is what the canary is sealed with: the name key is proven too.
func (s *Store) mark() []byte {
	name := s.ring.ID("meta", "canary")
	return name[:]
}

// verify reads everything there is, and makes the key ring of a file that is new.
func (s *Store) verify() error {
	fresh := s.ring == nil
	marked := false
	err := s.db.View(func(tx *bbolt.Tx) (err error) {
		t := txn{tx: tx, s: s, now: s.now()}
		if fresh {
			return t.empty("its key ring " + s.opts.Keys + " is missing")
		}
		marked, err = t.verify()
		return err
	})
	if errors.Is(err, store.ErrCorrupt) {
		return s.damaged(err.Error())
	} else if err != nil || marked {
		return err
	}
	if fresh {
		if s.ring, err = seal.Create(s.opts.Keys, s.opts.Now()); err != nil {
			return err
		}
	}
	return s.change(context.Background(), (*txn).sealCanary)
}

// verify counts what there is and compares every entry with its seal, its expiry and its indexes. It tells whether the file says whose it is,
// as all but one just made do.
func (t *txn) verify() (marked bool, err error) {
	b := t.tx.Bucket([]byte(metaBucket))
	if b == nil {
		return false, t.empty("its mark is missing")
	}
	if _, err := t.s.ring.Open(t.s.mark(), b.Get(canaryName)); err != nil {
		return false, fmt.Errorf("the key ring is of another store: %w", err)
	}
	err = t.kinds(t.verifyKind)
	t.s.bytes.Store(t.bytes)
	t.s.entries.Store(t.entries)
	return true, err
}

// empty fails where there is any entry, or a mark.
func (t *txn) empty(what string) error {
	err := t.kinds(func(store.Kind, kind) error {
		return fmt.Errorf("%w: it has entries, and %s", store.ErrCorrupt, what)
	})
	if err == nil && t.tx.Bucket([]byte(metaBucket)) != nil {
		return fmt.Errorf("%w: it has been in use, and %s", store.ErrCorrupt, what)
	}
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
