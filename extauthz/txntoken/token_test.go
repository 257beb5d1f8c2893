package txntoken_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/extauthz/txntoken"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

func TestATokenSaysWhoAndNoMoreThanIsNeeded(t *testing.T) {
	_, m := open(t, t.TempDir())
	v := publish(t, m, meshOf())
	u := alice()
	raw := mint(t, m, asking(u))
	header, claims := claimsOf(t, raw)
	if header["typ"] != "txntoken+jwt" || header["alg"] != "EdDSA" || header["kid"] == "" || len(header) != 3 {
		t.Errorf("header %v", header)
	}
	if claims["aud"] != "spiffe://shop.example" || claims["iss"] != "https://credence.shop.example" || claims["scope"] != "orders.read" || claims["req_wl"] != requester ||
		claims["azp"] != "shop-web" || strings.Contains(claims["sub"].(string), "alice") {
		t.Errorf("claims %v", claims)
	}
	if diff := cmp.Diff(map[string]any{"req_ip": "192.0.2.7", "htm": "GET", "htu": "https://shop.example/orders"}, claims["rctx"]); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(string(mustJSON(t, claims)), "secret") {
		t.Errorf("a claim that nobody asked for: %v", claims)
	}
	got, err := v.Verify(context.Background(), raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := *u
	want.Credential, want.Scopes, want.Requester, want.Transaction = policy.InternalToken, []string{"orders.read"}, requester, claims["txn"].(string)
	want.Claims = map[string]any{"limit": decide.Number("12345678901234567890.5"), "realm": map[string]any{"roles": []any{"a", "b"}}}
	want.Expires = got.Expires
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if left := time.Until(got.Expires); left > time.Minute || left < 55*time.Second {
		t.Errorf("it lives %s", left)
	}
	if other := mint(t, m, asking(u)); other == raw {
		t.Error("the same token twice")
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSubjectsAreOfTheirIssuer(t *testing.T) {
	_, m := open(t, t.TempDir())
	publish(t, m, meshOf())
	subject := func(change func(*decide.User)) string {
		u := alice()
		change(u)
		_, c := claimsOf(t, mint(t, m, asking(u)))
		return c["sub"].(string)
	}
	one := subject(func(*decide.User) {})
	if one != subject(func(u *decide.User) { u.TokenID = "next" }) {
		t.Error("one user has two subjects")
	}
	for name, f := range map[string]func(*decide.User){
		"issuer": func(u *decide.User) { u.IssuerURL += "/2" }, "user": func(u *decide.User) { u.Subject = "bob" }, "service": func(u *decide.User) { u.Service = true },
		"shifted": func(u *decide.User) { u.IssuerURL, u.Subject = u.IssuerURL+"a", u.Subject[1:] },
	} {
		if subject(f) == one {
			t.Errorf("another %s has the same subject", name)
		}
	}
	if got := subject(func(u *decide.User) {
		*u = decide.User{Credential: policy.PeerIdentity, Subject: "spiffe://shop.example/ns/default/sa/cron", Service: true}
	}); got != "spiffe://shop.example/ns/default/sa/cron" {
		t.Errorf("a workload by itself is %q", got)
	}
}

func TestALifeEndsWithTheCredential(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		_, m := open(t, t.TempDir())
		v := publish(t, m, meshOf())
		for left, want := range map[time.Duration]time.Duration{
			0: time.Minute, time.Hour: time.Minute, 30 * time.Second: 30 * time.Second, time.Second: time.Second,
		} {
			u := alice()
			if left != 0 {
				u.Expires = time.Now().Add(left)
			}
			raw := mint(t, m, asking(u))
			got, err := v.Verify(context.Background(), raw, nil)
			if err != nil || time.Until(got.Expires) != want {
				t.Errorf("%s left: %v, %v", left, got, err)
			}
		}
		// A credential that is accepted within its issuer's leeway all the same gets none.
		for _, left := range []time.Duration{time.Second - time.Nanosecond, 0, -20 * time.Second} {
			u := alice()
			u.Expires = time.Now().Add(left)
			token, err := m.Mint(context.Background(), asking(u))
			if token != "" || !errors.Is(err, credential.ErrInvalid) || credential.Reason(err) != "expired" {
				t.Errorf("%s left: %q, %v", left, token, err)
			}
		}
	})
}

func TestATokenEnds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		_, m := open(t, t.TempDir())
		v := publish(t, m, meshOf())
		raw := mint(t, m, asking(alice()))
		for range 2 { // the second time from the facts that are kept
			if _, err := v.Verify(context.Background(), raw, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(64 * time.Second) //nolint:forbidigo // the bubble's time
		if _, err := v.Verify(context.Background(), raw, nil); err != nil {
			t.Errorf("within the leeway: %v", err)
		}
		time.Sleep(time.Second) //nolint:forbidigo // the bubble's time
		if _, err := v.Verify(context.Background(), raw, nil); !errors.Is(err, credential.ErrInvalid) || credential.Reason(err) != "expired" {
			t.Errorf("got %v", err)
		}
	})
}

