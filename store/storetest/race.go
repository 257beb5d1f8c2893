package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/credence-mesh/credence/store"
)

const racers = 64

// race starts f in all racers at once.
func race(f func(i int)) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range racers {
		wg.Go(func() {
			<-begin
			f(i)
		})
	}
	close(begin)
	wg.Wait()
}

func takeRacers(t *testing.T, e Engine) {
	s, ctx := open(t, e, Options{}), context.Background()
	for round := range 20 {
		must(t, s.Put(ctx, store.Item{Kind: "code", ID: "c", Value: fmt.Append(nil, round), Indexes: []string{"x"}}))
		var won atomic.Int64
		race(func(int) {
			v, err := s.Take(ctx, "code", "c")
			switch {
			case err == nil && string(v) == fmt.Sprint(round):
				won.Add(1)
			case !errors.Is(err, store.ErrNotFound) || v != nil:
				t.Errorf("Take = %q, %v", v, err)
			}
		})
		if won.Load() != 1 {
			t.Fatalf("round %d: %d of %d racers have it", round, won.Load(), racers)
		}
	}
	wantAll(t, "behind the index", s.Lookup(ctx, "code", "x"))
}

func putRacers(t *testing.T, e Engine) {
	s, ctx := open(t, e, Options{}), context.Background()
	for round := range 20 {
		id := fmt.Sprint(round)
		var won atomic.Int64
		var winner atomic.Value
		race(func(i int) {
			err := s.PutIfAbsent(ctx, store.Item{Kind: "jti", ID: id, Value: fmt.Append(nil, i)})
			switch {
			case err == nil:
				won.Add(1)
				winner.Store(fmt.Sprint(i))
			case !errors.Is(err, store.ErrExists):
				t.Error(err)
			}
		})
		if won.Load() != 1 {
			t.Fatalf("round %d: %d of %d racers put it", round, won.Load(), racers)
		}
		wantValue(t, s, "jti", id, winner.Load().(string))
	}
}

// replaceRacers: a session that is extended while its user logs out stays ended.
func replaceRacers(t *testing.T, e Engine) {
	s, ctx := open(t, e, Options{}), context.Background()
	item := store.Item{Kind: "session", ID: "s", Value: []byte("1"), Indexes: []string{"sub"}}
	for round := range 20 {
		must(t, s.Put(ctx, item))
		race(func(i int) {
			switch {
			case i == racers/2 && round%2 == 0:
				if err := s.Delete(ctx, "session", "s"); err != nil {
					t.Error(err)
				}
			case i == racers/2:
				if n, err := s.DeleteIndexed(ctx, "session", "sub"); n != 1 || err != nil {
					t.Errorf("DeleteIndexed = %d, %v", n, err)
				}
			default:
				if err := s.Replace(ctx, item); err != nil && !errors.Is(err, store.ErrNotFound) {
					t.Error(err)
				}
			}
		})
		wantNone(t, s, "session", "s")
	}
}

// fullRacers: a store that gets full while many write has all that it acknowledged, and nothing else.
func fullRacers(t *testing.T, e Engine) {
	s, ctx := open(t, e, Options{MaxBytes: 128 << 10}), context.Background()
	var acknowledged atomic.Int64
	race(func(i int) {
		for j := range 10 {
			err := s.Put(ctx, store.Item{Kind: "k", ID: fmt.Sprint(i, j), Value: make([]byte, 1000), Indexes: []string{"x"}})
			switch {
			case err == nil:
				acknowledged.Add(1)
			case !errors.Is(err, store.ErrFull):
				t.Error(err)
			}
		}
	})
	if got := len(values(t, s.All(ctx, "k"))); int64(got) != acknowledged.Load() || got == 0 || got == racers*10 {
		t.Errorf("%d entries are there, %d were acknowledged of %d", got, acknowledged.Load(), racers*10)
	}
}
