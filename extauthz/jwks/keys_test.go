package jwks_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/policy"
)

var quiet = slog.New(slog.DiscardHandler)

func issuer(from policy.KeySource) policy.Issuer {
	return policy.Issuer{Name: policy.Name{Namespace: "default", Name: "idp"}, Issuers: []string{"http://127.0.0.1:7080"}, Algorithms: all, Keys: from}
}

func publish(t *testing.T, k *jwks.Keys, from policy.KeySource) *jwks.Source {
	t.Helper()
	i := issuer(from)
	s := k.Publish([]policy.Issuer{i})[i.Name]
	if s == nil {
		t.Fatal("no source")
	}
	return s
}

// start runs k until the test ends.
func start(t *testing.T, k *jwks.Keys) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func has(s *jwks.Source, kid string) bool { _, ok := s.Set().Lookup(kid, "ES256"); return ok }

func ecSet(kid string) []byte { return document(keys().p256.with("kid", kid)) }

func TestInlineAndDevelopment(t *testing.T) {
	k := jwks.New(jwks.Options{Log: quiet, Development: func(url string) ([]byte, error) {
		if url != "http://127.0.0.1:7080" {
			return nil, errors.New("another")
		}
		return ecSet("dev"), nil
	}})
	if s := publish(t, k, policy.KeySource{Inline: string(ecSet("inline"))}); !has(s, "inline") {
		t.Error("inline key is not found")
	}
	if s := publish(t, k, policy.KeySource{Development: true}); !has(s, "dev") {
		t.Error("development key is not found")
	}
	other := issuer(policy.KeySource{Development: true})
	other.Issuers = []string{"https://idp.example"}
	if s := k.Publish([]policy.Issuer{other})[other.Name]; s.Set() != nil {
		t.Error("an issuer elsewhere has the development keys")
	}
	if st := k.Status(); len(st) != 1 || st[0].Failure == "" || st[0].Keys != 0 {
		t.Errorf("status %+v", st)
	}
}

// Requirement 1: keys are held per issuer; one whose keys did not change keeps its Source.
func TestKeys1PerIssuer(t *testing.T) {
	k := jwks.New(jwks.Options{Log: quiet})
	a, b := issuer(policy.KeySource{Inline: string(ecSet("a"))}), issuer(policy.KeySource{Inline: string(ecSet("b"))})
	b.Name.Name = "other"
	first := k.Publish([]policy.Issuer{a, b})
	if has(first[a.Name], "b") || has(first[b.Name], "a") || !has(first[b.Name], "b") {
		t.Error("keys are shared")
	}
	b.Keys.Inline = string(ecSet("c"))
	second := k.Publish([]policy.Issuer{a, b})
	if second[a.Name] != first[a.Name] || second[b.Name] == first[b.Name] || has(second[b.Name], "b") || !has(second[b.Name], "c") {
		t.Error("wrong sources after a change")
	}
}

// A pipe in the place of a file must not hold up what comes after it.
func TestFileIsRegular(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "keys")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	k := jwks.New(jwks.Options{})
	if s := publish(t, k, policy.KeySource{File: pipe}); s.Set() != nil {
		t.Error("a pipe gave keys")
	}
	if st := k.Status(); len(st) != 1 || !strings.Contains(st[0].Failure, "not a regular file") {
		t.Errorf("status %+v", st)
	}
}

func TestFileIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "jwks.json")
		write := func(text []byte) {
			t.Helper()
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second) //nolint:forbidigo // the bubble's clock
			synctest.Wait()
		}
		write(ecSet("one"))
		k := jwks.New(jwks.Options{Log: quiet})
		s := publish(t, k, policy.KeySource{File: path})
		if !has(s, "one") {
			t.Fatal("not there after Publish")
		}
		start(t, k)
		write(ecSet("two"))
		if has(s, "one") || !has(s, "two") {
			t.Error("the change was not seen")
		}
		write([]byte("{"))
		if !has(s, "two") || k.Status()[0].Failure == "" {
			t.Error("the last good keys did not stay, or nothing tells")
		}
		write(ecSet("three"))
		if !has(s, "three") || k.Status()[0].Failure != "" {
			t.Error("the next good file was not read")
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		if !has(s, "three") || k.Status()[0].Failure == "" {
			t.Error("without the file: the last good keys did not stay, or nothing tells")
		}
	})
}

// idp answers in the bubble; it is an http.RoundTripper because sockets don't work there.
type idp struct {
	mu sync.Mutex
	// delay of an answer.
	delay    time.Duration
	body     []byte
	status   int
	header   http.Header
	err      error
	requests []time.Time
	etags    []string
}

