package jwks_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/policy"
)

// What operators see of an issuer that goes and comes back: in metrics and in status.
func TestKeys4Health(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &idp{body: ecSet("one"), header: http.Header{"Cache-Control": {"max-age=60"}, "Etag": {`"v1"`}}, status: http.StatusOK}
		k := jwks.New(jwks.Options{Log: quiet, Transport: server})
		metrics := prometheus.NewRegistry()
		metrics.MustRegister(k)
		s := publish(t, k, policy.KeySource{URL: "https://idp.example/jwks", MaxStale: time.Hour})
		if st := k.Status()[0]; st.Had || st.Keys != 0 || st.Failure != "" || !st.Updated.IsZero() || !st.Next.IsZero() {
			t.Errorf("before anything: %+v", st)
		}
		begin := time.Now()
		start(t, k)
		pass(time.Second)
		st := k.Status()[0]
		if next := st.Next.Sub(begin); !st.Had || st.Keys != 1 || !st.Updated.Equal(begin) || !st.Until.Equal(begin.Add(time.Hour)) || next < 54*time.Second || next > 66*time.Second {
			t.Errorf("after the first fetch: %+v", st)
		}
		pass(80 * time.Second) // 304
		last := k.Status()[0].Updated
		server.set(func() { server.err = errors.New("down") })
		_, _ = refresh(s, "two", time.Second)
		pass(30 * time.Minute)
		if st := k.Status()[0]; st.Keys != 1 || !st.Updated.Equal(last) || !strings.Contains(st.Failure, "down") {
			t.Errorf("while it is down: %+v", st)
		}
		pass(time.Hour)
		if st := k.Status()[0]; st.Keys != 0 || !st.Had || s.Set() != nil {
			t.Errorf("after maxStale: %+v", st)
		}
		_, _ = refresh(s, "two", time.Second)
		w := httptest.NewRecorder()
		promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		var got []string
		for line := range strings.Lines(w.Body.String()) {
			if strings.HasPrefix(line, "credence_issuer_") && !strings.HasSuffix(line, " 0\n") && !strings.Contains(line, "timestamp") && !strings.Contains(line, `"failed"`) {
				got = append(got, strings.TrimSpace(line))
			}
		}
		want := []string{
			`credence_issuer_fetches_total{issuer="default/idp",result="not_modified"} 1`,
			`credence_issuer_fetches_total{issuer="default/idp",result="ok"} 1`,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("metrics (-want +got): %s", diff)
		}
		for _, text := range []string{
			`credence_issuer_keys{issuer="default/idp"} 0`, `credence_issuer_unknown_kid_total{answer="failed",issuer="default/idp"} 2`,
			`credence_issuer_last_success_timestamp_seconds{issuer="default/idp"} `, `credence_issuer_stale_timestamp_seconds{issuer="default/idp"} `,
		} {
			if !strings.Contains(w.Body.String(), text) {
				t.Errorf("no %s in %s", text, w.Body)
			}
		}
		server.set(func() { server.err = nil })
		pass(6 * time.Minute)
		if st := k.Status()[0]; st.Keys != 1 || st.Failure != "" {
			t.Errorf("it is back: %+v", st)
		}
	})
}

// A machine that slept, and a clock that was set: old keys are not trusted, and new ones are fetched within a minute.
func TestKeys4ClocksThatJump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &idp{body: ecSet("one"), header: http.Header{"Cache-Control": {"max-age=3600"}}, status: http.StatusOK}
		var jump time.Duration
		var mu sync.Mutex
		// The reading of the monotonic clock goes on as if nothing had been.
		now := func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			if jump == 0 {
				return time.Now()
			}
			return time.Now().Round(0).Add(jump)
		}
		set := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); jump = d }
		k := jwks.New(jwks.Options{Log: quiet, Transport: server, Now: now})
		s := publish(t, k, policy.KeySource{URL: "https://idp.example/jwks"})
		start(t, k)
		pass(time.Second)
		set(48 * time.Hour)
		if s.Set() != nil {
			t.Error("keys of two days ago are trusted")
		}
		server.set(func() { server.body = ecSet("two") })
		pass(time.Minute)
		if !has(s, "two") || server.count() != 2 {
			t.Errorf("after the sleep: %d requests, %+v", server.count(), k.Status())
		}
		set(-1000 * time.Hour)
		server.set(func() { server.body = ecSet("three") })
		pass(time.Minute)
		if !has(s, "three") || server.count() != 3 {
			t.Errorf("after the clock was set back: %d requests, %+v", server.count(), k.Status())
		}
		pass(30 * time.Minute)
		if server.count() != 3 {
			t.Errorf("%d requests, want 3", server.count())
		}
	})
}
