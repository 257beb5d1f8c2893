package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/store"
)

// Store is an engine with its end.
type Store interface {
	store.Store
	io.Closer
}

// Options are what a test wants of an engine.
type Options struct {
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// MaxBytes is the room; zero: plenty.
	MaxBytes int64
}

// Engine is what is tested.
type Engine struct {
	// Open opens the store that has its data in dir or, for a server, under a name made of dir. Opened again after its end, or the end of
	// the process, it has what was kept.
	Open func(dir string, o Options) (Store, error)
	// Dump returns all that is kept of dir as it lies at rest, keys of the store left out.
	Dump func(dir string) ([]byte, error)
}

// Run tests e.
func Run(t *testing.T, e Engine) {
	t.Run("Entries", func(t *testing.T) { entries(t, e) })
	t.Run("Conditions", func(t *testing.T) { conditions(t, e) })
	t.Run("Limits", func(t *testing.T) { limits(t, e) })
	t.Run("Kinds", func(t *testing.T) { kinds(t, e) })
	t.Run("Expiry", func(t *testing.T) { expiry(t, e) })
	t.Run("Indexes", func(t *testing.T) { indexes(t, e) })
	t.Run("ManyEntries", func(t *testing.T) { many(t, e) })
	t.Run("LoopsMayChange", func(t *testing.T) { loops(t, e) })
	t.Run("Cancelled", func(t *testing.T) { cancelled(t, e) })
	t.Run("Full", func(t *testing.T) { full(t, e) })
	t.Run("FullRacers", func(t *testing.T) { fullRacers(t, e) })
	t.Run("TakeRacers", func(t *testing.T) { takeRacers(t, e) })
	t.Run("PutIfAbsentRacers", func(t *testing.T) { putRacers(t, e) })
	t.Run("ReplaceAndDeleteRacers", func(t *testing.T) { replaceRacers(t, e) })
	t.Run("Restart", func(t *testing.T) { restart(t, e) })
	t.Run("AtRest", func(t *testing.T) { atRest(t, e) })
	t.Run("Model", func(t *testing.T) { model(t, e) })
	t.Run("Killed", func(t *testing.T) { killed(t, e) })
}

// start is what the clocks of tests say first.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// clock is set by tests.
type clock struct{ now atomic.Pointer[time.Time] }

func newClock() *clock {
	c := &clock{}
	c.set(start)
	return c
}

func (c *clock) set(t time.Time) { c.now.Store(&t) }
func (c *clock) Now() time.Time  { return *c.now.Load() }

func open(t testing.TB, e Engine, o Options) Store {
	t.Helper()
	return openIn(t, e, t.TempDir(), o)
}

