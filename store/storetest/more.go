package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/credence-mesh/credence/store"
)

func limits(t *testing.T, e Engine) {
	s, ctx := open(t, e, Options{}), context.Background()
	long := strings.Repeat("i", store.MaxID)
	var indexes []string
	for i := range store.MaxIndexes {
		indexes = append(indexes, fmt.Sprint(i)+long[1:])
	}
	fine := map[string]store.Item{
		"no value":          {Kind: "k", ID: "a"},
		"the largest":       {Kind: "k", ID: long, Value: bytes.Repeat([]byte("v"), store.MaxValue), Indexes: indexes},
		"bytes of any sort": {Kind: "k", ID: "\x00\xff\x00", Value: []byte("\x00\xff"), Indexes: []string{"\x00", "\x00\x00"}},
		"one index twice":   {Kind: "k", ID: "twice", Indexes: []string{"x", "x"}},
		"a long kind":       {Kind: store.Kind(strings.Repeat("k", 32)), ID: "a", Value: []byte("1")},
		"far away":          {Kind: "k", ID: "far", Value: []byte("1"), Expires: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)},
	}
	for name, item := range fine {
		t.Run(name, func(t *testing.T) {
			must(t, s.Put(ctx, item))
			wantValue(t, s, item.Kind, item.ID, string(item.Value))
			for _, x := range item.Indexes {
				wantAll(t, "Lookup", s.Lookup(ctx, item.Kind, x), string(item.Value))
			}
			v, err := s.Take(ctx, item.Kind, item.ID)
			if err != nil || string(v) != string(item.Value) {
				t.Errorf("Take = %.20q, %v", v, err)
			}
		})
	}
	refused := map[string]store.Item{
		"no id":            {Kind: "k"},
		"a long id":        {Kind: "k", ID: long + "i"},
		"a large value":    {Kind: "k", ID: "a", Value: make([]byte, store.MaxValue+1)},
		"many indexes":     {Kind: "k", ID: "a", Indexes: append(indexes, "one more")},
		"an empty index":   {Kind: "k", ID: "a", Indexes: []string{""}},
		"a long index":     {Kind: "k", ID: "a", Indexes: []string{long + "i"}},
		"no kind":          {ID: "a"},
		"a long kind":      {Kind: store.Kind(strings.Repeat("k", 33)), ID: "a"},
		"a kind with more": {Kind: "k/values", ID: "a"},
		"before 1970":      {Kind: "k", ID: "a", Expires: time.Unix(-1, 0)},
	}
	for name, item := range refused {
		t.Run(name, func(t *testing.T) {
			wantErr(t, "Put", s.Put(ctx, item), store.ErrInvalid)
			wantErr(t, "PutIfAbsent", s.PutIfAbsent(ctx, item), store.ErrInvalid)
			wantErr(t, "Replace", s.Replace(ctx, item), store.ErrInvalid)
		})
	}
	for name, kindAndID := range map[string][2]string{"kind": {"K", "a"}, "id": {"k", ""}} {
		t.Run("asked for a wrong "+name, func(t *testing.T) {
			k, id := store.Kind(kindAndID[0]), kindAndID[1]
			_, get := s.Get(ctx, k, id)
			_, take := s.Take(ctx, k, id)
			_, deleted := s.DeleteIndexed(ctx, k, id)
			for what, err := range map[string]error{
				"Get": get, "Take": take, "DeleteIndexed": deleted, "Delete": s.Delete(ctx, k, id), "Lookup": first(s.Lookup(ctx, k, id)),
			} {
				wantErr(t, what, err, store.ErrInvalid)
			}
		})
	}
	wantErr(t, "All", first(s.All(ctx, "K")), store.ErrInvalid)
}

