package revocation_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/credence-mesh/credence/extauthz/revocation"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// disk keeps values in memory, as a disk does over restarts, and fails on demand.
type disk struct {
	mu     sync.Mutex
	values map[string][]byte
	fail   error
	// before is called with the lock held, before anything is kept or deleted.
	before func()
}

func newDisk() *disk { return &disk{values: map[string][]byte{}, before: func() {}} }

func (d *disk) Put(_ context.Context, id string, value []byte) error {
	return d.change(func() { d.values[id] = value })
}

func (d *disk) Delete(_ context.Context, id string) error {
	return d.change(func() { delete(d.values, id) })
}

func (d *disk) change(f func()) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.before()
	if d.fail != nil {
		return d.fail
	}
	f()
	return nil
}

func (d *disk) All(_ context.Context, each func([]byte) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, v := range d.values {
		if err := each(v); err != nil {
			return err
		}
	}
	return d.fail
}

func open(t testing.TB, o revocation.Options) *revocation.Set {
	t.Helper()
	if o.Now == nil {
		o.Now = func() time.Time { return now }
	}
	s, err := revocation.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func add(t testing.TB, s *revocation.Set, r policy.Revocation) revocation.Entry {
	t.Helper()
	e, err := s.Add(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestAddIsInForceAndKept(t *testing.T) {
	d := newDisk()
	s := open(t, revocation.Options{Store: d})
	e := add(t, s, policy.Revocation{ID: "mine", TokenID: "t1", Reason: "stolen", Until: now})
	if e.ID == "" || e.ID == "mine" || !e.Created.Equal(now) || !e.Until.IsZero() {
		t.Errorf("entry %+v", e)
	}
	if got := s.Revoked(user(), now); got != e.ID {
		t.Errorf("Revoked = %q after the acknowledgement", got)
	}
	again := open(t, revocation.Options{Store: d})
	if got := again.Revoked(user(), now); got != e.ID {
		t.Errorf("Revoked = %q after a restart, before anything is published", got)
	}
	if diff := cmp.Diff([]revocation.Entry{e}, again.List()); diff != "" {
		t.Errorf("list after a restart (-want +got):\n%s", diff)
	}
	if err := again.Remove(context.Background(), e.ID); err != nil {
		t.Fatal(err)
	}
	if got := again.Revoked(user(), now); got != "" || len(again.List()) != 0 {
		t.Errorf("Revoked = %q after it was undone", got)
	}
	if got := open(t, revocation.Options{Store: d}).List(); len(got) != 0 {
		t.Errorf("after another restart: %v", got)
	}
}

// Until the store has acknowledged it is not in force: nobody is told that it is.
func TestAddKeepsBeforeItIsInForce(t *testing.T) {
	d := newDisk()
	s := open(t, revocation.Options{Store: d})
	asked := ""
	d.before = func() { asked = s.Revoked(user(), now) }
	e := add(t, s, policy.Revocation{TokenID: "t1"})
	if asked != "" {
		t.Error("it was in force before it was kept")
	}
	if err := s.Remove(context.Background(), e.ID); err != nil {
		t.Fatal(err)
	}
	if asked != e.ID {
		t.Error("it had ended before that was kept")
	}
}

func TestManifestsAndCommandsStandBesideEachOther(t *testing.T) {
	s := open(t, revocation.Options{Store: newDisk()})
	e := add(t, s, policy.Revocation{Subject: "bob"})
	s.Publish(listed(policy.Revocation{ID: "default/lost/0", Subject: "alice"}))
	u := user()
	if got := s.Revoked(u, now); got != "default/lost/0" {
		t.Errorf("alice: %q", got)
	}
	u.Subject = "bob"
	if got := s.Revoked(u, now); got != e.ID {
		t.Errorf("bob: %q", got)
	}
	if err := s.Remove(context.Background(), "default/lost/0"); !errors.Is(err, revocation.ErrManifest) || !strings.Contains(err.Error(), "RevocationList") {
		t.Errorf("undoing a manifest's: %v", err)
	}
	if err := s.Remove(context.Background(), "r-none"); !errors.Is(err, revocation.ErrUnknown) {
		t.Errorf("undoing none: %v", err)
	}
	want := []revocation.Entry{e, {Revocation: policy.Revocation{ID: "default/lost/0", Subject: "alice"}, Manifest: true}}
	if diff := cmp.Diff(want, s.List()); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	s.Publish(listed())
	if got := s.Revoked(u, now); got != e.ID {
		t.Errorf("bob after the list has gone: %q", got)
	}
}

func TestTheSameRevocationKeepsItsID(t *testing.T) {
	d := newDisk()
	s := open(t, revocation.Options{Store: d})
	before := now.Add(-time.Hour)
	first := add(t, s, policy.Revocation{Subject: "alice", IssuedBefore: before})
	again := add(t, s, policy.Revocation{Subject: "alice", IssuedBefore: before.In(time.FixedZone("x", 3600)), Reason: "said why"})
	other := add(t, s, policy.Revocation{Subject: "alice"})
	if again.ID != first.ID || again.Reason != "said why" || other.ID == first.ID {
		t.Errorf("ids %s, %s, %s", first.ID, again.ID, other.ID)
	}
	if len(s.List()) != 2 || len(d.values) != 2 {
		t.Errorf("%d listed, %d kept", len(s.List()), len(d.values))
	}
}

func TestAddRefuses(t *testing.T) {
	tests := map[string]policy.Revocation{
		"nothing named":     {Reason: "all"},
		"a time alone":      {IssuedBefore: now},
		"a blank":           {Subject: " "},
		"not UTF-8":         {Subject: "a\xff"},
		"too long":          {TokenID: strings.Repeat("a", 1025)},
		"the year 10000":    {TokenID: "a", IssuedBefore: time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -3600))},
		"before 1970":       {TokenID: "a", IssuedBefore: time.Unix(-1, 0)},
		"a reason in lines": {TokenID: "a", Reason: "a\nb"},
	}
	for name, r := range tests {
		t.Run(name, func(t *testing.T) {
			d := newDisk()
			s := open(t, revocation.Options{Store: d})
			if _, err := s.Add(context.Background(), r); !errors.Is(err, revocation.ErrInvalid) {
				t.Errorf("error %v", err)
			}
			if len(s.List()) != 0 || len(d.values) != 0 {
				t.Error("it was taken")
			}
		})
	}
}

func TestWhatCanNotBeKeptIsNotAcknowledged(t *testing.T) {
	d := newDisk()
	s := open(t, revocation.Options{Store: d, Limit: 1})
	d.fail = errors.New("no space left on device")
	if _, err := s.Add(context.Background(), policy.Revocation{TokenID: "t1"}); !errors.Is(err, revocation.ErrStore) || !strings.Contains(err.Error(), "no space") {
		t.Errorf("a store that fails: %v", err)
	}
	if s.Revoked(user(), now) != "" || len(s.List()) != 0 {
		t.Error("it is in force")
	}
	d.fail = nil
	e := add(t, s, policy.Revocation{TokenID: "t1"})
	if _, err := s.Add(context.Background(), policy.Revocation{TokenID: "t2"}); !errors.Is(err, revocation.ErrFull) {
		t.Errorf("a full set: %v", err)
	}
	d.fail = errors.New("read-only file system")
	if err := s.Remove(context.Background(), e.ID); !errors.Is(err, revocation.ErrStore) {
		t.Errorf("a store that does not delete: %v", err)
	}
	if s.Revoked(user(), now) != e.ID {
		t.Error("what could not be undone is not in force any more")
	}
	without := open(t, revocation.Options{})
	if _, err := without.Add(context.Background(), policy.Revocation{TokenID: "t1"}); !errors.Is(err, revocation.ErrStore) {
		t.Errorf("without a store: %v", err)
	}
}

func TestDamagedValuesEndTheStart(t *testing.T) {
	for name, tt := range map[string]struct{ value, want string }{
		"no JSON":        {`{"version":`, "unexpected end"},
		"a newer format": {`{"version":2,"sigil":true}`, "use the version that wrote it"},
		"a newer field":  {`{"version":1,"created":"2026-01-01T00:00:00Z","revocation":{"id":"r","subject":"a","device":"d"}}`, "unknown field"},
		"no id":          {`{"version":1,"created":"2026-01-01T00:00:00Z","revocation":{"subject":"a"}}`, "no id"},
		"names nothing":  {`{"version":1,"created":"2026-01-01T00:00:00Z","revocation":{"id":"r"}}`, "names nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk()
			d.values["r"] = []byte(tt.value)
			_, err := revocation.Open(context.Background(), revocation.Options{Store: d})
			if !errors.Is(err, revocation.ErrCorrupt) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	d := newDisk()
	d.fail = errors.New("input/output error")
	if _, err := revocation.Open(context.Background(), revocation.Options{Store: d}); !errors.Is(err, d.fail) {
		t.Errorf("a store that can't be read: %v", err)
	}
}

func TestUntilIsWhenNothingCoveredCanLive(t *testing.T) {
	bounded := policy.Issuer{Issuers: []string{"https://a.test"}, MaxLifetime: time.Hour, Leeway: 30 * time.Second, ExpLeeway: time.Second}
	longer := policy.Issuer{Issuers: []string{"https://b.test"}, MaxLifetime: 24 * time.Hour}
	open1 := policy.Issuer{Issuers: []string{"https://c.test"}}
	opaque := policy.Issuer{Introspection: &policy.Introspection{}, MaxLifetime: 2 * time.Hour}
	nameless := policy.Issuer{Issuers: []string{"https://d.test"}, Introspection: &policy.Introspection{}, MaxLifetime: 3 * time.Hour}
	one := time.Hour + 31*time.Second + 10*time.Minute
	day := 24*time.Hour + 10*time.Minute
	set := func(issuers ...policy.Issuer) *policy.Set { return &policy.Set{Issuers: issuers} }
	users := set(bounded)
	users.Credentials = []policy.Credentials{{}}
	for name, tt := range map[string]struct {
		set  *policy.Set
		r    policy.Revocation
		want time.Duration // 0: never
	}{
		"a jti of the only issuer":               {set(bounded), policy.Revocation{TokenID: "t"}, one},
		"a jti of any issuer":                    {set(bounded, longer), policy.Revocation{TokenID: "t"}, day},
		"a jti of one":                           {set(bounded, longer, open1), policy.Revocation{TokenID: "t", Issuer: "https://a.test"}, one},
		"a jti of an issuer without a bound":     {set(bounded, open1), policy.Revocation{TokenID: "t"}, 0},
		"a jti of an issuer that is not there":   {set(bounded), policy.Revocation{TokenID: "t", Issuer: "https://x.test"}, 0},
		"a jti, an opaque issuer may be meant":   {set(bounded, opaque), policy.Revocation{TokenID: "t", Issuer: "https://a.test"}, 2*time.Hour + 10*time.Minute},
		"a jti, no iss in the answer":            {set(opaque, nameless), policy.Revocation{TokenID: "t", Issuer: "introspection/default/d"}, 3*time.Hour + 10*time.Minute},
		"a jti before any manifests":             {nil, policy.Revocation{TokenID: "t"}, 0},
		"a jti beside Credentials":               {users, policy.Revocation{TokenID: "t"}, one},
		"a subject":                              {set(bounded), policy.Revocation{Subject: "a"}, 0},
		"a subject's old tokens":                 {set(bounded), policy.Revocation{Subject: "a", IssuedBefore: now}, one},
		"a subject's tokens until tomorrow":      {set(bounded), policy.Revocation{Subject: "a", IssuedBefore: now.Add(24 * time.Hour)}, 24*time.Hour + one},
		"a subject's tokens of last year":        {set(bounded), policy.Revocation{Subject: "a", IssuedBefore: now.Add(-9000 * time.Hour)}, one},
		"a subject's passwords too":              {users, policy.Revocation{Subject: "a", IssuedBefore: now}, 0},
		"a subject's old tokens of that issuer":  {users, policy.Revocation{Subject: "a", Issuer: "https://a.test", IssuedBefore: now}, one},
		"a workload by itself":                   {set(bounded), policy.Revocation{Subject: "spiffe://a.test/ns/default/wl/cron", IssuedBefore: now}, 0},
		"an end that has no JSON":                {set(longer), policy.Revocation{TokenID: "t", IssuedBefore: time.Date(9999, 12, 31, 23, 0, 0, 0, time.UTC)}, 0},
		"a password":                             {users, policy.Revocation{Subject: "a", Issuer: "credentials/default/staff", IssuedBefore: now}, 0},
		"an issuer's old tokens":                 {set(bounded), policy.Revocation{Issuer: "https://a.test", IssuedBefore: now}, one},
		"a client's tokens, also those to come":  {set(bounded), policy.Revocation{Client: "c"}, 0},
		"an issuer's tokens, also those to come": {set(bounded), policy.Revocation{Issuer: "https://a.test"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, revocation.Options{Store: newDisk()})
			if tt.set != nil {
				s.Publish(tt.set)
			}
			e := add(t, s, tt.r)
			want := time.Time{}
			if tt.want != 0 {
				want = now.Add(tt.want)
			}
			if !e.Until.Equal(want) {
				t.Errorf("until %v, want %v", e.Until, want)
			}
		})
	}
}

// A longer life that an issuer gets later keeps what was revoked for longer; a shorter one, or none at all, takes nothing away.
func TestUntilOnlyGrows(t *testing.T) {
	d := newDisk()
	s := open(t, revocation.Options{Store: d})
	issuer := func(life time.Duration) *policy.Set {
		return &policy.Set{Issuers: []policy.Issuer{{Issuers: []string{"https://a.test"}, MaxLifetime: life}}}
	}
	s.Publish(issuer(2 * time.Hour))
	add(t, s, policy.Revocation{TokenID: "t1"})
	until := func(s *revocation.Set) time.Duration { return s.List()[0].Until.Sub(now) }
	for _, step := range []struct{ life, want time.Duration }{
		{time.Hour, 2*time.Hour + 10*time.Minute}, {3 * time.Hour, 3*time.Hour + 10*time.Minute}, {time.Hour, 3*time.Hour + 10*time.Minute},
	} {
		s.Publish(issuer(step.life))
		if got := until(s); got != step.want {
			t.Errorf("with %v: until %v, want %v", step.life, got, step.want)
		}
	}
	s = open(t, revocation.Options{Store: d})
	s.Publish(issuer(time.Hour))
	if got, want := until(s), 2*time.Hour+10*time.Minute; got != want {
		t.Errorf("after a restart: until %v, want %v", got, want)
	}
	s.Publish(issuer(0))
	if !s.List()[0].Until.IsZero() {
		t.Error("an issuer without a bound, and an end")
	}
}

func TestSweepForgetsWhatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		ctx, cancel := context.WithCancel(t.Context())
		s, err := revocation.Open(ctx, revocation.Options{Store: d})
		if err != nil {
			t.Fatal(err)
		}
		s.Publish(&policy.Set{Issuers: []policy.Issuer{{Issuers: []string{"https://a.test"}, MaxLifetime: time.Hour}}})
		for i := range 300 { // more than one sweep, and more than one index
			add(t, s, policy.Revocation{TokenID: strconv.Itoa(i)})
		}
		stays := add(t, s, policy.Revocation{Subject: "bob"})
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(time.Hour + 9*time.Minute) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		if got := len(s.List()); got != 301 {
			t.Errorf("%d are left before the end", got)
		}
		d.change(func() { d.fail = errors.New("busy") })
		time.Sleep(2 * time.Minute) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		if got := len(s.List()); got != 301 {
			t.Errorf("%d are left where none can be deleted", got)
		}
		d.mu.Lock()
		d.fail = nil
		d.mu.Unlock()
		time.Sleep(3 * time.Minute) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		if diff := cmp.Diff([]revocation.Entry{stays}, s.List()); diff != "" || len(d.values) != 1 {
			t.Errorf("left, %d kept (-want +got):\n%s", len(d.values), diff)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// After a restart the ends that were written count only once the issuers of today have had their say.
func TestSweepWaitsForTheIssuers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		s := open(t, revocation.Options{Store: d, Now: time.Now})
		s.Publish(&policy.Set{Issuers: []policy.Issuer{{Issuers: []string{"https://a.test"}, MaxLifetime: time.Minute}}})
		add(t, s, policy.Revocation{TokenID: "t1"})
		time.Sleep(time.Hour) //nolint:forbidigo // the bubble's clock
		ctx, cancel := context.WithCancel(t.Context())
		s = open(t, revocation.Options{Store: d, Now: time.Now})
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(5 * time.Minute) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		if got := len(s.List()); got != 1 {
			t.Errorf("%d are left before any Set", got)
		}
		s.Publish(&policy.Set{Issuers: []policy.Issuer{{Issuers: []string{"https://a.test"}, MaxLifetime: 24 * time.Hour}}})
		time.Sleep(5 * time.Minute) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		if s.Revoked(&decide.User{TokenID: "t1"}, time.Now()) == "" {
			t.Error("a token that lives is good again")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// An issuer that can't be read now comes back, and its tokens with it.
func TestUntilIsNotKnownWhileAnIssuerIsMissing(t *testing.T) {
	s := open(t, revocation.Options{Store: newDisk()})
	set := &policy.Set{
		Issuers:  []policy.Issuer{{Issuers: []string{"https://a.test"}, MaxLifetime: time.Minute}},
		Policies: []policy.Policy{{Name: policy.Name{Namespace: "n", Name: "p"}, MissingIssuers: []policy.Name{{Namespace: "n", Name: "broken"}}}},
	}
	s.Publish(set)
	if e := add(t, s, policy.Revocation{TokenID: "t1"}); !e.Until.IsZero() {
		t.Errorf("forgotten at %v", e.Until)
	}
	set = &policy.Set{Issuers: set.Issuers}
	s.Publish(set)
	if e := add(t, s, policy.Revocation{TokenID: "t2"}); e.Until.IsZero() {
		t.Error("never forgotten, where all issuers are known")
	}
}

// Each of many is in force as soon as it is acknowledged, whichever index it is in, while others ask.
func TestManyAtOnce(t *testing.T) {
	s := open(t, revocation.Options{Store: newDisk()})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 300 {
				u := user()
				u.TokenID = fmt.Sprint(w, "-", i)
				if s.Revoked(u, now) != "" {
					t.Error("revoked before")
				}
				e, err := s.Add(context.Background(), policy.Revocation{TokenID: u.TokenID})
				if err != nil || s.Revoked(u, now) != e.ID {
					t.Errorf("%s: %v", u.TokenID, err)
				}
				if i%3 == 0 {
					if err := s.Remove(context.Background(), e.ID); err != nil || s.Revoked(u, now) != "" {
						t.Errorf("undone %s: %v", u.TokenID, err)
					}
				}
			}
		})
	}
	wg.Wait()
	if got := len(s.List()); got != 800 {
		t.Errorf("%d are left", got)
	}
}

func TestMetrics(t *testing.T) {
	r := prometheus.NewRegistry()
	s := open(t, revocation.Options{Store: newDisk(), Metrics: r})
	s.Publish(listed(many(3)...))
	add(t, s, policy.Revocation{TokenID: "t1"})
	add(t, s, policy.Revocation{TokenID: "t2"})
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	want := map[string]float64{"credence_revocations command": 2, "credence_revocations manifest": 3, "credence_revocation_seconds": 2}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}
