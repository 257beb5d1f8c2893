package bolt_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/credence-mesh/credence/store"
	"github.com/credence-mesh/credence/store/bolt"
)

const kept = 60

// filled makes a store with entries and returns its file. Some were removed, so that the file has free pages.
func filled(t *testing.T) string {
	t.Helper()
	path, ctx := filepath.Join(t.TempDir(), "store.db"), context.Background()
	s := open(t, path, bolt.Options{})
	for i := range 2 * kept {
		item := store.Item{Kind: "k", ID: fmt.Sprint(i), Value: fmt.Append(nil, "value ", i), Indexes: []string{fmt.Sprint("x", i%3)}}
		if i%2 == 0 {
			item.Expires = time.Now().Add(time.Hour)
		}
		if err := s.Put(ctx, item); err != nil {
			t.Fatal(err)
		}
	}
	for i := range kept {
		if err := s.Delete(ctx, "k", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// whole tells what is wrong with the store at path: an error of Open, or that an entry is not as filled left it.
func whole(path string) (opened bool, err error) {
	s, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	ctx := context.Background()
	for i := range 2 * kept {
		v, err := s.Get(ctx, "k", fmt.Sprint(i))
		if i < kept && !errors.Is(err, store.ErrNotFound) || i >= kept && (err != nil || string(v) != fmt.Sprint("value ", i)) {
			return true, fmt.Errorf("entry %d is %q, %w", i, v, err)
		}
	}
	n := 0
	for _, err := range s.All(ctx, "k") {
		if err != nil {
			return true, err
		}
		n++
	}
	for x := range 3 {
		for _, err := range s.Lookup(ctx, "k", fmt.Sprint("x", x)) {
			if err != nil {
				return true, err
			}
			n++
		}
	}
	if n != 2*kept {
		return true, fmt.Errorf("%d entries and places in indexes, not %d", n, 2*kept)
	}
	return true, nil
}

// TestFlippedBits: a bit that flips in the file is noticed at the start, or lies where nothing is kept. An entry is never just gone.
func TestFlippedBits(t *testing.T) {
	path := filled(t)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	flips := 3000
	if testing.Short() {
		flips = 300
	}
	noticed := 0
	for i := range flips {
		at := r.IntN(len(good))
		if i%4 == 0 { // the heads of the file and of its pages more often
			at = at/4096*4096 + r.IntN(100)
		}
		bad := bytes.Clone(good)
		bad[at] ^= 1 << r.IntN(8)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		switch opened, err := whole(path); {
		case opened && err != nil:
			t.Errorf("byte %d of page %d: %v", at%4096, at/4096, err)
		case err != nil && !errors.Is(err, store.ErrCorrupt):
			t.Errorf("byte %d of page %d: not ErrCorrupt: %v", at%4096, at/4096, err)
		case err != nil:
			noticed++
		}
	}
	t.Logf("%d of %d flips in a file of %d bytes were noticed, the others were in free space", noticed, flips, len(good))
	if noticed < flips/20 {
		t.Error("too few were noticed: the test does not hit what is kept")
	}
}

// TestCutShort: a file that lost its end is noticed, and does not end the process as memory that is not there.
func TestCutShort(t *testing.T) {
	path := filled(t)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := 0; size < len(good); size += 1024 {
		if err := os.WriteFile(path, good[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		if opened, err := whole(path); err != nil && (opened || !errors.Is(err, store.ErrCorrupt)) {
			t.Errorf("%d bytes of %d: %v", size, len(good), err)
		} else if err == nil && size < len(good)/2 {
			t.Errorf("%d bytes of %d are taken for the whole", size, len(good))
		}
	}
}

// TestDamagedWhileOpen: the first sign of damage ends the store, and not the process.
func TestDamagedWhileOpen(t *testing.T) {
	damage := map[string]func(f *os.File, size int64) error{
		"cut":    func(f *os.File, _ int64) error { return f.Truncate(0) },
		"zeroes": func(f *os.File, size int64) error { _, err := f.WriteAt(make([]byte, size-8192), 8192); return err },
		"garbage": func(f *os.File, size int64) error {
			_, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, int(size-8192)), 8192)
			return err
		},
	}
	ctx := context.Background()
	use := map[string]func(s *bolt.Store) error{
		"Get":  func(s *bolt.Store) error { _, err := s.Get(ctx, "k", fmt.Sprint(kept)); return err },
		"Put":  func(s *bolt.Store) error { return s.Put(ctx, store.Item{Kind: "k", ID: "new"}) },
		"Take": func(s *bolt.Store) error { _, err := s.Take(ctx, "k", fmt.Sprint(kept)); return err },
		"All": func(s *bolt.Store) error {
			for _, err := range s.All(ctx, "k") {
				return err
			}
			return nil
		},
	}
	for name, harm := range damage {
		for what, f := range use {
			t.Run(name+" before "+what, func(t *testing.T) {
				path := filled(t)
				s := open(t, path, bolt.Options{})
				file, err := os.OpenFile(path, os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				info, err := file.Stat()
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(harm(file, info.Size()), file.Close()); err != nil {
					t.Fatal(err)
				}
				if err := f(s); !errors.Is(err, store.ErrCorrupt) {
					t.Errorf("%s: %v", what, err)
				}
				for later, g := range use {
					if err := g(s); !errors.Is(err, store.ErrCorrupt) {
						t.Errorf("%s after it: %v", later, err)
					}
				}
				if err := s.Run(ctx); !errors.Is(err, store.ErrCorrupt) {
					t.Errorf("Run: %v", err)
				}
			})
		}
	}
}

// edit changes the file of a closed store as someone who knows its form would.
func edit(t *testing.T, path string, f func(values, expiry, indexes *bbolt.Bucket) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("k/k"))
		return f(b.Bucket([]byte("values")), b.Bucket([]byte("expiry")), b.Bucket([]byte("indexes")))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestTampered: who can write the file can take all of it back to a copy, and nothing less.
func TestTampered(t *testing.T) {
	firstWith := func(values *bbolt.Bucket, expires bool) (name, raw []byte) {
		c := values.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if (binary.BigEndian.Uint64(v[1:]) != 0) == expires {
				return bytes.Clone(k), bytes.Clone(v)
			}
		}
		return nil, nil
	}
	tests := map[string]func(values, expiry, indexes *bbolt.Bucket) error{
		"an entry under another's name": func(values, _, _ *bbolt.Bucket) error {
			a, x := firstWith(values, false)
			b, y := firstWith(values, true)
			_ = a
			_ = y
			return values.Put(b, x)
		},
		"a longer life": func(values, expiry, _ *bbolt.Bucket) error {
			name, raw := firstWith(values, true)
			old := append(bytes.Clone(raw[1:9]), name...)
			binary.BigEndian.PutUint64(raw[1:], binary.BigEndian.Uint64(raw[1:])+1000)
			return errors.Join(values.Put(name, raw), expiry.Delete(old), expiry.Put(append(bytes.Clone(raw[1:9]), name...), nil))
		},
		"a life without end": func(values, expiry, _ *bbolt.Bucket) error {
			name, raw := firstWith(values, true)
			old := append(bytes.Clone(raw[1:9]), name...)
			clear(raw[1:9])
			return errors.Join(values.Put(name, raw), expiry.Delete(old))
		},
		"an end for what has none": func(values, expiry, _ *bbolt.Bucket) error {
			name, raw := firstWith(values, false)
			raw[8] = 1
			return errors.Join(values.Put(name, raw), expiry.Put(append(bytes.Clone(raw[1:9]), name...), nil))
		},
		"no index": func(values, _, indexes *bbolt.Bucket) error {
			name, raw := firstWith(values, false)
			index := bytes.Clone(raw[10:42])
			raw[9] = 0
			return errors.Join(values.Put(name, slices.Concat(raw[:10], raw[42:])), indexes.Delete(append(index, name...)))
		},
		"another's index": func(values, _, indexes *bbolt.Bucket) error {
			name, raw := firstWith(values, false)
			old := append(bytes.Clone(raw[10:42]), name...)
			raw[10] ^= 1
			return errors.Join(values.Put(name, raw), indexes.Delete(old), indexes.Put(append(bytes.Clone(raw[10:42]), name...), nil))
		},
		"an entry gone, its index left": func(values, _, _ *bbolt.Bucket) error {
			name, _ := firstWith(values, false)
			return values.Delete(name)
		},
		"an index gone": func(_, _, indexes *bbolt.Bucket) error {
			k, _ := indexes.Cursor().First()
			return indexes.Delete(k)
		},
		"an expiry gone": func(_, expiry, _ *bbolt.Bucket) error {
			k, _ := expiry.Cursor().First()
			return expiry.Delete(k)
		},
		"an index to nowhere": func(_, _, indexes *bbolt.Bucket) error { return indexes.Put(make([]byte, 64), nil) },
		"an unknown version": func(values, _, _ *bbolt.Bucket) error {
			name, raw := firstWith(values, false)
			raw[0]++
			return values.Put(name, raw)
		},
		"a record cut short": func(values, _, _ *bbolt.Bucket) error {
			name, raw := firstWith(values, false)
			return values.Put(name, raw[:12])
		},
		"an empty value": func(values, _, _ *bbolt.Bucket) error {
			name, raw := firstWith(values, false)
			return values.Put(name, raw[:42])
		},
		"a key that nobody has": func(values, _, _ *bbolt.Bucket) error {
			name, raw := firstWith(values, false)
			raw[42]++
			return values.Put(name, raw)
		},
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			path := filled(t)
			edit(t, path, f)
			if _, err := whole(path); !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("got %v", err)
			} else if !strings.Contains(err.Error(), "Restore "+path) {
				t.Errorf("the message does not say what to do: %v", err)
			}
		})
	}
}

// TestOneHeadBroken: bbolt would go back by one change, which was acknowledged.
func TestOneHeadBroken(t *testing.T) {
	for page := range 2 {
		path := filled(t)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(make([]byte, 4096), int64(page)*4096); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := whole(path); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("head %d: %v", page, err)
		}
	}
}
