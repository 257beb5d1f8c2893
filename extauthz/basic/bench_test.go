package basic_test

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/credence-mesh/credence/policy"
)

// TestAllocations: a user who is known leaves nothing behind.
func TestAllocations(t *testing.T) {
	r := newRig(users(staff, "alice", bcryptOf(t, "pw")), users(ops, "bob", bcryptOf(t, "pw")))
	r.expect(t, "alice:pw", "", 1, ops, staff)
	credential, accepted := raw("alice:pw"), []policy.Name{ops, staff}
	got := testing.AllocsPerRun(1000, func() {
		if u, err := r.Snapshot().Verify(t.Context(), credential, accepted); u == nil || err != nil {
			t.Fatal(err)
		}
	})
	if got > 4 { // none, and what the pool forgets under the race detector
		t.Errorf("%.0f allocations", got)
	}
}

// BenchmarkVerify is a user who is known, one who has to be hashed, and the hash alone beside it.
func BenchmarkVerify(b *testing.B) {
	accepted := []policy.Name{staff}
	ten, err := bcrypt.GenerateFromPassword([]byte("correct horse"), 10)
	if err != nil {
		b.Fatal(err)
	}
	const costly = "$argon2id$v=19$m=47104,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
	b.Run("warm", func(b *testing.B) {
		r := newRig(users(staff, "alice", string(ten)))
		s, credential := r.Snapshot(), raw("alice:correct horse")
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Verify(b.Context(), credential, accepted); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("warm/parallel", func(b *testing.B) {
		s := newRig(users(staff, "alice", string(ten))).Snapshot()
		credential := raw("alice:correct horse")
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := s.Verify(b.Context(), credential, accepted); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
	b.Run("cold/bcrypt-10", func(b *testing.B) {
		r := newRig(users(staff, "alice", string(ten)))
		for b.Loop() {
			r.now = r.now.Add(2 * time.Minute)
			if _, err := r.Snapshot().Verify(b.Context(), raw("alice:correct horse"), accepted); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("cold/argon2id-46MiB", func(b *testing.B) {
		r, n := newRig(users(staff, "alice", costly)), 0
		for b.Loop() {
			n++
			r.now = r.now.Add(2 * time.Minute)
			if _, err := r.Snapshot().Verify(b.Context(), raw(fmt.Sprint("alice:", n)), accepted); err == nil {
				b.Fatal("it is right")
			}
		}
	})
	b.Run("limited", func(b *testing.B) {
		r := newRig(users(staff, "alice", bcryptOf(b, "pw")))
		for n := range 20 {
			r.ask(b.Context(), raw(fmt.Sprint("alice:", n)))
		}
		s, credential := r.Snapshot(), raw("alice:another")
		for b.Loop() {
			if _, err := s.Verify(b.Context(), credential, accepted); err == nil {
				b.Fatal("it is right")
			}
		}
	})
	b.Run("bcrypt-10 alone", func(b *testing.B) {
		for b.Loop() {
			if err := bcrypt.CompareHashAndPassword(ten, []byte("correct horse")); err != nil {
				b.Fatal(err)
			}
		}
	})
}
