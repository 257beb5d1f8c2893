package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/credence-mesh/credence/store"
	"github.com/credence-mesh/credence/store/seal"
)

// Open opens the store at path, or makes it, and verifies all of it. It fails with ErrCorrupt where anything is amiss, a missing half of
// file and key ring included, and with ErrInUse while another process has it. Close it in the end; Run keeps it tidy.
func Open(path string, o Options) (*Store, error) {
	s := &Store{path: path, opts: o.withDefaults(path)}
	ring, err := seal.Load(s.opts.Keys)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := s.private(ring != nil); err != nil {
		return nil, err
	}
	if err := s.inspect(); errors.Is(err, store.ErrCorrupt) {
		return nil, s.damaged(err.Error())
	} else if err != nil {
		return nil, err
	}
	s.ring = ring
	if err := s.guard(s.open); err != nil {
		return nil, err
	}
	if err := s.guard(s.verify); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// private looks at the file before it is opened. Where there is a key ring there has been a file: an empty one in its place has lost what was
// acknowledged.
func (s *Store) private(ring bool) error {
	info, err := os.Stat(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !ring:
		return nil
	case errors.Is(err, fs.ErrNotExist), err == nil && info.Size() == 0 && ring:
		return s.damaged("the file is missing or empty, and its key ring is there")
	case err != nil:
		return fmt.Errorf("opening the store: %w", err)
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("the store %s can be read by others (mode %04o): it must be a file with mode 0600", s.path, info.Mode().Perm())
	}
	return nil
}

func (s *Store) open() (err error) {
	s.db, err = bbolt.Open(s.path, 0o600, &bbolt.Options{Timeout: s.opts.Wait, FreelistType: bbolt.FreelistMapType, NoStatistics: true})
	var path *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("%w: another process has %s", store.ErrInUse, s.path)
	case errors.As(err, &path):
		return fmt.Errorf("opening the store: %w", err)
	}
	return s.damaged(err.Error())
}
