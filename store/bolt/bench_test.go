package bolt_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/credence-mesh/credence/store"
	"github.com/credence-mesh/credence/store/bolt"
)

// BenchmarkStore is each operation beside what bbolt alone needs for one key of that size: the difference is names, seals and indexes.
func BenchmarkStore(b *testing.B) {
	ctx, value := context.Background(), make([]byte, 1000)
	s, err := bolt.Open(filepath.Join(b.TempDir(), "store.db"), bolt.Options{MaxBytes: 4 << 30})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	item := func(i int) store.Item {
		return store.Item{Kind: "k", ID: fmt.Sprint(i), Value: value, Indexes: []string{"sub"}}
	}
	check := func(b *testing.B, err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	b.Run("Put", func(b *testing.B) {
		for i := range b.N {
			check(b, s.Put(ctx, item(i)))
		}
	})
	b.Run("PutParallel", func(b *testing.B) {
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				check(b, s.Put(ctx, item(1)))
			}
		})
	})
	b.Run("Get", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			_, err := s.Get(ctx, "k", "0")
			check(b, err)
		}
	})
	b.Run("PutTake", func(b *testing.B) {
		for i := range b.N {
			check(b, s.Put(ctx, item(-1-i)))
			_, err := s.Take(ctx, "k", fmt.Sprint(-1-i))
			check(b, err)
		}
	})
}

func BenchmarkBare(b *testing.B) {
	db, err := bbolt.Open(filepath.Join(b.TempDir(), "bare.db"), 0o600, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	value, name := make([]byte, 1000), []byte("k")
	b.Run("Put", func(b *testing.B) {
		for i := range b.N {
			err := db.Update(func(tx *bbolt.Tx) error {
				bucket, err := tx.CreateBucketIfNotExists(name)
				if err != nil {
					return err
				}
				return bucket.Put(fmt.Append(nil, i), value)
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Get", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			_ = db.View(func(tx *bbolt.Tx) error {
				_ = append([]byte(nil), tx.Bucket(name).Get([]byte("0"))...)
				return nil
			})
		}
	})
}