// TestWhatIsRefused: txn tokens of anybody but this mesh, also with a signature of ours.
func TestWhatIsRefused(t *testing.T) {
	dir := t.TempDir()
	_, m := open(t, dir)
	v := publish(t, m, meshOf())
	good := mint(t, m, asking(alice()))
	private := privateKey(t, dir)
	_, foreign, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	type change func(h, c map[string]any)
	ahead := time.Now().Add(time.Hour).Unix()
	rows := map[string]struct {
		change change
		reason string
		key    ed25519.PrivateKey
	}{
		"typ JWT":            {func(h, _ map[string]any) { h["typ"] = "JWT" }, "typ", nil},
		"typ at+jwt":         {func(h, _ map[string]any) { h["typ"] = "at+jwt" }, "typ", nil},
		"no typ":             {func(h, _ map[string]any) { delete(h, "typ") }, "typ", nil},
		"no kid":             {func(h, _ map[string]any) { delete(h, "kid") }, "", nil},
		"kid of nobody":      {func(h, _ map[string]any) { h["kid"] = "x" }, "kid_unknown", nil},
		"alg none":           {func(h, _ map[string]any) { h["alg"] = "none" }, "none", nil},
		"alg HS256":          {func(h, _ map[string]any) { h["alg"] = "HS256" }, "alg", nil},
		"key in the header":  {func(h, _ map[string]any) { h["jwk"] = map[string]any{"kty": "OKP"} }, "header", nil},
		"crit":               {func(h, _ map[string]any) { h["crit"] = []any{"x"} }, "crit", nil},
		"forged":             {func(_, _ map[string]any) {}, "signature", foreign},
		"iss":                {func(_, c map[string]any) { c["iss"] = "https://credence.other.example" }, "issuer", nil},
		"aud of another":     {func(_, c map[string]any) { c["aud"] = "spiffe://other.example" }, "audience", nil},
		"aud is a list":      {func(_, c map[string]any) { c["aud"] = []any{"spiffe://shop.example"} }, "claim", nil},
		"aud of two":         {func(_, c map[string]any) { c["aud"] = []any{"spiffe://shop.example", "x"} }, "claim", nil},
		"no aud":             {func(_, c map[string]any) { delete(c, "aud") }, "claim", nil},
		"no exp":             {func(_, c map[string]any) { delete(c, "exp") }, "claim", nil},
		"no iat":             {func(_, c map[string]any) { delete(c, "iat") }, "claim", nil},
		"no txn":             {func(_, c map[string]any) { delete(c, "txn") }, "claim", nil},
		"no sub":             {func(_, c map[string]any) { delete(c, "sub") }, "claim", nil},
		"no jti":             {func(_, c map[string]any) { delete(c, "jti") }, "claim", nil},
		"no tctx":            {func(_, c map[string]any) { delete(c, "tctx") }, "claim", nil},
		"no req_wl":          {func(_, c map[string]any) { delete(c, "req_wl") }, "claim", nil},
		"req_wl of another":  {func(_, c map[string]any) { c["req_wl"] = "spiffe://shop.example.evil/ns/a" }, "requester", nil},
		"exp is text":        {func(_, c map[string]any) { c["exp"] = "9999999999" }, "claim", nil},
		"lives too long":     {func(_, c map[string]any) { c["exp"] = time.Now().Unix() + 400 }, "lifetime", nil},
		"from tomorrow":      {func(_, c map[string]any) { c["iat"], c["exp"] = ahead, ahead+60 }, "issued_in_future", nil},
		"ended":              {func(_, c map[string]any) { c["iat"], c["exp"] = ahead-7200, ahead-7140 }, "expired", nil},
		"ends at its start":  {func(_, c map[string]any) { c["exp"] = c["iat"] }, "lifetime", nil},
		"origin of its own":  {func(_, c map[string]any) { c["tctx"].(map[string]any)["origin"] = "internal_token" }, "claim", nil},
		"origin unknown":     {func(_, c map[string]any) { c["tctx"].(map[string]any)["origin"] = "magic" }, "claim", nil},
		"roles are a string": {func(_, c map[string]any) { c["tctx"].(map[string]any)["roles"] = "admin" }, "claim", nil},
		"claims are a list":  {func(_, c map[string]any) { c["tctx"].(map[string]any)["claims"] = []any{} }, "claim", nil},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			h, c := claimsOf(t, good)
			h, c = maps.Clone(h), maps.Clone(c)
			row.change(h, c)
			key := row.key
			if key == nil {
				key = private
			}
			_, err := v.Verify(context.Background(), join(t, h, c, key), nil)
			if !errors.Is(err, credential.ErrInvalid) || row.reason != "" && credential.Reason(err) != row.reason {
				t.Errorf("got %v", err)
			}
		})
	}
	h, c := claimsOf(t, good)
	if _, err := v.Verify(context.Background(), join(t, h, c, private), nil); err != nil {
		t.Errorf("the way that the rows are made is not good itself: %v", err)
	}
}

