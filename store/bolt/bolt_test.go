package bolt_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/credence-mesh/credence/store"
	"github.com/credence-mesh/credence/store/bolt"
)

func open(t *testing.T, path string, o bolt.Options) *bolt.Store {
	t.Helper()
	s, err := bolt.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestKeptOverRestart: what was acknowledged is there after the next start, and in no other state.
func TestKeptOverRestart(t *testing.T) {
	path, ctx := filepath.Join(t.TempDir(), "store.db"), context.Background()
	s := open(t, path, bolt.Options{})
	for _, id := range []string{"a", "b", "c"} {
		if err := s.Put(ctx, store.Item{Kind: "k", ID: id, Value: []byte("value of " + id), Expires: time.Now().Add(time.Hour), Indexes: []string{"x"}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Take(ctx, "k", "b"); err != nil {
		t.Fatal(err)
	}
	before := s.Stats()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, "k", "a"); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Get of a closed store: %v", err)
	}

	s = open(t, path, bolt.Options{})
	if v, err := s.Get(ctx, "k", "a"); err != nil || string(v) != "value of a" {
		t.Errorf("Get = %q, %v", v, err)
	}
	if _, err := s.Get(ctx, "k", "b"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get of what was taken: %v", err)
	}
	if after := s.Stats(); after != before {
		t.Errorf("counted %+v after the restart, %+v before it", after, before)
	}
	n := 0
	for v, err := range s.All(ctx, "k") {
		if err != nil || (string(v) != "value of a" && string(v) != "value of c") {
			t.Errorf("All yields %q, %v", v, err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("All yields %d", n)
	}
}
