package revocation_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/credence-mesh/credence/extauthz/revocation"
	"github.com/credence-mesh/credence/policy"
)

// filled has n acknowledged revocations, none of which covers user.
func filled(b *testing.B, n int) *revocation.Set {
	b.Helper()
	s := open(b, revocation.Options{Store: newDisk()})
	for i := range n {
		add(b, s, policy.Revocation{TokenID: "x" + strconv.Itoa(i)})
	}
	return s
}

// BenchmarkRevoked is what every Check pays for a credential that is not revoked.
func BenchmarkRevoked(b *testing.B) {
	for _, n := range []int{0, 100, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			s, u := open(b, revocation.Options{}), user()
			s.Publish(listed(many(n)...))
			b.ReportAllocs()
			for b.Loop() {
				if s.Revoked(u, now) != "" {
					b.Fatal("revoked")
				}
			}
		})
	}
}

// BenchmarkAdd is one more among many, without the disk.
func BenchmarkAdd(b *testing.B) {
	for _, n := range []int{0, 5_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			s := filled(b, n)
			i := 0
			for b.Loop() {
				if _, err := s.Add(context.Background(), policy.Revocation{TokenID: "y" + strconv.Itoa(i%1_000)}); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}
