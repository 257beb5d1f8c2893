//go:build e2e

package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/credence-mesh/credence/internal/testenv"
)

// introspector is an authorization server of which the token says how it answers.
type introspector struct {
	*httptest.Server
	asked atomic.Int64
	// elsewhere is where a redirect leads to.
	elsewhere atomic.Int64

	mu      sync.Mutex
	revoked map[string]bool
	down    bool
}

func newIntrospector(t *testing.T) *introspector {
	t.Helper()
	i := &introspector{revoked: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /introspect", i.introspect)
	mux.HandleFunc("/elsewhere", func(w http.ResponseWriter, _ *http.Request) {
		i.elsewhere.Add(1)
		i.json(w, i.active(""))
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *introspector) json(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(body))
}

// active is a sound answer; more are members with a comma before each.
func (i *introspector) active(more string) string {
	return fmt.Sprintf(`{"active":true,"sub":"alice","client_id":"web","scope":"read","aud":"%s","exp":%d%s}`, audience, time.Now().Add(time.Hour).Unix(), more)
}

func (i *introspector) state(raw string) (revoked, down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.revoked[raw], i.down
}

func (i *introspector) set(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f()
}

func (i *introspector) introspect(w http.ResponseWriter, r *http.Request) {
	i.asked.Add(1)
	raw := r.PostFormValue("token")
	revoked, down := i.state(raw)
	if id, secret, _ := r.BasicAuth(); id != "credence" || secret != "hush" || down {
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	good := i.active("")
	switch kind, _, _ := strings.Cut(raw, "-"); {
	case revoked:
		i.json(w, `{"active":false}`)
	case kind == "good":
		i.json(w, good)
	case kind == "slow":
		select {
		case <-r.Context().Done():
		case <-time.After(10 * time.Second):
		}
		i.json(w, good)
	case kind == "lies": // it says yes, and of whom or for how long is nonsense
		i.json(w, `{"active":true,"sub":["alice"],"aud":"`+audience+`","exp":"never"}`)
	case kind == "html":
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(good))
	case kind == "string":
		i.json(w, strings.Replace(good, `"active":true`, `"active":"true"`, 1))
	case kind == "other":
		i.json(w, strings.Replace(good, audience, "https://somebody.else", 1))
	case kind == "expired":
		i.json(w, `{"active":true,"sub":"alice","scope":"read","aud":"`+audience+`","exp":1000}`)
	case kind == "refresh":
		i.json(w, i.active(`,"token_type":"refresh_token"`))
	case kind == "bound":
		i.json(w, i.active(`,"cnf":{"jkt":"w7JAoU_gJbZJvV-zCOvU9yFJq0FNC_edCMRM78P8eQQ"}`))
	case kind == "twice":
		i.json(w, strings.Replace(good, `"active":true`, `"active":false,"active":true`, 1))
	case kind == "redirect":
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	case kind == "huge":
		i.json(w, i.active(`,"x":"`+strings.Repeat("a", 4<<20)+`"`))
	case kind == "endless":
		w.Header().Set("Content-Type", "application/json")
		for r.Context().Err() == nil {
			if _, err := w.Write([]byte(strings.Repeat(" ", 1<<10))); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond) //nolint:forbidigo // the pace of a body, nobody waits for it
		}
	case kind == "cut":
		panic(http.ErrAbortHandler)
	case kind == "error":
		http.Error(w, good, http.StatusInternalServerError)
	default:
		i.json(w, `{"active":false}`)
	}
}

// opaqueSite is a mesh whose routes take opaque tokens of one server by several rules.
func opaqueSite(t *testing.T, i *introspector, cacheFor string) *site {
	t.Helper()
	s, _ := opaqueEnv(t, i, cacheFor)
	return s
}

// opaqueEnv is opaqueSite with the product that runs it.
func opaqueEnv(t *testing.T, i *introspector, cacheFor string) (*site, *testenv.Env) {
	t.Helper()
	s := newSite(t, "lobby")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	issuer := func(name, audience string) string {
		return fmt.Sprintf(`apiVersion: credence.mesh/v1alpha1
kind: TokenIssuer
metadata: {name: %s}
spec:
  audiences: [%s]
  introspection: {url: %s/introspect, clientID: credence, clientSecretFile: %s, cacheFor: %s}
`, name, audience, i.URL, secret, cacheFor)
	}
	route := func(name, path string) string {
		doc, _, _ := strings.Cut(s.route(name, "plain", path, "lobby", "public"), "---\n")
		return doc
	}
	const reads = "require: {scopes: {allOf: [read]}}"
	m := s.manifests(
		route("reads", "/reads"), policyOn("HTTPRoute", "reads", "opaque", reads),
		route("writes", "/writes"), policyOn("HTTPRoute", "writes", "opaque", "require: {scopes: {allOf: [write]}}"),
		route("bank", "/bank"), policyOn("HTTPRoute", "bank", "bank", reads),
		route("jwts", "/jwts"), policyOn("HTTPRoute", "jwts", "dev", reads),
		route("both", "/both"), policyOn("HTTPRoute", "both", "dev, opaque", reads),
		route("optional", "/optional"), policyOn("HTTPRoute", "optional", "opaque", "authentication: [anonymous]"),
	)
	m["lobby.yaml"] = strings.Replace(m["lobby.yaml"], "  authentication: {issuers: [dev]}\n", "", 1)
	m["opaque.yaml"] = join(issuer("opaque", audience), issuer("bank", "https://bank.example"))
	e := testenv.Start(t, testenv.Options{Manifests: m})
	for _, d := range e.Status().Diagnostics {
		if d.Severity == "error" {
			t.Fatalf("%+v", d)
		}
	}
	return s, e
}

func (s *site) call(t *testing.T, path, token string) testenv.Reply {
	t.Helper()
	got, err := testenv.Get(t.Context(), testenv.Request{Addr: s.frontAddr(), Path: path, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestOpaqueTokens: each answer of the authorization server that is not a yes for this mesh is a refusal, on real Envoy.
func TestOpaqueTokens(t *testing.T) {
	t.Parallel()
	i := newIntrospector(t)
	s := opaqueSite(t, i, "30s")
	for _, r := range []struct {
		name, path, token string
		status            int
	}{
		{"good", "/reads", "good-1", 200},
		{"without a token", "/reads", "", 401},
		{"unknown", "/reads", "nobody", 401},
		{"optional, and none", "/optional", "", 200},
		{"optional, and good", "/optional", "good-1", 200},
		{"optional, and bad: it does not fall through", "/optional", "nobody", 401},
		{"optional, and not to be told", "/optional", "string-1", 503},
		{"slow", "/reads", "slow-1", 503},
		{"lies", "/reads", "lies-1", 503},
		{"HTML", "/reads", "html-1", 503},
		{`active is "true"`, "/reads", "string-1", 503},
		{"for another audience", "/reads", "other-1", 401},
		{"expired", "/reads", "expired-1", 401},
		{"a refresh token", "/reads", "refresh-1", 401},
		{"bound to a key, without proof", "/reads", "bound-1", 401},
		{"duplicate members", "/reads", "twice-1", 503},
		{"a redirect", "/reads", "redirect-1", 503},
		{"a huge body", "/reads", "huge-1", 503},
		{"an endless body", "/reads", "endless-1", 503},
		{"a cut connection", "/reads", "cut-1", 503},
		{"an error of the server", "/reads", "error-1", 503},
		{"an opaque token where JWTs are accepted", "/jwts", "good-1", 401},
		{"an opaque token where both are", "/both", "good-1", 200},
		{"an unknown one where both are", "/both", "a.b.c", 401},
	} {
		t.Run(r.name, func(t *testing.T) {
			for range 2 { // asked, then perhaps from the cache
				if got := s.call(t, r.path, r.token); got.Status != r.status {
					t.Errorf("%d %s, want %d", got.Status, got.Body, r.status)
				}
			}
		})
	}
	if n := i.elsewhere.Load(); n != 0 {
		t.Errorf("a redirect led %d tokens elsewhere", n)
	}
}

// TestOpaqueTokenPrimedByAnotherRule: what one rule has put into the cache decides nothing for another: facts are cached, not decisions.
func TestOpaqueTokenPrimedByAnotherRule(t *testing.T) {
	t.Parallel()
	i := newIntrospector(t)
	s := opaqueSite(t, i, "30s")
	for _, step := range []struct {
		path   string
		status int
		asked  int64
	}{
		{"/reads", 200, 1},
		{"/writes", 403, 1}, // another scope: from the cache, and not its decision
		{"/bank", 401, 2},   // another TokenIssuer of the same server, with another audience: asked anew
		{"/jwts", 401, 2},   // a policy that accepts no opaque token asks nobody
		{"/reads", 200, 2},
		{"/bank", 401, 2},
	} {
		if got := s.call(t, step.path, "good-primed"); got.Status != step.status {
			t.Errorf("%s: %d, want %d", step.path, got.Status, step.status)
		}
		if n := i.asked.Load(); n != step.asked {
			t.Errorf("%s: the server was asked %d times, want %d", step.path, n, step.asked)
		}
	}
}

// TestOpaqueTokenRevoked: a token that the server takes back is refused once the cached facts are over; one that it gives back is not
// refused for longer than that.
func TestOpaqueTokenRevoked(t *testing.T) {
	t.Parallel()
	i := newIntrospector(t)
	s := opaqueSite(t, i, "1s")
	if got := s.call(t, "/reads", "good-r"); got.Status != 200 {
		t.Fatalf("%d", got.Status)
	}
	i.set(func() { i.revoked["good-r"] = true })
	revoked := time.Now()
	for s.call(t, "/reads", "good-r").Status == 200 {
		if time.Since(revoked) > 20*time.Second {
			t.Fatal("a revoked token is still good")
		}
	}
	t.Logf("refused %v after it was revoked, with cacheFor 1s", time.Since(revoked).Round(time.Millisecond))
	if got := s.call(t, "/reads", "good-r"); got.Status != 401 {
		t.Errorf("revoked: %d", got.Status)
	}
}

// TestOpaqueTokenOutage: without an answer nobody is let in and nobody is sent to sign in again; what is cached counts until its end.
func TestOpaqueTokenOutage(t *testing.T) {
	t.Parallel()
	i := newIntrospector(t)
	s := opaqueSite(t, i, "30s")
	if got := s.call(t, "/reads", "good-cached"); got.Status != 200 {
		t.Fatalf("%d", got.Status)
	}
	i.set(func() { i.down = true }) // it takes our secret no longer
	if got := s.call(t, "/reads", "good-new"); got.Status != 503 {
		t.Errorf("401 of the endpoint: %d", got.Status)
	}
	i.Close()
	for range 2 {
		if got := s.call(t, "/reads", "good-new"); got.Status != 503 {
			t.Errorf("outage: %d", got.Status)
		}
	}
	if got := s.call(t, "/reads", "good-cached"); got.Status != 200 {
		t.Errorf("cached: %d", got.Status)
	}
}
