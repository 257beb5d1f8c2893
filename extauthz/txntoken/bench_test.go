package txntoken_test

import (
	"context"
	"crypto/ed25519"
	"testing"

	"github.com/credence-mesh/credence/policy"
)

// BenchmarkMint beside the signature alone.
func BenchmarkMint(b *testing.B) {
	for name, cached := range map[string]bool{"made": false, "reused": true} {
		b.Run(name, func(b *testing.B) {
			_, m := open(b, b.TempDir())
			publish(b, m, meshOf(func(c *policy.InternalTokens) { c.Cached = cached }))
			r := asking(alice())
			b.ReportAllocs()
			for b.Loop() {
				mint(b, m, r)
			}
		})
	}
	b.Run("bare EdDSA", func(b *testing.B) {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			b.Fatal(err)
		}
		data := make([]byte, 800)
		b.ReportAllocs()
		for b.Loop() {
			ed25519.Sign(key, data)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	_, m := open(b, b.TempDir())
	v := publish(b, m, meshOf())
	raw := mint(b, m, asking(alice()))
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Verify(context.Background(), raw, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			fresh, err := m.Snapshot(meshOf())
			if err != nil {
				b.Fatal(err)
			}
			if _, err := fresh.Verify(context.Background(), raw, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func TestAKnownTokenCostsFewAllocations(t *testing.T) {
	_, m := open(t, t.TempDir())
	v := publish(t, m, meshOf())
	raw := mint(t, m, asking(alice()))
	if n := testing.AllocsPerRun(100, func() {
		if _, err := v.Verify(context.Background(), raw, nil); err != nil {
			t.Fatal(err)
		}
	}); n > 2 {
		t.Errorf("%.0f allocations", n)
	}
}
