package jwks_test

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/policy"
)

// hops redirects each URL to the next, and notes what came with each request.
type hops struct {
	mu   sync.Mutex
	next map[string]string
	seen map[string]string
}

func (h *hops) RoundTrip(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	url := r.URL.String()
	h.seen[url] = r.Header.Get("Authorization")
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(ecSet("good")))), Request: r}
	if to := h.next[url]; to != "" {
		resp.StatusCode, resp.Header = http.StatusFound, http.Header{"Location": {to}}
	}
	return resp, nil
}

func (h *hops) get() map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seen
}

// Requirement 6: the token stays at the configured port however many redirects follow the one to https.
func TestKeys6BearerTokenAfterTwoRedirects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const first, second, third = "http://idp.example:8080/1", "https://idp.example:8443/2", "https://idp.example:8443/3"
		h := &hops{next: map[string]string{first: second, second: third}, seen: map[string]string{}}
		k := jwks.New(jwks.Options{Log: quiet, Transport: h})
		s := publish(t, k, policy.KeySource{URL: first, Insecure: true, BearerTokenFile: file(t, "secret")})
		start(t, k)
		pass(time.Second)
		seen := h.get()
		if !has(s, "good") || seen[first] != "Bearer secret" || seen[second] != "" || seen[third] != "" {
			t.Errorf("keys: %v; tokens: %v", has(s, "good"), seen)
		}
	})
}

// Requirement 6: a redirect brings no credentials of its own.
func TestKeys6RedirectWithUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const first, second = "https://idp.example/1", "https://root:secret@idp.example/2"
		h := &hops{next: map[string]string{first: second}, seen: map[string]string{}}
		k := jwks.New(jwks.Options{Log: quiet, Transport: h})
		s := publish(t, k, policy.KeySource{URL: first})
		start(t, k)
		pass(time.Second)
		if f := k.Status()[0].Failure; s.Set() != nil || len(h.get()) != 1 || strings.Contains(f, "secret") || !strings.Contains(f, "a redirect with a user") {
			t.Errorf("requests %v, failure %q", h.get(), f)
		}
	})
}

// Requirement 3: a tag that cannot be sent back, or that the server does not bear, costs one fetch and not all that follow.
func TestKeys3TagThatFails(t *testing.T) {
	for name, tag := range map[string]string{"no header value": "\"a\x01b\"", "too long to come back": `"` + strings.Repeat("x", 60<<10) + `"`} {
		synctest.Test(t, func(t *testing.T) {
			w := &tagger{tag: tag, kid: "one"}
			k := jwks.New(jwks.Options{Log: quiet, Transport: w})
			s := publish(t, k, policy.KeySource{URL: "https://idp.example/jwks"})
			start(t, k)
			pass(time.Second)
			w.rotate("two")
			pass(3 * time.Minute)
			if !has(s, "two") {
				t.Errorf("%s: %+v", name, k.Status()[0])
			}
		})
	}
}

// tagger gives every answer its tag, and refuses requests with large headers, as servers do.
type tagger struct {
	mu       sync.Mutex
	tag, kid string
}

func (w *tagger) rotate(kid string) { w.mu.Lock(); defer w.mu.Unlock(); w.kid = kid }

func (w *tagger) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	resp := &http.Response{StatusCode: 200, Header: http.Header{"Etag": {w.tag}}, Body: io.NopCloser(strings.NewReader(string(ecSet(w.kid)))), Request: r}
	if tag := r.Header.Get("If-None-Match"); len(tag) > 8<<10 || strings.Contains(tag, "\x01") {
		resp.StatusCode = http.StatusRequestHeaderFieldsTooLarge
	}
	return resp, nil
}

// Requirement 4: keys that the issuer has taken back do not come back from a file that could not be replaced when it did.
func TestKeys4RemovedKeyAndAFailedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &idp{body: ecSet("one"), status: http.StatusOK, header: http.Header{}}
		o := jwks.Options{Dir: t.TempDir(), Transport: server}
		conf := issuer(policy.KeySource{URL: "https://idp.example/jwks"})
		run(t, o, conf, time.Second, func(*jwks.Keys, *jwks.Source) {
			path := savedFile(t, o.Dir)
			// No file can be renamed onto a directory: that stands for a full disk, where what is there can still be removed.
			must(os.Remove(path))
			must(os.Mkdir(path, 0o700))
			server.set(func() { server.body = ecSet("two") })
			pass(90 * time.Second)
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("what could not be replaced is still there: %v", err)
			}
			pass(90 * time.Second)
			if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), "two") {
				t.Errorf("not tried again: %s, %v", text, err)
			}
		})
	})
}

// Requirement 6: what a server makes the client quote stays short in status and log.
func TestKeys6LongFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		k := jwks.New(jwks.Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Transport: redirector("https://idp.example/%zz" + strings.Repeat("x", 60<<10))})
		publish(t, k, policy.KeySource{URL: "https://idp.example/jwks"})
		start(t, k)
		pass(time.Second)
		if f := k.Status()[0].Failure; f == "" || len(f) > 1100 || len(log.String()) > 2000 {
			t.Errorf("a failure of %d bytes, a log of %d: %.200s", len(f), len(log.String()), f)
		}
	})
}
