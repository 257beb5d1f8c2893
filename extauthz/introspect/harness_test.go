package introspect_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/extauthz/introspect"
	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	iss = "https://as.example"
	aud = "https://orders"
)

var (
	start    = time.Unix(1_800_000_000, 0)
	opaque   = policy.Name{Namespace: "default", Name: "opaque"}
	accepted = []policy.Name{opaque}
)

// good is a sound answer; more are further members, with a comma before each.
func good(more string) string {
	return fmt.Sprintf(`{"active":true,"sub":"alice","aud":"%s","client_id":"web","scope":"read write","exp":%d%s}`, aud, start.Unix()+3600, more)
}

// server is an authorization server that answers what the test wants.
type server struct {
	*httptest.Server
	asked  atomic.Int64
	mu     sync.Mutex
	answer func(w http.ResponseWriter, r *http.Request)
	forms  []url.Values
	heads  []http.Header
}

func newServer(t testing.TB) *server {
	t.Helper()
	s := &server{}
	s.json(good(""))
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	s.asked.Add(1)
	err := r.ParseForm()
	s.mu.Lock()
	s.forms, s.heads = append(s.forms, r.PostForm), append(s.heads, r.Header.Clone())
	answer := s.answer
	s.mu.Unlock()
	if err != nil || r.Method != http.MethodPost {
		http.Error(w, "no form", http.StatusBadRequest)
		return
	}
	answer(w, r)
}

func (s *server) set(f func(w http.ResponseWriter, r *http.Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

func (s *server) say(status int, kind, body string) {
	s.set(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}

func (s *server) json(body string) { s.say(http.StatusOK, "application/json", body) }

// bench is a Verifier of one issuer that asks s.
type bench struct {
	*introspect.Verifier
	t      testing.TB
	server *server
	conf   policy.Issuer
	keys   *jwks.Keys
	clock  atomic.Int64 // seconds after start
}

func (b *bench) now() time.Time { return start.Add(time.Duration(b.clock.Load()) * time.Second) }

func newBench(t testing.TB, change func(*policy.Issuer, *introspect.Options)) *bench {
	t.Helper()
	b := &bench{t: t, server: newServer(t)}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s3cr:t +%\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.conf = policy.Issuer{
		Name: opaque, Audiences: []string{aud}, Leeway: 30 * time.Second,
		Introspection: &policy.Introspection{URL: b.server.URL + "/introspect", ClientID: "credence:1", SecretFile: secret, CacheFor: 30 * time.Second},
	}
	b.keys = jwks.New(jwks.Options{Now: b.now, Log: slog.New(slog.DiscardHandler)})
	o := introspect.Options{Keys: b.keys, Now: b.now, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&b.conf, &o)
	}
	var err error
	if b.Verifier, err = introspect.New(o); err != nil {
		t.Fatal(err)
	}
	b.publish(b.conf)
	t.Cleanup(func() { b.Publish(nil) })
	return b
}

func (b *bench) publish(issuers ...policy.Issuer) {
	b.keys.Publish(issuers)
	b.Publish(issuers)
}

func (b *bench) verify(raw string) (*decide.User, error) {
	return b.Verify(context.Background(), raw, accepted)
}

// allowed is a test that fails unless raw is good.
func (b *bench) allowed(raw string) *decide.User {
	b.t.Helper()
	user, err := b.verify(raw)
	if err != nil || user == nil {
		b.t.Fatalf("refused: %v", err)
	}
	return user
}

func (b *bench) refused(raw string, class error, reason string) {
	b.t.Helper()
	user, err := b.verify(raw)
	wantRefusal(b.t, user, err, class, reason)
}

func (b *bench) asked(want int64) {
	b.t.Helper()
	if got := b.server.asked.Load(); got != want {
		b.t.Errorf("the server was asked %d times, want %d", got, want)
	}
}

func wantRefusal(t testing.TB, user *decide.User, err, class error, reason string) {
	t.Helper()
	if user != nil {
		t.Error("a user beside an error")
	}
	if !errors.Is(err, class) || credential.Reason(err) != reason {
		t.Errorf("%v (reason %q), want %v, %q", err, credential.Reason(err), class, reason)
	}
	n := 0
	for _, c := range []error{credential.ErrInvalid, credential.ErrUnavailable, credential.ErrLimited} {
		if errors.Is(err, c) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%v is of %d classes", err, n)
	}
}
