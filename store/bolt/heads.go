package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"

	"go.etcd.io/bbolt"

	"github.com/credence-mesh/credence/store"
)

// A head of bbolt's file (its "meta page"): a page header of 16 bytes, then magic, version, page size, flags (4 bytes each), root bucket (16),
// free list, pages in use, transaction id (8 each) and the FNV-1a sum of all that.
const (
	headerSize = 16
	sumAt      = 56
	txidAt     = 48
)

// heads tells whether both heads are whole and one transaction apart. bbolt is content with one and then silently goes back by a transaction,
// which may be an acknowledged one. A crash leaves the old head or the new: it lies in one sector.
func (s *Store) heads() (err error) {
	f, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var txid [2]uint64
	for i := range txid {
		head := make([]byte, headerSize+sumAt+8)
		if _, err := f.ReadAt(head, int64(i)*int64(s.db.Info().PageSize)); err != nil {
			if errors.Is(err, io.EOF) {
				return s.damaged("it ends too early")
			}
			return fmt.Errorf("opening the store: %w", err)
		}
		meta, sum := head[headerSize:], fnv.New64a()
		_, _ = sum.Write(meta[:sumAt])
		if sum.Sum64() != binary.NativeEndian.Uint64(meta[sumAt:]) {
			return s.damaged("one of its two heads is broken, so the last change may be missing")
		}
		txid[i] = binary.NativeEndian.Uint64(meta[txidAt:])
	}
	if txid[0]+1 != txid[1] && txid[1]+1 != txid[0] {
		return s.damaged("its two heads are not of one time")
	}
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("opening the store: %w", err)
	}
	return s.db.View(func(tx *bbolt.Tx) error {
		if tx.Size() > info.Size() {
			return s.damaged("it has been cut short")
		}
		return nil
	})
}

// pages tells whether bbolt's pages make a whole: none free that is in use, none used twice, none lost.
func pages(tx *bbolt.Tx) error {
	var first error
	for err := range tx.Check() {
		if first == nil {
			first = fmt.Errorf("%w: %s", store.ErrCorrupt, err.Error())
		}
	}
	return first
}