func expiry(t *testing.T, e Engine) {
	c := newClock()
	s, ctx := open(t, e, Options{Now: c.Now}), context.Background()
	end := start.Add(time.Minute)
	for id, expires := range map[string]time.Time{"minute": end, "hour": start.Add(time.Hour), "never": {}, "fraction": end.Add(time.Microsecond), "over": start} {
		must(t, s.Put(ctx, store.Item{Kind: "k", ID: id, Value: []byte(id), Expires: expires, Indexes: []string{"x"}}))
	}
	wantNone(t, s, "k", "over")
	wantAll(t, "All at first", s.All(ctx, "k"), "fraction", "hour", "minute", "never")

	c.set(end.Add(-time.Millisecond))
	wantValue(t, s, "k", "minute", "minute")
	c.set(end)
	wantNone(t, s, "k", "minute")
	wantValue(t, s, "k", "fraction", "fraction") // nothing ends early
	c.set(end.Add(time.Millisecond))
	wantNone(t, s, "k", "fraction")
	_, err := s.Take(ctx, "k", "minute")
	wantErr(t, "Take of what has expired", err, store.ErrNotFound)
	wantAll(t, "All after a minute", s.All(ctx, "k"), "hour", "never")
	wantAll(t, "Lookup after a minute", s.Lookup(ctx, "k", "x"), "hour", "never")

	// A later value has an expiry of its own.
	must(t, s.Put(ctx, store.Item{Kind: "k", ID: "hour", Value: []byte("now longer"), Expires: start.Add(2 * time.Hour), Indexes: []string{"x"}}))
	must(t, s.Put(ctx, store.Item{Kind: "k", ID: "minute", Value: []byte("again"), Expires: start.Add(2 * time.Hour), Indexes: []string{"x"}}))
	c.set(start.Add(time.Hour))
	wantAll(t, "All after an hour", s.All(ctx, "k"), "again", "never", "now longer")
	c.set(start.Add(3 * time.Hour))
	if n, err := s.DeleteIndexed(ctx, "k", "x"); n != 1 || err != nil {
		t.Errorf("DeleteIndexed = %d, %v; only one was left", n, err)
	}
	wantAll(t, "All in the end", s.All(ctx, "k"))
}

func indexes(t *testing.T, e Engine) {
	s, ctx := open(t, e, Options{}), context.Background()
	put := func(id string, indexes ...string) {
		t.Helper()
		must(t, s.Put(ctx, store.Item{Kind: "k", ID: id, Value: []byte(id), Indexes: indexes}))
	}
	put("a", "sub:alice", "sid:1")
	put("b", "sub:alice", "sid:2")
	put("c", "sub:bob", "sid:3")
	put("sub:alice") // an id is no index
	wantAll(t, "alice", s.Lookup(ctx, "k", "sub:alice"), "a", "b")
	wantAll(t, "sid:2", s.Lookup(ctx, "k", "sid:2"), "b")
	wantAll(t, "a part of an index", s.Lookup(ctx, "k", "sub:"))
	wantAll(t, "an id", s.Lookup(ctx, "k", "a"))

	put("a", "sub:bob") // moves
	wantAll(t, "alice", s.Lookup(ctx, "k", "sub:alice"), "b")
	wantAll(t, "its other index", s.Lookup(ctx, "k", "sid:1"))
	wantAll(t, "bob", s.Lookup(ctx, "k", "sub:bob"), "a", "c")

	_, err := s.Take(ctx, "k", "c")
	must(t, err)
	wantAll(t, "what was taken", s.Lookup(ctx, "k", "sid:3"))
	if n, err := s.DeleteIndexed(ctx, "k", "sub:bob"); n != 1 || err != nil {
		t.Errorf("DeleteIndexed = %d, %v", n, err)
	}
	if n, err := s.DeleteIndexed(ctx, "k", "sub:bob"); n != 0 || err != nil {
		t.Errorf("second DeleteIndexed = %d, %v", n, err)
	}
	wantNone(t, s, "k", "a")
	wantAll(t, "the rest", s.All(ctx, "k"), "b", "sub:alice")
}

// many is more than an engine reads in one go.
func many(t *testing.T, e Engine) {
	s, ctx := open(t, e, Options{}), context.Background()
	const n = 1000
	for i := range n {
		must(t, s.Put(ctx, store.Item{Kind: "k", ID: fmt.Sprint(i), Value: fmt.Append(nil, i), Indexes: []string{fmt.Sprint(i % 3), "all"}}))
	}
	seen := map[string]int{}
	for v, err := range s.All(ctx, "k") {
		must(t, err)
		seen[string(v)]++
	}
	for i := range n {
		if seen[fmt.Sprint(i)] != 1 {
			t.Errorf("All yields %d %d times", i, seen[fmt.Sprint(i)])
		}
	}
	if got := len(values(t, s.Lookup(ctx, "k", "1"))); got != 333 {
		t.Errorf("Lookup yields %d, want 333", got)
	}
	if got, err := s.DeleteIndexed(ctx, "k", "2"); got != 333 || err != nil {
		t.Errorf("DeleteIndexed = %d, %v; want 333", got, err)
	}
	if got := len(values(t, s.Lookup(ctx, "k", "all"))); got != n-333 {
		t.Errorf("%d are left, want %d", got, n-333)
	}
}

