package jwks_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/policy"
)

// fetched is a running source of server's keys, which have been read once.
func fetched(t *testing.T, server *idp) *jwks.Source {
	t.Helper()
	if server.header == nil {
		server.header = http.Header{"Cache-Control": {"max-age=3600"}}
	}
	server.status = http.StatusOK
	k := jwks.New(jwks.Options{Log: quiet, Transport: server})
	s := publish(t, k, policy.KeySource{URL: "https://idp.example/jwks"})
	start(t, k)
	pass(time.Second)
	if s.Set() == nil || server.count() != 1 {
		t.Fatalf("%d requests, keys: %v", server.count(), s.Set() != nil)
	}
	return s
}

// refresh asks as a request does that has d left.
func refresh(s *jwks.Source, kid string, d time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	begin := time.Now()
	err := s.Refresh(ctx, kid, "ES256")
	return time.Since(begin), err
}

// Requirement 5: a token of a fresh key is good in one request, and all that come with it share one fetch.
func TestKeys5RotationTakesOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &idp{body: ecSet("one"), delay: 50 * time.Millisecond}
		s := fetched(t, server)
		server.set(func() { server.body = ecSet("two") })
		var wg sync.WaitGroup
		for range 60 {
			wg.Go(func() {
				if took, err := refresh(s, "two", time.Second); err != nil || took > 100*time.Millisecond {
					t.Errorf("%v after %v", err, took)
				}
			})
		}
		wg.Wait()
		if server.count() != 2 || !has(s, "two") || has(s, "one") {
			t.Errorf("%d requests, want 2", server.count())
		}
		if _, err := refresh(s, "two", time.Second); err != nil || server.count() != 2 {
			t.Errorf("a kid that is there: %v, %d requests", err, server.count())
		}
	})
}

// Requirement 5: whatever comes, at most 3 fetches at once and one in 10 s; the answer is there at once, and good keys stay good.
func TestKeys5FloodIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &idp{body: ecSet("one"), delay: 20 * time.Millisecond}
		s := fetched(t, server)
		slowest := time.Duration(0)
		const perSecond, length = 50, 60
		for i := range perSecond * length {
			took, err := refresh(s, fmt.Sprint("forged-", i), time.Second)
			if !errors.Is(err, jwks.ErrUnknownKey) {
				t.Fatalf("answer %d: %v", i, err)
			}
			slowest = max(slowest, took)
			if !has(s, "one") {
				t.Fatal("a good key is gone")
			}
			pass(time.Second/perSecond - took)
		}
		fetches := server.count() - 1
		t.Logf("%d forged kids, %d fetches, slowest answer %v", perSecond*length, fetches, slowest)
		if fetches < 3 || fetches > 3+length/10 {
			t.Errorf("%d fetches, want at most %d", fetches, 3+length/10)
		}
		if slowest > 30*time.Millisecond {
			t.Errorf("an answer took %v", slowest)
		}
	})
}

// Requirement 5: a kid that the issuer did not have is not asked for again for 30 s.
func TestKeys5UnknownIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &idp{body: ecSet("one")}
		s := fetched(t, server)
		for range 20 {
			if _, err := refresh(s, "forged", time.Second); !errors.Is(err, jwks.ErrUnknownKey) {
				t.Fatal(err)
			}
			pass(time.Second)
		}
		if server.count() != 2 {
			t.Errorf("%d requests, want 2", server.count())
		}
		pass(11 * time.Second)
		if _, err := refresh(s, "forged", time.Second); !errors.Is(err, jwks.ErrUnknownKey) || server.count() != 3 {
			t.Errorf("after 31 s: %v, %d requests, want 3", err, server.count())
		}
		// Another algorithm is another key.
		if err := s.Refresh(context.Background(), "forged", "RS256"); !errors.Is(err, jwks.ErrUnknownKey) || server.count() != 4 {
			t.Errorf("another algorithm: %v, %d requests, want 4", err, server.count())
		}
	})
	if got := jwks.RememberUnknown(5000, 0); got != 1024 {
		t.Errorf("%d kids are remembered, want 1024", got)
	}
	if got := jwks.RememberUnknown(5000, time.Second); got != 30 {
		t.Errorf("%d kids are remembered after their time, want 30", got)
	}
}

// Requirement 5: a request waits for a part of its own time and never over 400 ms, and so many of them at a time.
func TestKeys5WaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &idp{body: ecSet("one")}
		s := fetched(t, server)
		server.set(func() { server.delay = time.Hour })
		for _, c := range []struct{ left, want time.Duration }{
			{200 * time.Millisecond, 150 * time.Millisecond}, {time.Second, 400 * time.Millisecond}, {time.Hour, 400 * time.Millisecond}, {40 * time.Millisecond, 0},
		} {
			if took, err := refresh(s, "two", c.left); !errors.Is(err, jwks.ErrPending) || took != c.want {
				t.Errorf("with %v left: %v after %v, want %v", c.left, err, took, c.want)
			}
		}
		if server.count() != 2 {
			t.Errorf("%d requests at a server that hangs, want 2", server.count())
		}
		pass(5 * time.Second) // the fetch that was asked for has ended
		var mu sync.Mutex
		var atOnce, waited int
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				took, err := refresh(s, fmt.Sprint("k", i), time.Second)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case !errors.Is(err, jwks.ErrPending):
					t.Error(err)
				case took == 0:
					atOnce++
				default:
					waited++
				}
			})
		}
		wg.Wait()
		if waited != 64 || atOnce != 200-64 {
			t.Errorf("%d waited, %d were answered at once", waited, atOnce)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := s.Refresh(ctx, "three", "ES256"); !errors.Is(err, jwks.ErrPending) {
			t.Errorf("a request that has ended: %v", err)
		}
	})
}

