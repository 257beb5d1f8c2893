package jwks_test

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/credence-mesh/credence/extauthz/jwks"
)

// FuzzParse: whatever an issuer answers, there is a set or an error, never a panic; what is in the set can be looked up by what the
// document says of it, and is for an algorithm that was asked for.
func FuzzParse(f *testing.F) {
	k := keys()
	f.Add(document(k.rsa.with("kid", "a"), k.rsa2.with("kid", "a"), k.p256.with("kid", "b").with("alg", "ES256")))
	f.Add(document(k.ed, k.p521.with("use", "enc"), k.p384.with("key_ops", []string{"verify"})))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB"},null,7,{}]}`))
	f.Add([]byte("<html>"))
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := jwks.Parse(text, all)
		if err != nil {
			if set != nil {
				t.Fatal("a set beside an error")
			}
			return
		}
		var doc struct {
			Keys []map[string]any `json:"keys"`
		}
		_ = json.Unmarshal(text, &doc) // a kid that is found there is tried; others are found by none
		for _, member := range doc.Keys {
			kid, _ := member["kid"].(string)
			for _, alg := range append(slices.Clone(all), "none", "HS256") {
				if key, ok := set.Lookup(kid, alg); ok && (key.Algorithm != alg || !slices.Contains(all, alg) || (kid != "" && key.ID != kid)) {
					t.Fatalf("%q for %s is %+v", kid, alg, key)
				}
			}
		}
	})
}

// FuzzMetadata: whatever the metadata says, the address of the keys is https, or permitted http, of a host and without a user.
func FuzzMetadata(f *testing.F) {
	f.Add([]byte(metadata("https://idp.example", "https://keys.example/keys")), false)
	f.Add([]byte(metadata("https://idp.example", "http://idp.example/keys")), true)
	f.Add([]byte(metadata("https://idp.example", "https://u@keys.example:99999/#x")), false)
	f.Add([]byte(`{"issuer":"https://idp.example","jwks_uri":"//x"}`), true)
	f.Fuzz(func(t *testing.T, body []byte, insecure bool) {
		got, err := jwks.KeysURL(body, insecure)
		if err != nil {
			return
		}
		u, err := url.Parse(got) //nolint:forbidigo // what is tested
		if err != nil {
			t.Fatal(err)
		}
		host := strings.ToLower(u.Hostname())
		local := host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.") || strings.HasPrefix(host, "::ffff:")
		plain := u.Scheme == "http" && (local || (insecure && host == "idp.example"))
		if host == "" || u.User != nil || u.Fragment != "" || (u.Scheme != "https" && !plain) {
			t.Fatalf("%q is taken", got)
		}
	})
}
