package seal_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/credence-mesh/credence/store"
	"github.com/credence-mesh/credence/store/seal"
)

func ring(t *testing.T) (*seal.Ring, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ring")
	r, err := seal.Create(path, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	return r, path
}

func TestSealedWithWhatStandsBeside(t *testing.T) {
	r, _ := ring(t)
	sealed := r.Seal([]byte("front"), []byte("beside"), []byte("value"))[len("front"):]
	if v, err := r.Open([]byte("beside"), sealed); err != nil || string(v) != "value" {
		t.Errorf("Open = %q, %v", v, err)
	}
	if string(sealed) == string(r.Seal(nil, []byte("beside"), []byte("value"))) {
		t.Error("sealed twice, it is the same")
	}
	if _, err := r.Open([]byte("besides"), sealed); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("beside something else: %v", err)
	}
	for i := range sealed {
		bad := append([]byte(nil), sealed...)
		bad[i] ^= 1
		if _, err := r.Open([]byte("beside"), bad); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := r.Open([]byte("beside"), sealed[:i]); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
	other, _ := ring(t)
	if _, err := other.Open([]byte("beside"), sealed); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("another ring: %v", err)
	}
}

func TestNamesDiffer(t *testing.T) {
	r, path := ring(t)
	other, _ := ring(t)
	seen := map[seal.Name]bool{
		r.ID("k", "a"): true, r.ID("k", "b"): true, r.ID("l", "a"): true, r.ID("ka", ""): true, r.Index("k", "a"): true, other.ID("k", "a"): true,
	}
	if len(seen) != 6 {
		t.Errorf("%d names of 6", len(seen))
	}
	name := r.ID("k", "a")
	if err := r.Rotate(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	again, err := seal.Load(path)
	if err != nil || again.ID("k", "a") != name || again.Len() != 2 {
		t.Errorf("after a rotation the name is another: %v", err)
	}
}
