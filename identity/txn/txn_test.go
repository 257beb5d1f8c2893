package txn_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/credence-mesh/credence/identity/txn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mesh serves a JWKS and signs.
type mesh struct {
	*httptest.Server
	keys    map[string]ed25519.PrivateKey
	status  atomic.Int64
	fetches atomic.Int64
}

func newMesh(t *testing.T, kids ...string) *mesh {
	t.Helper()
	m := &mesh{keys: map[string]ed25519.PrivateKey{}}
	m.status.Store(http.StatusOK)
	for _, kid := range kids {
		m.add(t, kid)
	}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		m.fetches.Add(1)
		w.WriteHeader(int(m.status.Load()))
		list := []map[string]string{{"kty": "oct", "k": "AAAA", "kid": "secret"}}
		for kid, k := range m.keys {
			public, _ := k.Public().(ed25519.PublicKey)
			list = append(list, map[string]string{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(public), "kid": kid, "alg": "EdDSA", "use": "sig"})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": list}) // a client that is gone
	}))
	t.Cleanup(func() { m.Close(); http.DefaultTransport.(*http.Transport).CloseIdleConnections() })
	return m
}

func (m *mesh) add(t *testing.T, kid string) {
	t.Helper()
	_, k, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	m.keys[kid] = k
}

func good() (header, claims map[string]any) {
	now := time.Now().Unix()
	return map[string]any{"typ": "txntoken+jwt", "alg": "EdDSA", "kid": "a"}, map[string]any{
		"iss": "https://credence.shop.example", "aud": "spiffe://shop.example", "iat": now, "exp": now + 60, "jti": "j", "txn": "t", "sub": "usr_x",
		"scope": "orders.read x", "req_wl": "spiffe://shop.example/ns/default/gw/edge", "azp": "shop-web",
		"tctx": map[string]any{"u_iss": "https://i.example", "u_sub": "alice", "roles": []string{"buyer"}, "claims": map[string]any{"tenant": "eu"}},
	}
}

func sign(t *testing.T, k ed25519.PrivateKey, header, claims map[string]any) string {
	t.Helper()
	var signed string
	for i, v := range []any{header, claims} {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			signed += "."
		}
		signed += base64.RawURLEncoding.EncodeToString(data)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(k, []byte(signed)))
}

func request(t *testing.T, tokens ...string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	for _, v := range tokens {
		r.Header.Add(txn.Header, v)
	}
	return r
}

