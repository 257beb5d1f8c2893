package jwks_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/policy"
)

// Requirement 7: a key that names an issuer is for no other; its variable stands for a tenant, in its own place only.
func TestKeys7KeyOfAnIssuer(t *testing.T) {
	const shared = "https://login.example/{tenantid}/v2.0"
	for _, c := range []struct {
		named, iss, tenant string
		want               bool
	}{
		{"", "https://login.example/a/v2.0", "a", true},
		{"https://login.example/a/v2.0", "https://login.example/a/v2.0", "a", true},
		{"https://login.example/a/v2.0", "https://login.example/b/v2.0", "b", false},
		{"https://login.example/a/v2.0", "https://login.example/a/v2.0/", "", false},
		{"https://login.example/A/v2.0", "https://login.example/a/v2.0", "a", false},
		{shared, "https://login.example/a/v2.0", "a", true},
		{shared, "https://login.example/a/v2.0", "", true},
		{shared, "https://login.example/a/v2.0", "b", false},
		{shared, "https://login.example//v2.0", "", false},
		{shared, "https://login.example/v2.0", "", false},
		{shared, "https://login.example/a/b/v2.0", "", false},
		{shared, "https://login.example/a?/v2.0", "", false},
		{shared, "https://login.example/a/v2.0/v2.0", "a", false},
		{shared, "https://evil.example/a/v2.0", "a", false},
		{shared, "https://sts.example/a/", "a", false},
		{"https://login.example/{TenantID}/v2.0", "https://login.example/a/v2.0", "a", false},
		{"https://login.example/{tid}/v2.0", "https://login.example/a/v2.0", "a", false},
		{"{tenantid}", "https://login.example/a/v2.0", "", false},
		{"{tenantid}/{tenantid}", "a/a", "a", false},
		{"https://aba.example/{tenantid}aba", "https://aba.example/aba", "", false},
	} {
		key := &jwks.Key{Issuer: c.named}
		if got := key.For(c.iss, c.tenant); got != c.want {
			t.Errorf("%q for %q (%q): %v", c.named, c.iss, c.tenant, got)
		}
	}
	set, err := jwks.Parse(document(keys().p256.with("kid", "k").with("issuer", 7)), all)
	if err != nil || set.Len() != 0 {
		t.Errorf("an issuer of another type: %d keys, %v", set.Len(), err)
	}
}

// keyFor is the issuer of the key "one", "-" where there is none.
func keyFor(s *jwks.Source) string {
	k, ok := s.Set().Lookup("one", "ES256")
	if !ok {
		return "-"
	}
	return k.Issuer
}

// Where the manifest writes an issuer out apart from what the metadata names, the metadata's own keys are those of that issuer (Entra's v1
// tokens are verified with keys that name the v2 issuer), and another issuer's key in the same set is not; after a restart too.
func TestKeys7KeyOfTheIssuerThatMetadataNames(t *testing.T) {
	const (
		v2, shared, other = "https://login.example/a/v2.0", "https://login.example/{tenantid}/v2.0", "https://login.example/b/v2.0"
		keysURL           = "https://login.example/keys"
	)
	for _, c := range []struct{ name, issuer, metadata, key, want string }{
		{"v1, metadata of the tenant", "https://sts.example/a/", v2, v2, ""},
		{"v1, key of all tenants", "https://sts.example/a/", v2, shared, ""},
		{"v1, metadata of all tenants", "https://sts.example/a/", shared, shared, ""},
		{"v1, another tenant's key", "https://sts.example/a/", v2, other, other},
		{"v1, one tenant's key in the metadata of all", "https://sts.example/a/", shared, other, other},
		{"v2", v2, v2, v2, v2},
		{"v2, key of all tenants", v2, v2, shared, shared},
		{"v2, another tenant's key", v2, v2, other, other},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := &web{pages: map[string]string{}}
			conf := issuer(policy.KeySource{Discovery: "https://login.example" + metadataPath})
			conf.Issuers = []string{c.issuer}
			w.set(conf.Keys.Discovery, metadata(c.metadata, keysURL))
			w.set(keysURL, string(document(keys().p256.with("kid", "one").with("issuer", c.key))))
			o := jwks.Options{Dir: t.TempDir(), Transport: w}
			run(t, o, conf, time.Second, func(k *jwks.Keys, s *jwks.Source) {
				if got := keyFor(s); got != c.want {
					t.Errorf("%s: the key is for %q, want %q", c.name, got, c.want)
				}
				edited := conf
				edited.Keys.MaxStale = time.Hour
				if got := keyFor(k.Publish([]policy.Issuer{edited})[edited.Name]); got != c.want {
					t.Errorf("%s: after an edit the key is for %q, want %q", c.name, got, c.want)
				}
			})
			w.set(conf.Keys.Discovery, "")
			run(t, o, conf, time.Second, func(_ *jwks.Keys, s *jwks.Source) {
				if got := keyFor(s); got != c.want {
					t.Errorf("%s: after a restart the key is for %q, want %q", c.name, got, c.want)
				}
			})
		})
	}
}

// The same document means another thing once the metadata names another issuer.
func TestKeys7MetadataNamesAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keysURL, v2 = "https://login.example/keys", "https://login.example/a/v2.0"
		w := &web{pages: map[string]string{}}
		conf := issuer(policy.KeySource{Discovery: "https://login.example" + metadataPath})
		w.set(conf.Keys.Discovery, metadata(v2, keysURL))
		w.set(keysURL, string(document(keys().p256.with("kid", "one").with("issuer", v2))))
		run(t, jwks.Options{Transport: w}, conf, time.Second, func(_ *jwks.Keys, s *jwks.Source) {
			if got := keyFor(s); got != "" {
				t.Errorf("the key is for %q", got)
			}
			w.set(conf.Keys.Discovery, metadata("https://login.example/b/v2.0", keysURL))
			pass(2 * time.Hour)
			if got := keyFor(s); got != v2 {
				t.Errorf("the metadata names another issuer, and the key is for %q", got)
			}
		})
	})
}
