package bolt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/credence-mesh/credence/store"
	"github.com/credence-mesh/credence/store/bolt"
)

func copyFile(t *testing.T, to, from string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestHalfAStore: file and key ring belong together, and one without the other, or with another's, is no store. Nothing is made anew in
// place of what is missing: that would forget what was acknowledged.
func TestHalfAStore(t *testing.T) {
	tests := map[string]func(t *testing.T, path string){
		"no file":       func(t *testing.T, path string) { must(t, os.Remove(path)) },
		"an empty file": func(t *testing.T, path string) { must(t, os.Truncate(path, 0)) },
		"no key ring":   func(t *testing.T, path string) { must(t, os.Remove(path+".keys")) },
		"another's key ring": func(t *testing.T, path string) {
			copyFile(t, path+".keys", filled(t)+".keys")
		},
		"another's file": func(t *testing.T, path string) { copyFile(t, path, filled(t)) },
		"an empty key ring": func(t *testing.T, path string) {
			must(t, os.Truncate(path+".keys", 0))
		},
		"a file of something else": func(t *testing.T, path string) {
			must(t, os.WriteFile(path, bytes.Repeat([]byte("something else "), 4000), 0o600))
		},
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			path := filled(t)
			f(t, path)
			if _, err := whole(path); !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("neither", func(t *testing.T) {
		path := filled(t)
		must(t, os.Remove(path))
		must(t, os.Remove(path+".keys"))
		s := open(t, path, bolt.Options{})
		if got := s.Stats().Entries; got != 0 {
			t.Errorf("%d entries", got)
		}
	})
	t.Run("an emptied store without its key ring", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store.db")
		must(t, open(t, path, bolt.Options{}).Close())
		must(t, os.Remove(path+".keys"))
		if _, err := bolt.Open(path, bolt.Options{}); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a start that was cut off", func(t *testing.T) { // bbolt's empty file, and no ring yet
		path := filepath.Join(t.TempDir(), "store.db")
		must(t, os.WriteFile(path, nil, 0o600))
		open(t, path, bolt.Options{})
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestFlippedBitsOfKeys: every byte of the key ring matters, or is white space or the time of a key.
func TestFlippedBitsOfKeys(t *testing.T) {
	path := filled(t)
	good, err := os.ReadFile(path + ".keys")
	must(t, err)
	for at := range good {
		bad := bytes.Clone(good)
		bad[at] ^= 4
		must(t, os.WriteFile(path+".keys", bad, 0o600))
		if opened, err := whole(path); err != nil && (opened || !errors.Is(err, store.ErrCorrupt)) {
			t.Errorf("byte %d: %v", at, err)
		}
	}
}

func TestPrivateFiles(t *testing.T) {
	for _, suffix := range []string{"", ".keys"} {
		path := filled(t)
		info, err := os.Stat(path + suffix)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %04o", suffix, info.Mode().Perm())
		}
		must(t, os.Chmod(path+suffix, 0o640))
		if _, err := bolt.Open(path, bolt.Options{}); err == nil || errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%q readable by others: %v", suffix, err)
		}
	}
}

func TestInUse(t *testing.T) {
	path := filled(t)
	open(t, path, bolt.Options{})
	if _, err := bolt.Open(path, bolt.Options{Wait: 50 * time.Millisecond}); !errors.Is(err, store.ErrInUse) {
		t.Errorf("got %v", err)
	}
}

// TestRotate: all is readable before, while and after the key is replaced, and nothing with the ring from before.
func TestRotate(t *testing.T) {
	path, ctx := filled(t), context.Background()
	oldRing := filepath.Join(t.TempDir(), "old.keys")
	copyFile(t, oldRing, path+".keys")
	s := open(t, path, bolt.Options{})
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprint("w", w)
				err := s.Put(ctx, store.Item{Kind: "other", ID: id, Value: fmt.Append(nil, i), Indexes: []string{"x"}})
				v, getErr := s.Get(ctx, "other", id)
				if err := errors.Join(err, getErr); err != nil || string(v) != fmt.Sprint(i) {
					t.Errorf("while rotating: %q, %v", v, err)
					return
				}
			}
		})
	}
	for range 5 {
		if err := s.Rotate(ctx); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	if got := s.Stats().SealingKeys; got != 1 {
		t.Errorf("%d sealing keys are kept after all was sealed anew", got)
	}
	before := s.Stats()
	must(t, s.Close())
	s = open(t, path, bolt.Options{})
	if after := s.Stats(); after != before {
		t.Errorf("counted %+v after the restart, %+v before it", after, before)
	}
	must(t, s.Close())
	if _, err := whole(path); err != nil {
		t.Error(err)
	}
	copyFile(t, path+".keys", oldRing)
	if _, err := whole(path); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("with the ring from before: %v", err)
	}
}

// TestRotateCutOff: after a rotation that was cut off between new key and sealing anew, all is readable, and the next one finishes.
func TestRotateCutOff(t *testing.T) {
	path := filled(t)
	s := open(t, path, bolt.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Rotate(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if got := s.Stats().SealingKeys; got != 2 {
		t.Fatalf("%d sealing keys", got)
	}
	must(t, s.Close())
	if _, err := whole(path); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, bolt.Options{})
	must(t, s.Rotate(context.Background()))
	if got := s.Stats().SealingKeys; got != 1 {
		t.Errorf("%d sealing keys", got)
	}
	must(t, s.Close())
	if _, err := whole(path); err != nil {
		t.Fatal(err)
	}
}

// TestRotateUnsaved: a key that can't be saved is not used.
func TestRotateUnsaved(t *testing.T) {
	path := filled(t)
	keys := filepath.Join(t.TempDir(), "sub", "ring")
	must(t, os.Mkdir(filepath.Dir(keys), 0o700))
	copyFile(t, keys, path+".keys")
	s := open(t, path, bolt.Options{Keys: keys})
	must(t, os.RemoveAll(filepath.Dir(keys)))
	if err := s.Rotate(context.Background()); err == nil {
		t.Error("a key was made that nobody has after a restart")
	}
	must(t, s.Put(context.Background(), store.Item{Kind: "k", ID: "new"}))
	must(t, s.Delete(context.Background(), "k", "new"))
	must(t, s.Close())
	if _, err := whole(path); err != nil {
		t.Error(err)
	}
}