func (i *idp) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.requests = append(i.requests, time.Now())
	i.etags = append(i.etags, r.Header.Get("If-None-Match"))
	delay := i.delay
	i.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.err != nil {
		return nil, i.err
	}
	status := i.status
	if tag := i.header.Get("ETag"); tag != "" && r.Header.Get("If-None-Match") == tag {
		status = http.StatusNotModified
	}
	return &http.Response{
		StatusCode: status, Header: i.header, Body: io.NopCloser(bytes.NewReader(i.body)), Request: r, ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

func (i *idp) set(f func()) { i.mu.Lock(); defer i.mu.Unlock(); f() }

func (i *idp) count() int { i.mu.Lock(); defer i.mu.Unlock(); return len(i.requests) }

func pass(d time.Duration) { time.Sleep(d); synctest.Wait() } //nolint:forbidigo // the bubble's clock

// Requirements 3 and 4: refresh by max-age between a minute and an hour, back-off, stale if error until MaxStale.
func TestKeys3And4Refresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &idp{err: errors.New("down"), status: 200, body: ecSet("one"), header: http.Header{
			"Cache-Control": {"public, max-age=600"}, "Etag": {`"v1"`},
		}}
		k := jwks.New(jwks.Options{Log: quiet, Transport: server})
		s := publish(t, k, policy.KeySource{URL: "https://idp.example/jwks"})
		start(t, k)
		pass(time.Second)
		if s.Set() != nil || server.count() != 1 {
			t.Fatalf("keys before the first good answer, or %d requests", server.count())
		}
		server.set(func() { server.err = nil })
		pass(6 * time.Second)
		if !has(s, "one") || server.count() != 2 {
			t.Fatalf("not read after the back-off; %d requests", server.count())
		}
		pass(9 * time.Minute)
		if server.count() > 3 {
			t.Errorf("%d requests within max-age", server.count())
		}
		pass(2 * time.Minute)
		if server.count() != 3 || server.etags[2] != `"v1"` || !has(s, "one") {
			t.Errorf("%d requests, If-None-Match %q", server.count(), server.etags)
		}
		server.set(func() { server.status, server.header = 503, http.Header{} })
		pass(23 * time.Hour)
		if !has(s, "one") {
			t.Error("stale keys were dropped early")
		}
		if n := server.count(); n < 23*12 || n > 23*14 {
			t.Errorf("%d requests in 23 h of errors, want one in five minutes", n)
		}
		pass(90 * time.Minute)
		if s.Set() != nil {
			t.Error("keys are trusted after MaxStale")
		}
	})
}

// Requirement 6: https or loopback only, no other host, bounded body.
func TestKeys6Fetch(t *testing.T) {
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	elsewhere := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	mux.HandleFunc("/good", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(ecSet("good")) })
	mux.HandleFunc("/same", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/good", http.StatusFound) })
	mux.HandleFunc("/cross", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere+"/good", http.StatusFound) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(append(ecSet("good"), bytes.Repeat([]byte(" "), jwks.MaxBytes)...))
	})
	mux.HandleFunc("/error", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
		_, _ = w.Write(ecSet("good"))
	})
	mux.HandleFunc("/html", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) })

	for _, c := range []struct {
		url  string
		good bool
	}{
		{server.URL + "/good", true},
		{server.URL + "/same", true},
		{server.URL + "/cross", false},
		{server.URL + "/loop", false},
		{server.URL + "/large", false},
		{server.URL + "/error", false},
		{server.URL + "/html", false},
		{"http://idp.example/jwks", false},
		{"file:///etc/passwd", false},
	} {
		t.Run(c.url[strings.LastIndex(c.url, "/"):], func(t *testing.T) {
			k := jwks.New(jwks.Options{Log: quiet})
			s := publish(t, k, policy.KeySource{URL: c.url})
			start(t, k)
			waitFor(t, func() bool { st := k.Status()[0]; return st.Failure != "" || !st.Updated.IsZero() })
			if got := s.Set() != nil; got != c.good {
				t.Errorf("keys: %v, %+v", got, k.Status()[0])
			}
		})
	}
}

// waitFor polls, because what it waits for is seen in Status only.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("waited 30 s")
		}
	}
}

// redirector sends every request for /jwks to one place; that place has keys.
type redirector string

