package introspect_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/extauthz/introspect"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

const inactive = `{"active":false}`

func TestCacheEnds(t *testing.T) {
	b := newBench(t, nil)
	b.allowed("tok")
	b.server.json(inactive) // revoked there
	b.clock.Store(29)
	b.allowed("tok")
	b.asked(1)
	b.clock.Store(30)
	b.refused("tok", credential.ErrInvalid, introspect.ReasonInactive)
	b.asked(2)
	b.server.json(good(""))
	b.clock.Store(34)
	b.refused("tok", credential.ErrInvalid, introspect.ReasonInactive)
	b.asked(2)
	b.clock.Store(35) // refusals count for 5 s
	b.allowed("tok")
	b.clock.Store(30) // a clock that is set back keeps nothing for longer
	b.allowed("tok")
	b.asked(3)
}

func TestCacheEndsWithToken(t *testing.T) {
	b := newBench(t, nil)
	b.server.json(fmt.Sprintf(`{"active":true,"sub":"a","aud":"%s","exp":%d}`, aud, start.Unix()+10))
	b.allowed("tok")
	b.clock.Store(9)
	b.allowed("tok")
	b.asked(1)
	b.clock.Store(10)
	b.refused("tok", credential.ErrInvalid, token.ReasonExpired)
}

func TestNoCache(t *testing.T) {
	b := newBench(t, func(i *policy.Issuer, _ *introspect.Options) { i.Introspection.CacheFor = 0 })
	b.allowed("tok")
	b.server.json(inactive)
	b.refused("tok", credential.ErrInvalid, introspect.ReasonInactive)
	b.server.json(good(""))
	b.allowed("tok")
	b.asked(3)
}

// A kept connection that the server has closed is no outage.
func TestKeptConnectionIsClosed(t *testing.T) {
	b := newBench(t, nil)
	b.allowed("one")
	first := true
	b.server.set(func(w http.ResponseWriter, _ *http.Request) {
		if first {
			first = false
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(good("")))
	})
	b.allowed("two")
	b.asked(3)
	b.server.mu.Lock()
	defer b.server.mu.Unlock()
	if _, sent := b.server.heads[0]["Idempotency-Key"]; sent {
		t.Error("a header that is for the transport alone was sent")
	}
}

// Facts hold for one configuration of one issuer: another issuer's, or an earlier one's, are never found.
func TestCacheIsOfOneConfiguration(t *testing.T) {
	b := newBench(t, nil)
	b.allowed("tok")
	old := b.Snapshot()
	stricter := b.conf
	stricter.Audiences = []string{"https://payments"}
	b.publish(stricter)
	b.refused("tok", credential.ErrInvalid, token.ReasonAudience)
	b.asked(2)
	if _, err := old.Verify(t.Context(), "tok", accepted); err != nil {
		t.Errorf("the older snapshot: %v", err)
	}
	b.asked(2)
	other := b.conf
	other.Name.Name, other.Issuers = "other", []string{iss}
	b.publish(b.conf, other)
	b.allowed("tok")
	user, err := b.Verify(t.Context(), "tok", []policy.Name{other.Name})
	wantRefusal(t, user, err, credential.ErrInvalid, token.ReasonClaimMissing)
	user, err = b.Verify(t.Context(), "tok", []policy.Name{opaque, other.Name})
	wantRefusal(t, user, err, credential.ErrUnavailable, token.ReasonIssuerConfig)
	b.publish(other)
	b.refused("tok", credential.ErrUnavailable, token.ReasonIssuerConfig)
	b.asked(3)
}

// Many requests with one token ask once, and a request that gives up takes no other's answer along.
func TestOneQuestionPerToken(t *testing.T) {
	b := newBench(t, nil)
	asked, release := make(chan struct{}, 8), make(chan struct{})
	b.server.set(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(good("")))
	})
	first, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() { _, err := b.Verify(first, "tok", accepted); gone <- err }()
	<-asked
	var wg sync.WaitGroup
	var allowed atomic.Int64
	for range 50 {
		wg.Go(func() {
			if u, err := b.verify("tok"); err == nil && u.Subject == "alice" {
				allowed.Add(1)
			}
		})
	}
	cancel()
	wantRefusal(t, nil, <-gone, credential.ErrUnavailable, token.ReasonCanceled)
	<-asked // another one has asked
	close(release)
	wg.Wait()
	if allowed.Load() != 50 {
		t.Errorf("%d of 50 allowed", allowed.Load())
	}
	b.asked(2)
	if s := b.Status(); s[0].Failure != "" {
		t.Errorf("a request that gave up is no failure of the server: %+v", s)
	}
}