// TestNoPartCanBeReplaced: scope, req_wl and every other claim are under the signature.
func TestNoPartCanBeReplaced(t *testing.T) {
	_, m := open(t, t.TempDir())
	v := publish(t, m, meshOf())
	good := mint(t, m, asking(alice()))
	parts := strings.Split(good, ".")
	for name, change := range map[string]func(c map[string]any){
		"grown scope":     func(c map[string]any) { c["scope"] = "orders.read orders.write" },
		"another req_wl":  func(c map[string]any) { c["req_wl"] = "spiffe://shop.example/ns/default/sa/payments" },
		"another user":    func(c map[string]any) { c["tctx"].(map[string]any)["u_sub"] = "root" },
		"a longer life":   func(c map[string]any) { c["exp"] = time.Now().Unix() + 290 },
		"another role":    func(c map[string]any) { c["tctx"].(map[string]any)["roles"] = []any{"admin"} },
		"another acr":     func(c map[string]any) { c["tctx"].(map[string]any)["acr"] = "hw" },
		"another request": func(c map[string]any) { c["txn"] = "x" },
	} {
		_, c := claimsOf(t, good)
		change(c)
		forged := parts[0] + "." + base64.RawURLEncoding.EncodeToString(mustJSON(t, c)) + "." + parts[2]
		if _, err := v.Verify(context.Background(), forged, nil); credential.Reason(err) != "signature" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, raw := range map[string]string{
		"empty": "", "two parts": parts[0] + "." + parts[1], "no signature": parts[0] + "." + parts[1] + ".", "a blank": good + " ", "padding": good + "=",
		"two tokens": good + "," + good, "too large": good + strings.Repeat("A", 5000),
	} {
		if _, err := v.Verify(context.Background(), raw, nil); !errors.Is(err, credential.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// privateKey reads the key that signs.
func privateKey(t testing.TB, dir string) ed25519.PrivateKey {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, txntoken.KeysFile))
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Keys []struct{ Seed []byte }
	}
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	return ed25519.NewKeyFromSeed(f.Keys[0].Seed)
}

func TestOtherMeshesAndNone(t *testing.T) {
	_, m := open(t, t.TempDir())
	if _, err := m.Mint(context.Background(), asking(alice())); !errors.Is(err, txntoken.ErrOff) {
		t.Errorf("before Publish: %v", err)
	}
	v := publish(t, m, meshOf())
	raw := mint(t, m, asking(alice()))
	_, other := open(t, t.TempDir())
	if _, err := publish(t, other, meshOf()).Verify(context.Background(), raw, nil); !errors.Is(err, credential.ErrInvalid) {
		t.Errorf("a mesh of the same name with other keys: %v", err)
	}
	renamed := meshOf(func(c *policy.InternalTokens) { c.Issuer = "https://new.example" })
	if _, err := publish(t, m, renamed).Verify(context.Background(), raw, nil); credential.Reason(err) != "issuer" {
		t.Errorf("renamed: %v", err)
	}
	if _, err := v.Verify(context.Background(), raw, nil); err != nil {
		t.Errorf("the snapshot of the old Set: %v", err)
	}
	if v := publish(t, m, &policy.Mesh{TrustDomain: "shop.example"}); v != nil {
		t.Error("a verifier of a mesh without internal tokens")
	}
	if _, err := m.Mint(context.Background(), asking(alice())); !errors.Is(err, txntoken.ErrOff) {
		t.Errorf("turned off: %v", err)
	}
}

func TestWhatCannotBeMinted(t *testing.T) {
	_, m := open(t, t.TempDir())
	publish(t, m, meshOf())
	for name, change := range map[string]func(*txntoken.Request){
		"no user": func(r *txntoken.Request) { r.User = nil }, "no subject": func(r *txntoken.Request) { r.User.Subject = "" },
		"no requester": func(r *txntoken.Request) { r.Requester = "" }, "a foreign requester": func(r *txntoken.Request) { r.Requester = "spiffe://other.example/x" },
		"groups without end": func(r *txntoken.Request) { r.User.Groups = []string{strings.Repeat("g", 5000)} },
		"a large claim": func(r *txntoken.Request) {
			r.User.Claims["limit"] = strings.Repeat("x", 3000)
		},
	} {
		r := asking(alice())
		change(r)
		if token, err := m.Mint(context.Background(), r); err == nil || token != "" {
			t.Errorf("%s: minted", name)
		}
	}
}

func TestCachedTokensServeOneUserAndRouteForHalfTheirLife(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		_, m := open(t, t.TempDir())
		publish(t, m, meshOf(func(c *policy.InternalTokens) { c.Cached = true }))
		u := alice()
		first := mint(t, m, asking(u))
		if _, c := claimsOf(t, first); c["rctx"] != nil {
			t.Errorf("a token for many requests speaks of one: %v", c["rctx"])
		}
		if mint(t, m, asking(u)) != first {
			t.Error("made anew")
		}
		for name, change := range map[string]func(*txntoken.Request){
			"user": func(r *txntoken.Request) { r.User = alice() }, "route": func(r *txntoken.Request) { r.Route = "r2" },
			"scopes": func(r *txntoken.Request) { r.Scopes = nil }, "claims": func(r *txntoken.Request) { r.Claims = nil },
			"requester": func(r *txntoken.Request) { r.Requester += "2" },
		} {
			r := asking(u)
			change(r)
			if mint(t, m, r) == first {
				t.Errorf("another %s gets the same token", name)
			}
		}
		time.Sleep(29 * time.Second) //nolint:forbidigo // the bubble's time
		if mint(t, m, asking(u)) != first {
			t.Error("made anew before half its life")
		}
		time.Sleep(2 * time.Second) //nolint:forbidigo // the bubble's time
		if mint(t, m, asking(u)) == first {
			t.Error("older than half its life")
		}
	})
}
