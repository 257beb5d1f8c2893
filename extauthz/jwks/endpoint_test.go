package jwks_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/policy"
)

// endpoint is one key server that really listens, and what its issuer must come to.
type endpoint struct {
	name string
	// answer gets the path that was asked for.
	answer http.HandlerFunc
	good   bool
	// failure must be in the status; requests is how many arrive in the first try.
	failure  string
	requests int32
}

const secretBody = "s3cr3t-body"

func endpoints() []endpoint {
	keys := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(ecSet("good")) }
	text := func(kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = io.WriteString(w, body)
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code); _, _ = w.Write(ecSet("good")) }
	}
	to := func(target string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/jwks" {
				keys(w, r)
				return
			}
			where := target
			if target == "elsewhere" {
				where = "http://localhost:" + r.Host[strings.LastIndex(r.Host, ":")+1:] + "/keys"
			}
			http.Redirect(w, r, where, http.StatusFound)
		}
	}
	return []endpoint{
		{"good", keys, true, "", 1},
		{"served as text", text("text/plain", string(ecSet("good"))), true, "", 1},
		{"without a key", text("application/json", `{"keys":[]}`), false, "", 1},
		{"HTML", text("text/html; charset=utf-8", "<html>"+secretBody), false, "the answer is text/html", 1},
		{"HTML that is JSON", text("text/html", string(ecSet("good"))), false, "the answer is text/html", 1},
		{"not JSON", text("application/json", secretBody), false, `not a JWK Set (the answer says "application/json")`, 1},
		{"another document", text("application/json", `{"`+secretBody+`":1}`), false, "not a JWK Set", 1},
		{"a member twice", text("application/json", `{"keys":[],"`+secretBody+`":1,"`+secretBody+`":2}`), false, "not a JWK Set", 1},
		{"empty", text("application/json", ""), false, "not a JWK Set", 1},
		{"500", status(500), false, "the answer is 500", 1},
		{"404", status(404), false, "the answer is 404", 1},
		{"204", status(204), false, "the answer is 204", 1},
		{"304 that nobody asked for", status(304), false, "the answer is 304", 1},
		{"large", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(append(ecSet("good"), bytes.Repeat([]byte(" "), jwks.MaxBytes)...))
		}, false, "over 262144 bytes", 1},
		{"large once unpacked", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			for range 100 {
				_, _ = z.Write(bytes.Repeat([]byte(" "), 1<<20))
			}
			_ = z.Close()
		}, false, "over 262144 bytes", 1},
		{"large headers", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 200<<10))
			keys(w, r)
		}, false, "", 1},
		{"cut off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(ecSet("good"))
		}, false, "unexpected EOF", 1},
		{"redirect on the host", to("/keys"), true, "", 2},
		{"redirect to another host", to("elsewhere"), false, "a redirect to another host", 1},
		{"redirect to another port", to("http://127.0.0.1:1/keys"), false, "a redirect to another port", 1},
		{"redirect in a circle", to("/jwks"), false, "too many redirects", 4},
		{"redirect to a file", to("file:///etc/passwd"), false, "a redirect to another host", 1},
		{"hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, false, "no whole answer within 5s", 1},
		{"drips", func(w http.ResponseWriter, r *http.Request) {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for {
				_, _ = w.Write([]byte(" "))
				_ = http.NewResponseController(w).Flush()
				select {
				case <-tick.C:
				case <-r.Context().Done():
					return
				}
			}
		}, false, "no whole answer within 5s", 1},
	}
}

// Requirements 1, 3, 6: each endpoint gets the answer that it deserves, and none of them delays another.
func TestKeys6Endpoints(t *testing.T) {
	t.Parallel()
	var log lines
	k := jwks.New(jwks.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	table := endpoints()
	counts := make([]atomic.Int32, len(table))
	var conf []policy.Issuer
	for n, e := range table {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			counts[n].Add(1)
			e.answer(w, r)
		}))
		t.Cleanup(server.Close)
		i := issuer(policy.KeySource{URL: server.URL + "/jwks"})
		i.Name.Name = strings.ReplaceAll(e.name, " ", "-")
		conf = append(conf, i)
	}
	start(t, k)
	begin := time.Now()
	sources := k.Publish(conf)
	if took := time.Since(begin); took > time.Second {
		t.Errorf("Publish took %v", took)
	}
	status := func(name policy.Name) jwks.Status {
		for _, st := range k.Status() {
			if st.Issuer == name {
				return st
			}
		}
		return jwks.Status{}
	}
	waitFor(t, func() bool { return has(sources[conf[0].Name], "good") })
	if st := status(policy.Name{Namespace: "default", Name: "hangs"}); st.Failure != "" || st.Keys != 0 {
		t.Errorf("the good one waited for the one that hangs: %+v", st)
	}
	for n, e := range table {
		t.Run(e.name, func(t *testing.T) {
			waitFor(t, func() bool { st := status(conf[n].Name); return st.Failure != "" || !st.Updated.IsZero() })
			st := status(conf[n].Name)
			if got := has(sources[conf[n].Name], "good"); got != e.good || (st.Failure == "") != (e.good || e.name == "without a key") {
				t.Errorf("keys: %v, want %v: %s", got, e.good, st.Failure)
			}
			if !strings.Contains(st.Failure, e.failure) {
				t.Errorf("failure %q, want %q", st.Failure, e.failure)
			}
			if got := counts[n].Load(); got != e.requests {
				t.Errorf("%d requests, want %d", got, e.requests)
			}
		})
	}
	if strings.Contains(log.String(), secretBody) {
		t.Errorf("the log quotes a body: %s", log.String())
	}
}

// lines is a log that is written and read at the same time.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// An issuer that hangs delays neither its own good tokens nor what others ask for.
func TestKeys1NobodyWaitsForAnother(t *testing.T) {
	t.Parallel()
	var stuck atomic.Bool
	hang := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if stuck.Load() {
			<-r.Context().Done()
			return
		}
		_, _ = w.Write(ecSet("a"))
	}))
	defer hang.Close()
	var other atomic.Value
	other.Store(ecSet("b"))
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(other.Load().([]byte)) }))
	defer good.Close()
	k := jwks.New(jwks.Options{Log: quiet})
	a, b := issuer(policy.KeySource{URL: hang.URL}), issuer(policy.KeySource{URL: good.URL})
	b.Name.Name = "other"
	sources := k.Publish([]policy.Issuer{a, b})
	start(t, k)
	waitFor(t, func() bool { return has(sources[a.Name], "a") && has(sources[b.Name], "b") })
	stuck.Store(true)
	other.Store(ecSet("c"))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan error)
	go func() { done <- sources[a.Name].Refresh(ctx, "new", "ES256") }()
	if err := sources[b.Name].Refresh(ctx, "c", "ES256"); err != nil {
		t.Errorf("the other issuer: %v", err)
	}
	if !has(sources[a.Name], "a") {
		t.Error("the keys of the one that hangs are gone")
	}
	if err := <-done; err == nil {
		t.Error("a key out of nowhere")
	}
}