// The request's time bounds the wait; what comes too late lets nobody in.
func TestSlowServer(t *testing.T) {
	b := newBench(t, nil)
	b.server.set(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	user, err := b.Verify(ctx, "tok", accepted)
	wantRefusal(t, user, err, credential.ErrUnavailable, introspect.ReasonFailed)
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	if s := b.Status(); s[0].Failure == "" {
		t.Error("a slow server is no failure")
	}
	b.server.json(good(""))
	b.allowed("tok")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	user, err = b.Verify(ended, "tok", accepted) // from the cache, and too late all the same
	wantRefusal(t, user, err, credential.ErrUnavailable, token.ReasonCanceled)
}

// A token that was good is known even where no answer is kept.
func TestFloodWithoutCache(t *testing.T) {
	b := newBench(t, func(i *policy.Issuer, o *introspect.Options) {
		i.Introspection.CacheFor, o.Refusals, o.RefusalBurst = 0, 1, 2
	})
	b.allowed("good")
	b.server.json(inactive)
	for range 4 {
		_, _ = b.verify("junk") // refused in one way or another
	}
	b.asked(3)
	b.refused("good", credential.ErrInvalid, introspect.ReasonInactive)
	b.refused("good", credential.ErrLimited, introspect.ReasonLimited)
	b.asked(4)
}

// Unknown tokens have the server asked so many times per second and no more; tokens that were good keep working.
func TestFloodOfUnknownTokens(t *testing.T) {
	b := newBench(t, func(_ *policy.Issuer, o *introspect.Options) { o.Refusals, o.RefusalBurst = 1, 20 })
	b.allowed("good")
	b.clock.Store(31) // the good one has to be asked about again
	b.server.json(inactive)
	for n := range 1000 {
		if _, err := b.verify(fmt.Sprint("junk", n)); err == nil {
			t.Fatal("junk allowed")
		}
	}
	b.asked(1 + 20)
	b.refused("junk", credential.ErrLimited, introspect.ReasonLimited)
	b.server.json(good(""))
	b.allowed("good")
	b.clock.Store(32) // one more second, one more question
	b.allowed("new")
	b.asked(23)
}

func TestQuestionsAtOnce(t *testing.T) {
	b := newBench(t, func(_ *policy.Issuer, o *introspect.Options) { o.Questions, o.Waiting = 2, 3 })
	var now, most atomic.Int64
	asked, release := make(chan struct{}, 16), make(chan struct{})
	b.server.set(func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		asked <- struct{}{}
		<-release
		now.Add(-1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(good("")))
	})
	var wg sync.WaitGroup
	results := make(chan error, 20)
	for n := range 20 {
		wg.Go(func() { _, err := b.verify(fmt.Sprint("tok", n)); results <- err })
	}
	busy := 0
	for range 15 { // 2 ask and 3 wait: the others hear at once
		wantRefusal(t, nil, <-results, credential.ErrUnavailable, introspect.ReasonBusy)
		busy++
	}
	<-asked
	<-asked
	close(release)
	wg.Wait()
	close(results)
	for err := range results {
		if err != nil {
			t.Error(err)
		}
	}
	if most.Load() != 2 || busy != 15 {
		t.Errorf("%d at once", most.Load())
	}
}

func TestAllocationsOfWarmToken(t *testing.T) {
	b := newBench(t, nil)
	bearer := introspect.Bearer{Opaque: b.Snapshot()}
	b.allowed("tok")
	var user *decide.User
	n := testing.AllocsPerRun(100, func() { user, _ = bearer.Verify(context.Background(), "tok", accepted) })
	if user == nil || n != 0 {
		t.Errorf("%v allocations for a cached token, want 0", n)
	}
	b.asked(1)
}

func BenchmarkWarm(bb *testing.B) {
	b := newBench(bb, nil)
	b.allowed("tok")
	bb.ReportAllocs()
	for bb.Loop() {
		if _, err := b.verify("tok"); err != nil {
			bb.Fatal(err)
		}
	}
}

func BenchmarkCold(bb *testing.B) {
	b := newBench(bb, func(i *policy.Issuer, _ *introspect.Options) { i.Introspection.CacheFor = 0 })
	bb.ReportAllocs()
	for bb.Loop() {
		if _, err := b.verify("tok"); err != nil {
			bb.Fatal(err)
		}
	}
}