func loops(t *testing.T, e Engine) {
	s, ctx := open(t, e, Options{}), context.Background()
	for i := range 400 {
		must(t, s.Put(ctx, store.Item{Kind: "k", ID: fmt.Sprint(i), Value: fmt.Append(nil, i), Indexes: []string{"x"}}))
	}
	n := 0
	for v, err := range s.Lookup(ctx, "k", "x") {
		must(t, err)
		must(t, s.Delete(ctx, "k", string(v)))
		n++
	}
	if n != 400 {
		t.Errorf("the loop saw %d entries of 400", n)
	}
	wantAll(t, "All", s.All(ctx, "k"))
	must(t, s.Put(ctx, store.Item{Kind: "k", ID: "a"}))
	for _, err := range s.All(ctx, "k") {
		must(t, err)
		break // and the store goes on
	}
	must(t, s.Put(ctx, store.Item{Kind: "k", ID: "a"}))
}

// fill puts entries until there is no room, and returns how many were acknowledged.
func fill(t *testing.T, s Store, expires time.Time) int {
	t.Helper()
	for i := range 100_000 {
		err := s.Put(context.Background(), store.Item{Kind: "fill", ID: fmt.Sprint(i), Value: make([]byte, 1000), Expires: expires, Indexes: []string{"x"}})
		if errors.Is(err, store.ErrFull) {
			return i
		}
		must(t, err)
	}
	t.Fatal("the store is never full")
	return 0
}

func full(t *testing.T, e Engine) {
	c := newClock()
	s, ctx := open(t, e, Options{Now: c.Now, MaxBytes: 256 << 10}), context.Background()
	n := fill(t, s, start.Add(time.Minute))
	if n < 100 || n > 262 {
		t.Errorf("256 KiB have room for %d entries of 1,000 bytes", n)
	}
	big := store.Item{Kind: "k", ID: "a", Value: make([]byte, 2000)}
	wantErr(t, "PutIfAbsent", s.PutIfAbsent(ctx, big), store.ErrFull)
	wantErr(t, "Replace", s.Replace(ctx, store.Item{Kind: "fill", ID: "0", Value: make([]byte, 5000)}), store.ErrFull)
	wantNone(t, s, "k", "a")
	if got := len(values(t, s.All(ctx, "fill"))); got != n {
		t.Errorf("%d entries of %d acknowledged ones are left", got, n)
	}
	// As large as before: no more room is needed.
	must(t, s.Put(ctx, store.Item{Kind: "fill", ID: "0", Value: make([]byte, 1000), Indexes: []string{"x"}}))

	for i := range 3 {
		_, err := s.Take(ctx, "fill", fmt.Sprint(i))
		must(t, err)
	}
	must(t, s.PutIfAbsent(ctx, big))
	wantErr(t, "Put", s.Put(ctx, store.Item{Kind: "k", ID: "b", Value: make([]byte, 5000)}), store.ErrFull)
	c.set(start.Add(time.Minute)) // what has expired makes room, swept or not
	must(t, s.Put(ctx, store.Item{Kind: "k", ID: "b", Value: make([]byte, 60_000)}))
	wantValue(t, s, "k", "a", string(big.Value))
}

// atRest looks at the store as who copies the disk does.
func atRest(t *testing.T, e Engine) {
	dir, ctx := t.TempDir(), context.Background()
	s := openIn(t, e, dir, Options{})
	secrets := []string{"the-id-of-a-session", "the value of a session", "sub:alice-the-user"}
	must(t, s.Put(ctx, store.Item{Kind: "k", ID: secrets[0], Value: []byte(secrets[1]), Indexes: secrets[2:]}))
	dump, err := e.Dump(dir)
	must(t, err)
	if len(dump) == 0 {
		t.Fatal("the dump is empty")
	}
	for _, secret := range secrets {
		if bytes.Contains(dump, []byte(secret)) {
			t.Errorf("%q can be read from the disk", secret)
		}
	}
}
