package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/credence-mesh/credence/store"
)

const (
	kindPrefix = "k/"
	metaBucket = "meta"
	// evictable is how many expired entries a Put removes to make room, in one go.
	evictable = 1000
)

// txn is one transaction and what it has changed so far.
type txn struct {
	tx             *bbolt.Tx
	s              *Store
	now            int64
	bytes, entries int64
	// changed: there is something to commit.
	changed bool
	// touched: the op at work has changed something of its own. Methods judge before they change, so a refusal leaves it false.
	touched bool
}

// kind has the buckets of one kind; all are nil where nothing has been kept yet.
type kind struct{ values, expiry, indexes *bbolt.Bucket }

func (t *txn) kind(k store.Kind) kind {
	return kindOf(t.tx.Bucket([]byte(kindPrefix + string(k))))
}

func kindOf(b *bbolt.Bucket) kind {
	if b == nil {
		return kind{}
	}
	return kind{values: b.Bucket([]byte("values")), expiry: b.Bucket([]byte("expiry")), indexes: b.Bucket([]byte("indexes"))}
}

// make returns the buckets of k, which it makes where they are missing.
func (t *txn) make(k store.Kind) (kind, error) {
	b, err := t.tx.CreateBucketIfNotExists([]byte(kindPrefix + string(k)))
	if err != nil {
		return kind{}, err
	}
	for _, name := range []string{"values", "expiry", "indexes"} {
		if _, err := b.CreateBucketIfNotExists([]byte(name)); err != nil {
			return kind{}, err
		}
	}
	return kindOf(b), nil
}

// find returns the record of an entry, expired or not, or ErrNotFound.
func (t *txn) find(k store.Kind, name []byte) (record, error) {
	b := t.kind(k)
	if b.values == nil {
		return record{}, store.ErrNotFound
	}
	raw := b.values.Get(name)
	if raw == nil {
		return record{}, store.ErrNotFound
	}
	return parseRecord(raw)
}

// value opens the value of an entry that lives.
func (t *txn) value(k store.Kind, name []byte) ([]byte, error) {
	r, err := t.find(k, name)
	if err != nil {
		return nil, err
	}
	// Opened before the expiry is believed: it is sealed too.
	v, err := t.s.ring.Open(beside(k, name, r.head), r.sealed)
	if err != nil {
		return nil, err
	}
	if r.over(t.now) {
		return nil, store.ErrNotFound
	}
	return v, nil
}

// put keeps item in place of what has its name, or fails with ErrFull.
func (t *txn) put(item *store.Item, name []byte) error {
	r := makeHead(t.s.ring, item)
	raw := t.s.ring.Seal(r.head, beside(item.Kind, name, r.head), item.Value)
	need := cost(raw, r.expires, len(r.indexes))
	if old, err := t.find(item.Kind, name); err == nil {
		need -= old.cost()
	}
	for t.s.bytes.Load()+t.bytes+need > t.s.opts.MaxBytes {
		n, err := t.sweep(evictable)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("%w: %d bytes of %d are in use", store.ErrFull, t.s.bytes.Load()+t.bytes, t.s.opts.MaxBytes)
		}
		if _, err := t.find(item.Kind, name); err != nil {
			need = cost(raw, r.expires, len(r.indexes)) // the old one was among what was swept
		}
	}
	if err := t.remove(item.Kind, name); err != nil {
		return err
	}
	return t.insert(item.Kind, name, raw, &r)
}

func (t *txn) insert(k store.Kind, name, raw []byte, r *record) error {
	t.touched, t.changed = true, true
	b, err := t.make(k)
	if err != nil {
		return err
	}
	if err := b.values.Put(name, raw); err != nil {
		return err
	}
	if r.expires != 0 {
		if err := b.expiry.Put(expiryKey(r.expires, name), nil); err != nil {
			return err
		}
	}
	for _, x := range r.indexes {
		if err := b.indexes.Put(indexKey(x, name), nil); err != nil {
			return err
		}
	}
	t.bytes += cost(raw, r.expires, len(r.indexes))
	t.entries++
	return nil
}

// remove removes an entry with its indexes, if there is one.
func (t *txn) remove(k store.Kind, name []byte) error {
	r, err := t.find(k, name)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	t.touched, t.changed = true, true
	t.bytes -= r.cost()
	t.entries--
	b := t.kind(k)
	expires, indexes := r.expires, r.indexes // copies: the record lies in a page that is about to change
	if err := b.values.Delete(name); err != nil {
		return err
	}
	if expires != 0 {
		if err := b.expiry.Delete(expiryKey(expires, name)); err != nil {
			return err
		}
	}
	for _, x := range indexes {
		if err := b.indexes.Delete(indexKey(x, name)); err != nil {
			return err
		}
	}
	return nil
}

// indexed returns the names behind index, after the one given, limit at most (0: all). They are copies.
func (t *txn) indexed(k store.Kind, index, after []byte, limit int) [][]byte {
	b := t.kind(k)
	if b.indexes == nil {
		return nil
	}
	var out [][]byte
	c := b.indexes.Cursor()
	for key, _ := c.Seek(append(bytes.Clone(index), after...)); bytes.HasPrefix(key, index); key, _ = c.Next() {
		name := key[len(index):]
		if after != nil && bytes.Equal(name, after) {
			continue
		}
		out = append(out, bytes.Clone(name))
		if len(out) == limit {
			break
		}
	}
	return out
}

// sweep removes up to limit entries that have expired and tells how many.
func (t *txn) sweep(limit int) (int, error) {
	type entry struct {
		kind store.Kind
		name []byte
	}
	var over []entry
	err := t.kinds(func(k store.Kind, b kind) error {
		c := b.expiry.Cursor()
		for key, _ := c.First(); key != nil && len(over) < limit; key, _ = c.Next() {
			if len(key) != 8+nameSize {
				return fmt.Errorf("%w: an expiry is cut short", store.ErrCorrupt)
			}
			if binary.BigEndian.Uint64(key) > uint64(max(t.now, 0)) {
				break
			}
			over = append(over, entry{k, bytes.Clone(key[8:])})
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	before, touched := t.entries, t.touched
	for _, e := range over {
		if err := t.remove(e.kind, e.name); err != nil {
			return 0, err
		}
	}
	t.touched = touched // what has expired is gone with or without the op
	return int(before - t.entries), nil
}

// kinds calls f with each kind that has ever been kept.
func (t *txn) kinds(f func(store.Kind, kind) error) error {
	return t.tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
		k, ok := bytes.CutPrefix(name, []byte(kindPrefix))
		if !ok {
			if string(name) != metaBucket {
				return fmt.Errorf("%w: it has %q, which nobody put there", store.ErrCorrupt, name)
			}
			return nil
		}
		buckets := kindOf(b)
		if store.Kind(k).Validate() != nil || buckets.values == nil || buckets.expiry == nil || buckets.indexes == nil {
			return fmt.Errorf("%w: the kind %q is not complete", store.ErrCorrupt, k)
		}
		return f(store.Kind(k), buckets)
	})
}

func (r *record) cost() int64 {
	return cost(r.head, r.expires, len(r.indexes)) + int64(len(r.sealed))
}

// corruptIfMissing: what an index leads to must be there.
func corruptIfMissing(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: an index leads nowhere", store.ErrCorrupt)
	}
	return err
}
