package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/credence-mesh/credence/store"
)

// A head of bbolt's file (its "meta page"): a page header of 16 bytes, then magic, version, page size, flags (4 bytes each), root bucket (16),
// free list, pages in use, transaction id (8 each) and the FNV-1a sum of all that.
const (
	headerSize = 16
	metaSize   = 64
	magic      = 0xED0CDAED
)

type head struct {
	pageSize                   int
	root, freelist, high, txid uint64
}

// inspect reads the file before bbolt does, which panics, faults or never ends on damaged pages, in goroutines of its own too. It holds
// bbolt's lock meanwhile.
func (s *Store) inspect() (err error) {
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("opening the store: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }() // which releases the lock
	if err := s.lock(f); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("opening the store: %w", err)
	}
	if info.Size() == 0 {
		return nil // a start that was cut off; private has looked for the key ring
	}
	h, err := readHeads(f)
	if err != nil {
		return err
	}
	return inspectPages(f, h, info.Size())
}

func (s *Store) lock(f *os.File) error {
	for deadline := time.Now().Add(s.opts.Wait); ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return fmt.Errorf("locking %s: %w", s.path, err)
		case time.Now().After(deadline):
			return fmt.Errorf("%w: another process has %s", store.ErrInUse, s.path)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// readHeads returns the newer head if both are whole and one transaction apart. bbolt is content with one and then silently goes back by a
// transaction, which may be an acknowledged one. A crash leaves the old head or the new: it lies in one sector.
func readHeads(f *os.File) (head, error) {
	first, err := readHead(f, 0)
	if err != nil {
		return head{}, err
	}
	second, err := readHead(f, int64(first.pageSize))
	if err != nil {
		return head{}, err
	}
	switch {
	case first.pageSize != second.pageSize:
	case first.txid+1 == second.txid:
		return second, nil
	case second.txid+1 == first.txid:
		return first, nil
	}
	return head{}, broken("its two heads are not of one time")
}

func readHead(f *os.File, at int64) (head, error) {
	b := make([]byte, headerSize+metaSize)
	if _, err := f.ReadAt(b, at); err != nil {
		return head{}, broken("a head is missing: " + err.Error())
	}
	n, meta, sum := binary.NativeEndian, b[headerSize:], fnv.New64a()
	_, _ = sum.Write(meta[:metaSize-8])
	if n.Uint32(meta) != magic || sum.Sum64() != n.Uint64(meta[metaSize-8:]) {
		return head{}, broken("one of its two heads is broken, so the last change may be missing")
	}
	h := head{
		pageSize: int(n.Uint32(meta[8:])), root: n.Uint64(meta[16:]), freelist: n.Uint64(meta[32:]),
		high: n.Uint64(meta[40:]), txid: n.Uint64(meta[48:]),
	}
	if h.pageSize < 1024 || h.pageSize > 1<<20 {
		return head{}, broken("its pages have no possible size")
	}
	return h, nil
}

func broken(what string) error { return fmt.Errorf("%w: %s", store.ErrCorrupt, what) }
