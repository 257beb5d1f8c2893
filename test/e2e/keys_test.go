//go:build e2e

package e2e_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/internal/testenv"
)

// keyIssuer is an identity provider on the network: it signs, and publishes its keys with metadata beside them.
type keyIssuer struct {
	server *httptest.Server
	// asked for keys, so many times.
	asked atomic.Int32

	mu   sync.Mutex
	keys map[string]*ecdsa.PrivateKey
}

func newKeyIssuer(t *testing.T, tls bool, kids ...string) *keyIssuer {
	t.Helper()
	i := &keyIssuer{keys: map[string]*ecdsa.PrivateKey{}}
	i.server = httptest.NewUnstartedServer(http.HandlerFunc(i.serve))
	if tls {
		i.server.StartTLS()
	} else {
		i.server.Start()
	}
	t.Cleanup(i.server.Close)
	i.publish(t, kids...)
	return i
}

func (i *keyIssuer) serve(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	var answer any
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		answer = map[string]string{"issuer": i.server.URL, "jwks_uri": i.server.URL + "/keys"}
	default:
		i.asked.Add(1)
		keys := []map[string]string{}
		for kid, key := range i.keys {
			point, err := key.PublicKey.Bytes()
			if err != nil {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			encode := base64.RawURLEncoding.EncodeToString
			keys = append(keys, map[string]string{"kty": "EC", "crv": "P-256", "kid": kid, "x": encode(point[1:33]), "y": encode(point[33:])})
		}
		answer = map[string]any{"keys": keys}
	}
	_ = json.NewEncoder(w).Encode(answer) // the client is gone, then
}

// publish makes kids the ones whose keys are published; new ones get a key.
func (i *keyIssuer) publish(t *testing.T, kids ...string) {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	next := map[string]*ecdsa.PrivateKey{}
	for _, kid := range kids {
		key := i.keys[kid]
		if key == nil {
			var err error
			if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
				t.Fatal(err)
			}
		}
		next[kid] = key
	}
	i.keys = next
}

// token of alice, signed by the key of signer and saying that it is that of kid.
func (i *keyIssuer) token(t *testing.T, signer, kid string) string {
	t.Helper()
	i.mu.Lock()
	key := i.keys[signer]
	i.mu.Unlock()
	now := time.Now().Unix()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": i.server.URL, "aud": audience, "sub": "alice", "client_id": "cli", "jti": rand.Text(), "scope": "read", "iat": now, "exp": now + 3600,
	})
	token.Header["typ"], token.Header["kid"] = "at+jwt", kid
	raw, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// keyed is a site with one route for users, whose tokens are those of the issuer.
func keyed(t *testing.T, i *keyIssuer, keys string) (*site, map[string]string) {
	t.Helper()
	s := newSite(t, "lobby")
	m := s.manifests(s.route("users", "plain", "/", "lobby", "token"))
	for name, text := range m {
		text = strings.Replace(text, fmt.Sprintf("issuer: http://127.0.0.1:%d", s.issuer), "issuer: "+i.server.URL, 1)
		m[name] = strings.Replace(text, "keys: {development: {}}", "keys: "+keys, 1)
	}
	return s, m
}