// While the issuer can't be asked, it can't be told either: such an answer is not remembered, and the fetch on time is not put off.
func TestKeys5FailedFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &idp{body: ecSet("one"), header: http.Header{"Cache-Control": {"max-age=120"}}}
		s := fetched(t, server)
		server.set(func() { server.status = http.StatusBadGateway })
		for range 60 {
			if _, err := refresh(s, "two", time.Second); !errors.Is(err, jwks.ErrPending) {
				t.Fatal(err)
			}
			pass(time.Second)
		}
		if n := server.count() - 1; n < 8 || n > 9 {
			t.Errorf("%d fetches in a minute of failures, want 3 and one in 10 s", n)
		}
		if !has(s, "one") {
			t.Error("the good key is gone")
		}
		server.set(func() { server.status, server.body = http.StatusOK, ecSet("two") })
		pass(80 * time.Second)
		if !has(s, "two") {
			t.Error("failures that requests caused have put off the fetch on time")
		}
		if _, err := refresh(s, "two", time.Second); err != nil {
			t.Error(err)
		}
	})
}

// What was answered before the request came says nothing about the next 30 s: a key may have been published in between.
func TestKeys5FetchThatHadBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &idp{body: ecSet("one"), delay: 300 * time.Millisecond}
		s := fetched(t, server)
		go func() { _, _ = refresh(s, "forged", time.Second) }() // ends in the bubble
		pass(100 * time.Millisecond)
		if _, err := refresh(s, "two", time.Second); !errors.Is(err, jwks.ErrUnknownKey) {
			t.Fatal(err)
		}
		server.set(func() { server.body = ecSet("two") })
		if _, err := refresh(s, "two", time.Second); err != nil {
			t.Errorf("published in between: %v", err)
		}
	})
}

// Nothing is asked for kids where nothing can be asked: local keys, no kid, an issuer that is gone, and before Run.
func TestKeys5NothingToAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &idp{body: ecSet("one"), status: http.StatusOK, header: http.Header{}}
		k := jwks.New(jwks.Options{Log: quiet, Transport: server})
		inline := publish(t, k, policy.KeySource{Inline: string(ecSet("inline"))})
		if _, err := refresh(inline, "two", time.Second); !errors.Is(err, jwks.ErrUnknownKey) {
			t.Errorf("inline keys: %v", err)
		}
		if err := (*jwks.Source)(nil).Refresh(t.Context(), "two", "ES256"); !errors.Is(err, jwks.ErrUnknownKey) {
			t.Errorf("no source: %v", err)
		}
		s := publish(t, k, policy.KeySource{URL: "https://idp.example/jwks"})
		if took, err := refresh(s, "two", time.Second); !errors.Is(err, jwks.ErrPending) || took != 0 {
			t.Errorf("before Run: %v after %v", err, took)
		}
		start(t, k)
		pass(time.Second)
		if _, err := refresh(s, "", time.Second); !errors.Is(err, jwks.ErrUnknownKey) || server.count() != 1 {
			t.Errorf("no kid: %v, %d requests", err, server.count())
		}
		server.set(func() { server.delay = time.Hour })
		waiting := make(chan error)
		go func() { _, err := refresh(s, "two", time.Second); waiting <- err }()
		pass(time.Millisecond)
		k.Publish(nil)
		if err := <-waiting; !errors.Is(err, jwks.ErrPending) {
			t.Errorf("while it goes: %v", err)
		}
		if took, err := refresh(s, "three", time.Second); !errors.Is(err, jwks.ErrPending) || took != 0 {
			t.Errorf("after it went: %v after %v", err, took)
		}
	})
}

// Requirement 5, without any keys: tokens have the issuer asked before the back-off ends, within the same limits.
func TestKeys5WantedWithoutKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &idp{err: errors.New("down"), body: ecSet("one"), status: http.StatusOK, header: http.Header{}}
		k := jwks.New(jwks.Options{Log: quiet, Transport: server})
		s := publish(t, k, policy.KeySource{URL: "https://idp.example/jwks"})
		s.Wanted() // nobody is there yet
		(*jwks.Source)(nil).Wanted()
		start(t, k)
		pass(time.Hour) // one fetch in five minutes by now
		before := server.count()
		for range 50 * 60 {
			s.Wanted()
			pass(20 * time.Millisecond)
		}
		if n := server.count() - before; n < 8 || n > 10 {
			t.Errorf("%d fetches in a minute, want 3 and one in 10 s", n)
		}
		server.set(func() { server.err = nil })
		pass(10 * time.Second)
		s.Wanted()
		pass(time.Millisecond)
		if !has(s, "one") {
			t.Errorf("the issuer is back: %+v", k.Status())
		}
	})
}