func openIn(t testing.TB, e Engine, dir string, o Options) Store {
	t.Helper()
	s, err := e.Open(dir, o)
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

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

func wantValue(t testing.TB, s Store, kind store.Kind, id, want string) {
	t.Helper()
	if v, err := s.Get(context.Background(), kind, id); err != nil || string(v) != want {
		t.Errorf("Get(%s, %.20q) = %.20q, %v; want %.20q", kind, id, v, err, want)
	}
}

func wantNone(t testing.TB, s Store, kind store.Kind, id string) {
	t.Helper()
	if v, err := s.Get(context.Background(), kind, id); !errors.Is(err, store.ErrNotFound) || v != nil {
		t.Errorf("Get(%s, %.20q) = %.20q, %v; want none", kind, id, v, err)
	}
}

func values(t testing.TB, seq iter.Seq2[[]byte, error]) []string {
	t.Helper()
	var out []string
	for v, err := range seq {
		must(t, err)
		out = append(out, string(v))
	}
	slices.Sort(out)
	return out
}

func wantAll(t testing.TB, what string, seq iter.Seq2[[]byte, error], want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, values(t, seq)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func entries(t *testing.T, e Engine) {
	s, ctx := open(t, e, Options{}), context.Background()
	wantNone(t, s, "k", "a")
	must(t, s.Delete(ctx, "k", "a"))
	_, err := s.Take(ctx, "k", "a")
	wantErr(t, "Take of nothing", err, store.ErrNotFound)

	buf := []byte("first")
	must(t, s.Put(ctx, store.Item{Kind: "k", ID: "a", Value: buf}))
	copy(buf, "XXXXX")
	wantValue(t, s, "k", "a", "first")
	v, err := s.Get(ctx, "k", "a")
	must(t, err)
	copy(v, "XXXXX")
	wantValue(t, s, "k", "a", "first")

	must(t, s.Put(ctx, store.Item{Kind: "k", ID: "a", Value: []byte("second, which is longer")}))
	wantValue(t, s, "k", "a", "second, which is longer")
	wantAll(t, "All", s.All(ctx, "k"), "second, which is longer")

	v, err = s.Take(ctx, "k", "a")
	if err != nil || string(v) != "second, which is longer" {
		t.Errorf("Take = %q, %v", v, err)
	}
	wantNone(t, s, "k", "a")
	_, err = s.Take(ctx, "k", "a")
	wantErr(t, "second Take", err, store.ErrNotFound)

	must(t, s.Put(ctx, store.Item{Kind: "k", ID: "a", Value: []byte("third")}))
	must(t, s.Delete(ctx, "k", "a"))
	wantNone(t, s, "k", "a")
	wantAll(t, "All", s.All(ctx, "k"))
}

func conditions(t *testing.T, e Engine) {
	c := newClock()
	s, ctx := open(t, e, Options{Now: c.Now}), context.Background()
	item := func(v string) store.Item {
		return store.Item{Kind: "k", ID: "a", Value: []byte(v), Expires: c.Now().Add(time.Minute), Indexes: []string{v}}
	}
	wantErr(t, "Replace of nothing", s.Replace(ctx, item("0")), store.ErrNotFound)
	wantNone(t, s, "k", "a")
	must(t, s.PutIfAbsent(ctx, item("1")))
	wantErr(t, "PutIfAbsent of what is there", s.PutIfAbsent(ctx, item("2")), store.ErrExists)
	wantValue(t, s, "k", "a", "1")
	wantAll(t, "refused index", s.Lookup(ctx, "k", "2"))
	must(t, s.Replace(ctx, item("3")))
	wantValue(t, s, "k", "a", "3")
	wantAll(t, "replaced index", s.Lookup(ctx, "k", "1"))

	c.set(start.Add(time.Minute))
	wantErr(t, "Replace of what has expired", s.Replace(ctx, item("4")), store.ErrNotFound)
	must(t, s.PutIfAbsent(ctx, item("5")))
	wantValue(t, s, "k", "a", "5")
	wantAll(t, "index of what had expired", s.Lookup(ctx, "k", "3"))

	_, err := s.Take(ctx, "k", "a")
	must(t, err)
	wantErr(t, "Replace of what was taken", s.Replace(ctx, item("6")), store.ErrNotFound)
	must(t, s.PutIfAbsent(ctx, item("7")))
}

func kinds(t *testing.T, e Engine) {
	s, ctx := open(t, e, Options{}), context.Background()
	for _, k := range []store.Kind{"one", "two", "on"} {
		must(t, s.Put(ctx, store.Item{Kind: k, ID: "a", Value: []byte(k), Indexes: []string{"x"}}))
	}
	wantValue(t, s, "one", "a", "one")
	wantValue(t, s, "two", "a", "two")
	n, err := s.DeleteIndexed(ctx, "one", "x")
	if n != 1 || err != nil {
		t.Errorf("DeleteIndexed = %d, %v", n, err)
	}
	wantNone(t, s, "one", "a")
	wantAll(t, "another kind", s.Lookup(ctx, "two", "x"), "two")
	wantAll(t, "another kind", s.All(ctx, "on"), "on")
	wantAll(t, "a kind never kept", s.All(ctx, "three"))
}

func cancelled(t *testing.T, e Engine) {
	s := open(t, e, Options{})
	must(t, s.Put(context.Background(), store.Item{Kind: "k", ID: "a", Value: []byte("1"), Indexes: []string{"x"}}))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	item := store.Item{Kind: "k", ID: "a", Value: []byte("2")}
	other := store.Item{Kind: "k", ID: "b", Value: []byte("2")}
	_, get := s.Get(ctx, "k", "a")
	_, take := s.Take(ctx, "k", "a")
	_, deleted := s.DeleteIndexed(ctx, "k", "x")
	for what, err := range map[string]error{
		"Get": get, "Take": take, "DeleteIndexed": deleted, "Put": s.Put(ctx, item), "PutIfAbsent": s.PutIfAbsent(ctx, other),
		"Replace": s.Replace(ctx, item), "Delete": s.Delete(ctx, "k", "a"), "All": first(s.All(ctx, "k")), "Lookup": first(s.Lookup(ctx, "k", "x")),
	} {
		wantErr(t, what, err, context.Canceled)
	}
	wantValue(t, s, "k", "a", "1")
	wantNone(t, s, "k", "b")
}

func first(seq iter.Seq2[[]byte, error]) error {
	for _, err := range seq {
		return err
	}
	return errors.New("nothing was yielded")
}

func restart(t *testing.T, e Engine) {
	c, dir, ctx := newClock(), t.TempDir(), context.Background()
	s, err := e.Open(dir, Options{Now: c.Now})
	must(t, err)
	for i := range 300 {
		must(t, s.Put(ctx, store.Item{Kind: "k", ID: fmt.Sprint(i), Value: fmt.Append(nil, i), Expires: start.Add(time.Minute), Indexes: []string{fmt.Sprint("even ", i%2 == 0)}}))
	}
	for i := range 100 {
		_, err := s.Take(ctx, "k", fmt.Sprint(i))
		must(t, err)
	}
	must(t, s.Close())

	s = openIn(t, e, dir, Options{Now: c.Now})
	wantNone(t, s, "k", "99")
	wantValue(t, s, "k", "100", "100")
	if got := len(values(t, s.Lookup(ctx, "k", "even true"))); got != 100 {
		t.Errorf("%d entries behind the index, want 100", got)
	}
	c.set(start.Add(time.Minute))
	wantNone(t, s, "k", "100")
}