func (to redirector) RoundTrip(r *http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(ecSet("good"))), Request: r}
	if r.URL.Path == "/jwks" {
		resp.StatusCode, resp.Header = http.StatusFound, http.Header{"Location": {string(to)}}
	}
	return resp, nil
}

// Requirement 6: a redirect stays on the host, its port and https.
func TestKeys6Redirects(t *testing.T) {
	for to, good := range map[string]bool{
		"https://idp.example/keys": true, "https://idp.example:8443/keys": false, "https://evil.example/keys": false,
		"https://idp.example.evil.example/keys": false, "http://idp.example/keys": false,
	} {
		k := jwks.New(jwks.Options{Log: quiet, Transport: redirector(to)})
		s := publish(t, k, policy.KeySource{URL: "https://idp.example/jwks"})
		start(t, k)
		waitFor(t, func() bool { st := k.Status()[0]; return st.Failure != "" || !st.Updated.IsZero() })
		if got := s.Set() != nil; got != good {
			t.Errorf("%s: keys: %v, %+v", to, got, k.Status()[0])
		}
	}
}

func TestCheckURL(t *testing.T) {
	for url, want := range map[string]bool{
		"https://idp.example/jwks": true, "http://127.0.0.1:7080/jwks": true, "http://[::1]/jwks": true, "http://localhost/jwks": true,
		"http://idp.example/jwks": false, "http://127.0.0.1.evil.example/": false, "http://10.0.0.1/": false, "https://u:p@idp.example/": false,
		"https:///jwks": false, "https:idp": false, "ftp://127.0.0.1/": false, "": false, "https://idp.example/#x": false, "/jwks": false,
	} {
		if got := jwks.CheckURL(url) == nil; got != want {
			t.Errorf("%q: %v, want %v", url, got, want)
		}
	}
}

// A Source that Publish drops is refreshed no more, and Run follows.
func TestPublishWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &idp{status: 200, body: ecSet("one"), header: http.Header{}}
		k := jwks.New(jwks.Options{Log: quiet, Transport: server})
		start(t, k)
		s := publish(t, k, policy.KeySource{URL: "https://idp.example/jwks"})
		pass(time.Second)
		if !has(s, "one") {
			t.Fatal("not fetched")
		}
		k.Publish(nil)
		pass(time.Second)
		n := server.count()
		pass(5 * time.Hour)
		if got := server.count(); got != n {
			t.Errorf("%d requests for an issuer that is gone", got-n)
		}
		if st := fmt.Sprint(k.Status()); st != "[]" {
			t.Error(st)
		}
	})
}

// Requirement 3: how long an answer counts (RFC 9111), between a minute and an hour, with a tenth of jitter.
func TestKeys3Freshness(t *testing.T) {
	for _, c := range []struct {
		header http.Header
		want   time.Duration
	}{
		{http.Header{}, time.Minute},
		{http.Header{"Cache-Control": {"max-age=0"}}, time.Minute},
		{http.Header{"Cache-Control": {"max-age=1200"}}, 20 * time.Minute},
		{http.Header{"Cache-Control": {`public, MAX-AGE="1200", must-revalidate`}}, 20 * time.Minute},
		{http.Header{"Cache-Control": {"public", "max-age=1200"}}, 20 * time.Minute},
		{http.Header{"Cache-Control": {"max-age=1200"}, "Age": {"600"}}, 10 * time.Minute},
		{http.Header{"Cache-Control": {"max-age=1200"}, "Age": {"6000"}}, time.Minute},
		{http.Header{"Cache-Control": {"max-age=1200, no-cache"}}, time.Minute},
		{http.Header{"Cache-Control": {"no-store, max-age=1200"}}, time.Minute},
		{http.Header{"Cache-Control": {"max-age=31536000"}}, time.Hour},
		{http.Header{"Cache-Control": {"max-age=99999999999999999999"}}, time.Minute},
		{http.Header{"Cache-Control": {"max-age=-1"}}, time.Minute},
		{http.Header{"Cache-Control": {"s-maxage=1200"}}, time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			server := &idp{body: ecSet("one"), status: http.StatusOK, header: c.header}
			k := jwks.New(jwks.Options{Log: quiet, Transport: server})
			publish(t, k, policy.KeySource{URL: "https://idp.example/jwks"})
			start(t, k)
			pass(time.Second)
			st := k.Status()[0]
			if got := st.Next.Sub(st.Updated); got < c.want-c.want/10 || got > c.want+c.want/10 {
				t.Errorf("%v: %v, want %v", c.header, got, c.want)
			}
		})
	}
}
