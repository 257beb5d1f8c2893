package jwks_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/policy"
)

const (
	metadataPath = "/.well-known/openid-configuration"
	ourIssuer    = "http://127.0.0.1:7080"
)

func metadata(issuer, keys string) string {
	return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q,"authorization_endpoint":"https://idp.example/auth"}`, issuer, keys)
}

// liar serves metadata at its path, in which $ is its own URL, and keys everywhere else; it counts those who ask for keys.
func liar(t *testing.T, document string) (url string, keys *atomic.Int32) {
	t.Helper()
	keys = &atomic.Int32{}
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != metadataPath {
			keys.Add(1)
			_, _ = w.Write(ecSet("good"))
			return
		}
		if strings.HasPrefix(document, "<") {
			w.Header().Set("Content-Type", "text/html")
		}
		text := strings.ReplaceAll(document, "$PORT", server.URL[strings.LastIndex(server.URL, ":")+1:])
		_, _ = io.WriteString(w, strings.ReplaceAll(text, "$", server.URL))
	}))
	t.Cleanup(server.Close)
	return server.URL, keys
}

// once is what the first try of k came to.
func once(t *testing.T, k *jwks.Keys, from policy.KeySource) (*jwks.Source, jwks.Status) {
	t.Helper()
	s := publish(t, k, from)
	start(t, k)
	waitFor(t, func() bool { st := k.Status()[0]; return st.Failure != "" || !st.Updated.IsZero() })
	return s, k.Status()[0]
}

// Requirement 6: metadata that lies, and key sets in networks that only the metadata names.
func TestKeys6Discovery(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, document, failure string }{
		{"good", metadata(ourIssuer, "$/keys"), ""},
		{"another issuer", metadata("https://evil.example", "$/keys"), `names the issuer "https://evil.example" and not "http://127.0.0.1:7080"`},
		{"another slash", metadata(ourIssuer+"/", "$/keys"), "names the issuer"},
		{"no issuer", `{"jwks_uri":"$/keys"}`, "names no issuer"},
		{"issuer of another type", `{"issuer":7,"jwks_uri":"$/keys"}`, "is not a JSON object"},
		{"issuer in another case", `{"ISSUER":"` + ourIssuer + `","jwks_uri":"$/keys"}`, "names no issuer"},
		{"issuer twice", `{"issuer":"` + ourIssuer + `","issuer":"` + ourIssuer + `","jwks_uri":"$/keys"}`, "is not a JSON object"},
		{"no keys", metadata(ourIssuer, ""), "has no jwks_uri"},
		{"null", "null", "names no issuer"},
		{"array", "[]", "is not a JSON object"},
		{"HTML", "<html>", "the answer is text/html"},
		{"large", metadata(ourIssuer, "$/keys") + strings.Repeat(" ", jwks.MaxBytes), "over 262144 bytes"},
		{"a file", metadata(ourIssuer, "file:///etc/passwd"), "must be an absolute URL"},
		{"plain http elsewhere", metadata(ourIssuer, "http://keys.example/keys"), "must be https"},
		{"with a user", metadata(ourIssuer, "https://u:p@keys.example/keys"), "without user"},
		{"another port of the host", metadata(ourIssuer, "http://127.0.0.1:1/keys"), "127.0.0.1 is not public"},
		{"another name of the host", metadata(ourIssuer, "http://localhost:$PORT/keys"), "is not public"},
		{"loopback by another address", metadata(ourIssuer, "http://127.0.0.2:$PORT/keys"), "127.0.0.2 is not public"},
		{"IPv6 loopback", metadata(ourIssuer, "https://[::1]:$PORT/keys"), "::1 is not public"},
		{"v4-mapped", metadata(ourIssuer, "https://[::ffff:127.0.0.1]:$PORT/keys"), "127.0.0.1 is not public"},
		{"NAT64", metadata(ourIssuer, "https://[64:ff9b::7f00:1]:$PORT/keys"), "is not public"},
		{"unspecified", metadata(ourIssuer, "https://0.0.0.0:$PORT/keys"), "is not public"},
		{"private", metadata(ourIssuer, "https://10.0.0.1/keys"), "10.0.0.1 is not public"},
		{"metadata service of a cloud", metadata(ourIssuer, "https://169.254.169.254/latest"), "169.254.169.254 is not public"},
		{"octal", metadata(ourIssuer, "https://0177.0.0.1:$PORT/keys"), ""},
		{"decimal", metadata(ourIssuer, "https://2130706433:$PORT/keys"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			url, keys := liar(t, c.document)
			s, st := once(t, jwks.New(jwks.Options{Log: quiet}), policy.KeySource{Discovery: url + metadataPath, DiscoveryIssuer: ourIssuer})
			good := c.name == "good"
			if has(s, "good") != good || (st.Failure == "") != good || !strings.Contains(st.Failure, c.failure) {
				t.Errorf("keys: %v, failure %q, want %q", has(s, "good"), st.Failure, c.failure)
			}
			if n := keys.Load(); (n == 1) != good {
				t.Errorf("%d requests for keys", n)
			}
			if strings.Contains(c.failure, "not public") && !strings.Contains(st.Failure, "write the address of the key set into keys.url") {
				t.Errorf("no help in %q", st.Failure)
			}
		})
	}
}

// Where the manifest writes the issuer out, another one in the metadata is told and taken.
func TestKeys6DiscoveryOfAnotherName(t *testing.T) {
	t.Parallel()
	url, _ := liar(t, metadata("https://idp.inside.example", "$/keys"))
	var log lines
	s, st := once(t, jwks.New(jwks.Options{Log: slog.New(slog.NewTextHandler(&log, nil))}), policy.KeySource{Discovery: url + metadataPath})
	if !has(s, "good") || !strings.Contains(log.String(), "names=https://idp.inside.example") {
		t.Errorf("%+v, log %s", st, log.String())
	}
}

// web is several servers in the bubble; it counts what is asked for, and who shows a token.
type web struct {
	mu     sync.Mutex
	pages  map[string]string
	asked  map[string]int
	tokens map[string]string
}

func (w *web) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	url := r.URL.String()
	if w.asked == nil {
		w.asked, w.tokens = map[string]int{}, map[string]string{}
	}
	w.asked[url]++
	if token := r.Header.Get("Authorization"); token != "" {
		w.tokens[url] = token
	}
	page, ok := w.pages[url]
	if !ok {
		return nil, errors.New("nobody there")
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader([]byte(page))), Request: r}, nil
}

func (w *web) set(url, page string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if page == "" {
		delete(w.pages, url)
		return
	}
	w.pages[url] = page
}

func (w *web) counts() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.asked
	w.asked = map[string]int{}
	return out
}

// The metadata is read once an hour, and when what it names does not work; while it can't be read, what it said holds.
func TestKeys3DiscoveryIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const meta, first, second = "https://idp.example" + metadataPath, "https://keys.example/1", "https://keys.example/2"
		w := &web{pages: map[string]string{meta: metadata(ourIssuer, first), first: string(ecSet("one")), second: string(ecSet("two"))}}
		k := jwks.New(jwks.Options{Log: quiet, Transport: w})
		s := publish(t, k, policy.KeySource{Discovery: meta, DiscoveryIssuer: ourIssuer})
		start(t, k)
		expect := func(step string, want map[string]int, kid string) {
			t.Helper()
			if diff := cmp.Diff(want, w.counts()); diff != "" {
				t.Errorf("%s: requests (-want +got): %s", step, diff)
			}
			if !has(s, kid) {
				t.Errorf("%s: not the keys of %s: %+v", step, kid, k.Status())
			}
		}
		pass(time.Second)
		expect("start", map[string]int{meta: 1, first: 1}, "one")
		pass(10*time.Minute + 30*time.Second)
		counts := w.counts()
		if counts[meta] != 0 || counts[first] < 9 || counts[first] > 12 {
			t.Errorf("in ten minutes: %v", counts)
		}
		pass(55 * time.Minute)
		if got := w.counts()[meta]; got != 1 {
			t.Errorf("metadata read %d times in the second hour, want once", got)
		}
		// The key set moves: the next failure leads to the metadata.
		w.set(meta, metadata(ourIssuer, second))
		w.set(first, "")
		pass(90 * time.Second)
		counts = w.counts()
		if counts[meta] != 1 || counts[second] == 0 || !has(s, "two") {
			t.Errorf("after the move: %v", counts)
		}
		// The metadata is gone: the keys that it named are read on.
		w.set(meta, "")
		w.set(second, string(ecSet("three")))
		pass(3 * time.Hour)
		if counts = w.counts(); counts[second] < 150 || !has(s, "three") || k.Status()[0].Failure != "" {
			t.Errorf("without metadata: %v, %+v", counts, k.Status())
		}
		// It comes back as another's: nothing that it names is read, and the last good keys stay for their time.
		w.set(meta, metadata("https://evil.example", first))
		w.set(first, string(ecSet("evil")))
		pass(2 * time.Hour)
		if has(s, "evil") || !has(s, "three") || !strings.Contains(k.Status()[0].Failure, "names the issuer") {
			t.Errorf("after it lied: %+v", k.Status())
		}
		w.set(meta, "")
		w.set(second, string(ecSet("four")))
		pass(time.Hour)
		if has(s, "four") {
			t.Error("after it lied: what it said before that is believed again")
		}
		pass(24 * time.Hour)
		if s.Set() != nil {
			t.Error("keys are trusted after MaxStale")
		}
	})
}