func TestVerify(t *testing.T) {
	m := newMesh(t, "a")
	tokens := txn.New(m.URL, "shop.example")
	h, c := good()
	raw := sign(t, m.keys["a"], h, c)
	for range 3 {
		f, err := tokens.Verify(request(t, raw))
		if err != nil {
			t.Fatal(err)
		}
		if f.User != "alice" || f.Subject != "usr_x" || !f.HasScope("orders.read") || f.HasScope("orders") || f.Client != "shop-web" || f.Claims["tenant"] != "eu" ||
			f.Requester != "spiffe://shop.example/ns/default/gw/edge" || len(f.Roles) != 1 || f.Transaction != "t" || f.Issuer != "https://i.example" {
			t.Errorf("%+v", f)
		}
	}
	if n := m.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
	if _, err := tokens.Verify(request(t)); !errors.Is(err, txn.ErrMissing) {
		t.Errorf("none: %v", err)
	}
	if _, err := tokens.Verify(request(t, raw, raw)); !errors.Is(err, txn.ErrInvalid) {
		t.Errorf("two: %v", err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	m := newMesh(t, "a")
	tokens := txn.New(m.URL, "shop.example")
	_, foreign, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	for name, change := range map[string]func(h, c map[string]any) ed25519.PrivateKey{
		"forged":      func(_, _ map[string]any) ed25519.PrivateKey { return foreign },
		"typ":         func(h, _ map[string]any) ed25519.PrivateKey { h["typ"] = "at+jwt"; return nil },
		"no typ":      func(h, _ map[string]any) ed25519.PrivateKey { delete(h, "typ"); return nil },
		"no kid":      func(h, _ map[string]any) ed25519.PrivateKey { delete(h, "kid"); return nil },
		"unknown kid": func(h, _ map[string]any) ed25519.PrivateKey { h["kid"] = "b"; return nil },
		"none":        func(h, _ map[string]any) ed25519.PrivateKey { h["alg"] = "none"; return nil },
		"HS256":       func(h, _ map[string]any) ed25519.PrivateKey { h["alg"], h["kid"] = "HS256", "secret"; return nil },
		"crit":        func(h, _ map[string]any) ed25519.PrivateKey { h["crit"] = []string{"x"}; return nil },
		"iss":         func(_, c map[string]any) ed25519.PrivateKey { c["iss"] = "https://credence.other"; return nil },
		"aud":         func(_, c map[string]any) ed25519.PrivateKey { c["aud"] = "spiffe://other"; return nil },
		"aud and another": func(_, c map[string]any) ed25519.PrivateKey {
			c["aud"] = []string{"spiffe://shop.example", "x"}
			return nil
		},
		"expired":          func(_, c map[string]any) ed25519.PrivateKey { c["iat"], c["exp"] = now-100, now-10; return nil },
		"no exp":           func(_, c map[string]any) ed25519.PrivateKey { delete(c, "exp"); return nil },
		"no iat":           func(_, c map[string]any) ed25519.PrivateKey { delete(c, "iat"); return nil },
		"tomorrow":         func(_, c map[string]any) ed25519.PrivateKey { c["iat"], c["exp"] = now+1000, now+1060; return nil },
		"an hour":          func(_, c map[string]any) ed25519.PrivateKey { c["exp"] = now + 3600; return nil },
		"req_wl":           func(_, c map[string]any) ed25519.PrivateKey { c["req_wl"] = "spiffe://shop.example.evil/x"; return nil },
		"scope of a list":  func(_, c map[string]any) ed25519.PrivateKey { c["scope"] = []string{"a"}; return nil },
		"no user":          func(_, c map[string]any) ed25519.PrivateKey { c["tctx"] = map[string]any{}; return nil },
		"tctx of a string": func(_, c map[string]any) ed25519.PrivateKey { c["tctx"] = "x"; return nil },
	} {
		h, c := good()
		k := change(h, c)
		if k == nil {
			k = m.keys["a"]
		}
		if f, err := tokens.Verify(request(t, sign(t, k, maps.Clone(h), c))); !errors.Is(err, txn.ErrInvalid) || f != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, raw := range []string{"", "x", "a.b.c", string(make([]byte, 5000))} {
		if _, err := tokens.VerifyToken(t.Context(), raw); !errors.Is(err, txn.ErrInvalid) {
			t.Errorf("%.10q: %v", raw, err)
		}
	}
}

// TestKeys: a new one is read at once, made-up ones have nobody asked more than every two seconds, and an outage is no fault of the token.
func TestKeys(t *testing.T) {
	m := newMesh(t, "a")
	now := time.Now()
	tokens := txn.New(m.URL, "shop.example", txn.WithClock(func() time.Time { return now }))
	h, c := good()
	verify := func(kid string) error {
		h["kid"] = kid
		_, err := tokens.Verify(request(t, sign(t, m.keys[kid], h, c)))
		return err
	}
	m.status.Store(http.StatusBadGateway)
	if err := verify("a"); !errors.Is(err, txn.ErrUnavailable) {
		t.Errorf("outage: %v", err)
	}
	m.status.Store(http.StatusOK)
	now = now.Add(2 * time.Second)
	if err := verify("a"); err != nil {
		t.Error(err)
	}
	m.add(t, "b")
	now = now.Add(2 * time.Second)
	if err := verify("b"); err != nil {
		t.Errorf("a new key: %v", err)
	}
	before := m.fetches.Load()
	for i := range 100 {
		kid := fmt.Sprint("made-up-", i)
		h["kid"] = kid
		if _, err := tokens.Verify(request(t, sign(t, m.keys["a"], h, c))); !errors.Is(err, txn.ErrInvalid) {
			t.Fatal(err)
		}
	}
	if n := m.fetches.Load() - before; n != 0 {
		t.Errorf("%d fetches for made-up keys", n)
	}
	m.status.Store(http.StatusInternalServerError)
	now = now.Add(time.Minute / 2)
	if err := verify("a"); err != nil {
		t.Errorf("a known key in an outage: %v", err)
	}
}
