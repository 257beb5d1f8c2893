package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/credence-mesh/credence/store"
)

// model runs random operations on the engine and on a map, and compares all that can be seen. The store is closed and opened in between.
func model(t *testing.T, e Engine) {
	root := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			t.Fatal(err)
		}
		m := &machine{engine: e, dir: dir, clock: newClock(), want: map[string]store.Item{}}
		m.open(t)
		defer func() { _ = m.s.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"put":           func(t *rapid.T) { m.put(t, m.s.Put, func(bool) error { return nil }) },
			"putIfAbsent":   func(t *rapid.T) { m.put(t, m.s.PutIfAbsent, when(false, store.ErrExists)) },
			"replace":       func(t *rapid.T) { m.put(t, m.s.Replace, when(true, store.ErrNotFound)) },
			"take":          m.take,
			"delete":        m.delete,
			"deleteIndexed": m.deleteIndexed,
			"later":         func(*rapid.T) { m.clock.set(m.clock.Now().Add(10 * time.Second)) },
			"restart": func(t *rapid.T) {
				m.check(t, m.s.Close())
				m.open(t)
			},
			"": m.compare,
		})
	})
}

// machine is the engine beside what it should have.
type machine struct {
	engine Engine
	dir    string
	clock  *clock
	s      Store
	want   map[string]store.Item
}

var (
	someIDs     = rapid.SampledFrom([]string{"a", "b", "c", "d"})
	someIndexes = rapid.SampledFrom([]string{"x", "y", "z"})
)

func when(lives bool, otherwise error) func(bool) error {
	return func(is bool) error {
		if is != lives {
			return otherwise
		}
		return nil
	}
}

func (m *machine) open(t *rapid.T) {
	s, err := m.engine.Open(m.dir, Options{Now: m.clock.Now})
	m.check(t, err)
	m.s = s
}

func (m *machine) check(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

func (m *machine) lives(id string) bool {
	i, ok := m.want[id]
	return ok && (i.Expires.IsZero() || m.clock.Now().Before(i.Expires))
}

func (m *machine) put(t *rapid.T, put func(context.Context, store.Item) error, may func(lives bool) error) {
	item := store.Item{
		Kind: "k", ID: someIDs.Draw(t, "id"), Indexes: rapid.SliceOfN(someIndexes, 0, 3).Draw(t, "indexes"),
		Value: []byte(rapid.StringN(0, 5, -1).Draw(t, "value")),
	}
	if s := rapid.IntRange(0, 30).Draw(t, "seconds"); s > 0 {
		item.Expires = m.clock.Now().Add(time.Duration(s) * time.Second)
	}
	want := may(m.lives(item.ID))
	if err := put(context.Background(), item); !errors.Is(err, want) {
		t.Fatalf("putting %q: %v, want %v", item.ID, err, want)
	}
	if want == nil {
		m.want[item.ID] = item
	}
}

func (m *machine) take(t *rapid.T) {
	id := someIDs.Draw(t, "id")
	v, err := m.s.Take(context.Background(), "k", id)
	if lives := m.lives(id); lives && (err != nil || string(v) != string(m.want[id].Value)) || !lives && !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("Take(%q) = %q, %v; it lives: %v", id, v, err, lives)
	}
	delete(m.want, id)
}

func (m *machine) delete(t *rapid.T) {
	id := someIDs.Draw(t, "id")
	m.check(t, m.s.Delete(context.Background(), "k", id))
	delete(m.want, id)
}

func (m *machine) deleteIndexed(t *rapid.T) {
	x := someIndexes.Draw(t, "index")
	want := len(m.behind(x))
	got, err := m.s.DeleteIndexed(context.Background(), "k", x)
	if err != nil || got != want {
		t.Fatalf("DeleteIndexed(%q) = %d, %v; want %d", x, got, err, want)
	}
	maps.DeleteFunc(m.want, func(_ string, i store.Item) bool { return slices.Contains(i.Indexes, x) })
}

// behind returns the sorted values that live and have index x; "" is every entry.
func (m *machine) behind(x string) []string {
	var out []string
	for id, i := range m.want {
		if m.lives(id) && (x == "" || slices.Contains(i.Indexes, x)) {
			out = append(out, string(i.Value))
		}
	}
	slices.Sort(out)
	return out
}

func (m *machine) compare(t *rapid.T) {
	ctx := context.Background()
	for _, id := range []string{"a", "b", "c", "d"} {
		v, err := m.s.Get(ctx, "k", id)
		if lives := m.lives(id); lives && (err != nil || string(v) != string(m.want[id].Value)) || !lives && !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("Get(%q) = %q, %v; it lives: %v", id, v, err, lives)
		}
	}
	for _, x := range []string{"", "x", "y", "z"} {
		seq := m.s.Lookup(ctx, "k", x)
		if x == "" {
			seq = m.s.All(ctx, "k")
		}
		var got []string
		for v, err := range seq {
			m.check(t, err)
			got = append(got, string(v))
		}
		slices.Sort(got)
		if diff := cmp.Diff(m.behind(x), got); diff != "" {
			t.Fatal(fmt.Sprintf("behind %q (-want +got):\n%s", x, diff))
		}
	}
}