func statusOf(t *testing.T, s *site, token string) int {
	t.Helper()
	r, err := testenv.Get(t.Context(), testenv.Request{Addr: s.frontAddr(), Path: "/", Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return r.Status
}

func issuerNow(e *testenv.Env) admin.Issuer { return e.Status().Issuers[0] }

// A fresh key is good in the first request that uses it; one that is gone is good for nothing, cached or not; a start without the issuer
// has the last good keys.
func TestKeysRotateAndOutliveTheIssuer(t *testing.T) {
	t.Parallel()
	i := newKeyIssuer(t, false, "one")
	s, manifests := keyed(t, i, "{url: "+i.server.URL+"/keys}")
	e := testenv.Start(t, testenv.Options{Manifests: manifests})
	old := i.token(t, "one", "one")
	for range 3 {
		if got := statusOf(t, s, old); got != http.StatusOK {
			t.Fatalf("status %d, want 200", got)
		}
	}
	i.publish(t, "two")
	asked := i.asked.Load()
	fresh := i.token(t, "two", "two")
	if got := statusOf(t, s, fresh); got != http.StatusOK {
		t.Errorf("the first token of a fresh key: %d", got)
	}
	if got := i.asked.Load() - asked; got != 1 {
		t.Errorf("%d fetches, want 1", got)
	}
	if got := statusOf(t, s, old); got != http.StatusUnauthorized {
		t.Errorf("a cached token whose key is gone: %d", got)
	}
	if err := e.Stop(); err != nil {
		t.Fatal(err)
	}
	i.server.Close()

	e = testenv.Start(t, testenv.Options{Work: e.Work})
	if got := statusOf(t, s, fresh); got != http.StatusOK {
		t.Errorf("without the issuer: %d", got)
	}
	if got := statusOf(t, s, old); got != http.StatusServiceUnavailable {
		t.Errorf("a kid that nobody can be asked for: %d", got)
	}
	st := e.Status()
	if now := st.Issuers[0]; !now.Restored || now.Keys != 1 || now.Error == "" || now.Until.IsZero() || len(st.Degraded) != 1 || !st.Ready {
		t.Errorf("status %+v, degraded %q", now, st.Degraded)
	}
}

// A start without any key answers 503 and is not ready; it heals by itself. Metadata, and a private CA by a path beside the manifest.
func TestKeysStartWithoutAny(t *testing.T) {
	t.Parallel()
	i := newKeyIssuer(t, true, "one")
	s, manifests := keyed(t, i, "{discovery: {}, caFile: ca.pem}")
	e := testenv.New(t, testenv.Options{Manifests: manifests})
	token := i.token(t, "one", "one")
	e.Await("a gateway that answers", func() string {
		r, err := testenv.Get(t.Context(), testenv.Request{Addr: s.frontAddr(), Path: "/", Token: token})
		if err != nil {
			return err.Error()
		}
		if r.Status != http.StatusServiceUnavailable {
			return fmt.Sprint(r.Status)
		}
		return ""
	})
	e.Await("the reason", func() string {
		st := e.Status()
		if st.Ready || len(st.NotReady) != 1 || !strings.Contains(st.NotReady[0], "issuer default/dev has no keys yet: ") || !strings.Contains(st.NotReady[0], "ca.pem") {
			return fmt.Sprint(st.NotReady)
		}
		return ""
	})
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.server.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(e.Dir, "ca.pem"), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	e.Await("the keys", func() string {
		if got := statusOf(t, s, token); got != http.StatusOK {
			return fmt.Sprint(got)
		}
		return ""
	})
	e.Await("ready", func() string {
		if st := e.Status(); !st.Ready || len(st.Degraded) > 0 {
			return fmt.Sprint(st.NotReady, st.Degraded)
		}
		return ""
	})
	if now := issuerNow(e); now.Keys != 1 || now.Error != "" || now.Restored || now.Updated.IsZero() || now.Next.IsZero() {
		t.Errorf("status %+v", now)
	}
}

// Several issuers on one route: each is judged by its own keys, whatever the kid says, and one that is down harms nobody else.
func TestKeysOfSeveralIssuers(t *testing.T) {
	t.Parallel()
	a, b := newKeyIssuer(t, false, "k"), newKeyIssuer(t, false, "k")
	s, manifests := keyed(t, a, "{url: "+a.server.URL+"/keys}")
	manifests["second.yaml"] = fmt.Sprintf(`apiVersion: credence.mesh/v1alpha1
kind: TokenIssuer
metadata: {name: second}
spec:
  issuer: %[1]s
  audiences: [%[2]s]
  keys: {url: %[1]s/keys}
`, b.server.URL, audience)
	for name, text := range manifests {
		manifests[name] = strings.ReplaceAll(text, "issuers: [dev]", "issuers: [dev, second]")
	}
	e := testenv.Start(t, testenv.Options{Manifests: manifests})
	for name, i := range map[string]*keyIssuer{"first": a, "second": b} {
		if got := statusOf(t, s, i.token(t, "k", "k")); got != http.StatusOK {
			t.Errorf("%s: %d", name, got)
		}
	}
	a.mu.Lock()
	own := a.keys
	a.keys = b.keys
	a.mu.Unlock()
	forged := a.token(t, "k", "k") // says that it is of the first, signed by the second
	a.mu.Lock()
	a.keys = own
	a.mu.Unlock()
	if got := statusOf(t, s, forged); got != http.StatusUnauthorized {
		t.Errorf("signed by the other issuer: %d", got)
	}
	b.server.CloseClientConnections()
	b.server.Close()
	a.publish(t, "k", "next")
	if got := statusOf(t, s, b.token(t, "k", "unknown")); got != http.StatusServiceUnavailable {
		t.Errorf("an unknown kid of the one that is down: %d", got)
	}
	for _, token := range []string{a.token(t, "next", "next"), b.token(t, "k", "k")} {
		if got := statusOf(t, s, token); got != http.StatusOK {
			t.Errorf("while one is down: %d", got)
		}
	}
	if st := e.Status(); !st.Ready || len(st.Degraded) != 1 || !strings.Contains(st.Degraded[0], "default/second") {
		t.Errorf("ready: %v, degraded: %q", st.Ready, st.Degraded)
	}
}

// 50 forged tokens with unknown kids a second for a minute: at most the allowed fetches, and good tokens are answered all the time. Their
// latency is printed beside that of the time before.
func TestKeysUnderAttack(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Parallel()
	i := newKeyIssuer(t, false, "one")
	s, manifests := keyed(t, i, "{url: "+i.server.URL+"/keys}")
	testenv.Start(t, testenv.Options{Manifests: manifests})
	const before, length, perSecond = 10 * time.Second, time.Minute, 50

	quiet := goodTokens(t, s, i, before)
	var mu sync.Mutex
	answers := map[int]int{}
	var wg sync.WaitGroup
	asked, begin := i.asked.Load(), time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		tick := time.NewTicker(time.Second / perSecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			forged := i.token(t, "one", rand.Text())
			wg.Go(func() {
				r, err := testenv.Get(t.Context(), testenv.Request{Addr: s.frontAddr(), Path: "/", Token: forged})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				answers[r.Status]++
				mu.Unlock()
			})
		}
	})
	attacked := goodTokens(t, s, i, length)
	wg.Wait()
	took := time.Since(begin)
	fetches := int(i.asked.Load() - asked)
	// Three at once and one in 10 s for kids, one a minute (less a tenth) on time.
	allowed := 3 + int(took/(10*time.Second)) + 1 + int(took/(54*time.Second))
	t.Logf("%v forged tokens answered by status, %d fetches, %d allowed", answers, fetches, allowed)
	t.Logf("good tokens before: %s", figures(quiet))
	t.Logf("good tokens during: %s", figures(attacked))
	if fetches > allowed || fetches < 3 {
		t.Errorf("%d fetches, want 3 to %d", fetches, allowed)
	}
	if forged := answers[http.StatusUnauthorized] + answers[http.StatusServiceUnavailable]; answers[http.StatusUnauthorized] < 1000 || len(answers) > 2 || forged < 1000 {
		t.Errorf("answers to forged tokens: %v", answers)
	}
}

// goodTokens sends fresh good tokens for d, 20 a second, and returns how long each took.
func goodTokens(t *testing.T, s *site, i *keyIssuer, d time.Duration) []time.Duration {
	t.Helper()
	var took []time.Duration
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
		token, begin := i.token(t, "one", "one"), time.Now()
		if got := statusOf(t, s, token); got != http.StatusOK {
			t.Fatalf("a good token: %d", got)
		}
		took = append(took, time.Since(begin))
	}
	return took
}

func figures(took []time.Duration) string {
	slices.Sort(took)
	at := func(part float64) time.Duration {
		return took[int(part*float64(len(took)-1))].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("%d requests, median %v, 95 %% %v, 99 %% %v", len(took), at(.5), at(.95), at(.99))
}
