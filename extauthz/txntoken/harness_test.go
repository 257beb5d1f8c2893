package txntoken_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/credence-mesh/credence/extauthz/txntoken"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

const requester = "spiffe://shop.example/ns/default/gw/edge"

func meshOf(change ...func(*policy.InternalTokens)) *policy.Mesh {
	m := &policy.Mesh{TrustDomain: "shop.example", InternalTokens: &policy.InternalTokens{
		Issuer: "https://credence.shop.example", TTL: time.Minute, RotateEvery: 24 * time.Hour,
	}}
	for _, f := range change {
		f(m.InternalTokens)
	}
	return m
}

func open(t testing.TB, dir string) (*txntoken.Keys, *txntoken.Minter) {
	t.Helper()
	k, err := txntoken.OpenKeys(txntoken.KeysOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return k, txntoken.NewMinter(txntoken.MinterOptions{Keys: k})
}

func publish(t testing.TB, m *txntoken.Minter, mesh *policy.Mesh) *txntoken.Verifier {
	t.Helper()
	if err := m.Publish(mesh); err != nil {
		t.Fatal(err)
	}
	v, err := m.Snapshot(mesh)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func alice() *decide.User {
	return &decide.User{
		Issuer: policy.Name{Namespace: "default", Name: "main"}, IssuerURL: "https://issuer.example", Subject: "alice@example.com", Client: "shop-web",
		Scopes: []string{"orders.read", "orders.write"}, Credential: policy.BearerToken, Origin: policy.BearerToken, Roles: []string{"buyer"},
		Groups: []string{"eu"}, TokenID: "outer", IssuedAt: time.Now().Truncate(time.Second).UTC(), ACR: "mfa", AuthTime: time.Now().Add(-time.Hour).Truncate(time.Second).UTC(),
		Claims: map[string]any{
			"email": "alice@example.com", "limit": decide.Number("12345678901234567890.5"), "amr": []any{"pwd", "otp"},
			"realm": map[string]any{"roles": []any{"a", "b"}, "secret": "x"},
		},
	}
}

func asking(u *decide.User) *txntoken.Request {
	return &txntoken.Request{
		User: u, Requester: requester, Scopes: []string{"orders.read", "payments.write"}, Claims: [][]string{{"limit"}, {"realm", "roles"}, {"none"}},
		Route: "r1", Method: "GET", URL: "https://shop.example/orders", ClientIP: "192.0.2.7",
	}
}

func mint(t testing.TB, m *txntoken.Minter, r *txntoken.Request) string {
	t.Helper()
	token, err := m.Mint(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func claimsOf(t testing.TB, raw string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(raw, ".")
	for i, to := range []*map[string]any{&header, &claims} {
		data, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(strings.NewReader(string(data)))
		d.UseNumber()
		if err := d.Decode(to); err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}

// join makes a token of any header and claims, signed by key.
func join(t testing.TB, header, claims map[string]any, key ed25519.PrivateKey) string {
	t.Helper()
	var parts []string
	for _, v := range []map[string]any{header, claims} {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(data))
	}
	signed := strings.Join(parts, ".")
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(signed)))
}

func kids(t testing.TB, k *txntoken.Keys) []string {
	t.Helper()
	document, _ := k.JWKS()
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	if err := json.Unmarshal(document, &set); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range set.Keys {
		if e["kty"] != "OKP" || e["crv"] != "Ed25519" || e["use"] != "sig" || e["alg"] != "EdDSA" || len(e) != 6 {
			t.Fatalf("key %v", e)
		}
		out = append(out, e["kid"])
	}
	return out
}

// inBubble runs f where time is fake.
func inBubble(t *testing.T, f func(*testing.T)) { synctest.Test(t, f) }
