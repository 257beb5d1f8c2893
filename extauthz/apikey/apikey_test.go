package apikey_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/credence-mesh/credence/extauthz/apikey"
	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	now      = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	partners = policy.Name{Namespace: "default", Name: "partners"}
	others   = policy.Name{Namespace: "default", Name: "others"}
)

const existing = "c0ffee00c0ffee00c0ffee00c0ffee00"

func generate(t testing.TB, prefix string) apikey.Key {
	t.Helper()
	k, err := apikey.Generate(prefix)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// keys are two Credentials: partners has a key of our form, one that has expired, and an existing one; others has one of its own.
func keys(t testing.TB) (v *apikey.Verifier, good, expired, other apikey.Key) {
	t.Helper()
	good, expired, other = generate(t, "shop"), generate(t, "shop"), generate(t, "else")
	v = apikey.New(apikey.Options{Now: func() time.Time { return now }})
	v.Publish([]policy.Credentials{
		{Name: partners, KeyPrefix: "shop", APIKeys: []policy.APIKeyEntry{
			{SHA256: apikey.Hash(existing), Subject: "old-partner"},
			{ID: good.ID, SHA256: good.SHA256, Subject: "billing", Grants: policy.Grants{Scopes: []string{"orders:read"}, Roles: []string{"reader"}}},
			{ID: expired.ID, SHA256: expired.SHA256, Subject: "gone", Expires: now},
		}},
		{Name: others, KeyPrefix: "else", APIKeys: []policy.APIKeyEntry{{ID: other.ID, SHA256: other.SHA256, Subject: "other"}}},
	})
	return v, good, expired, other
}

func TestVerify(t *testing.T) {
	v, good, expired, other := keys(t)
	wrong := good.Text[:len(good.Text)-1] + map[bool]string{true: "1", false: "0"}[good.Text[len(good.Text)-1] == '0']
	made := generate(t, "shop").Text
	for name, c := range map[string]struct {
		raw     string
		subject string
		reason  string
		known   bool
	}{
		"good":                        {good.Text, "billing", "", true},
		"existing":                    {existing, "old-partner", "", true},
		"expired":                     {expired.Text, "", apikey.ReasonExpired, true},
		"wrong checksum":              {wrong, "", apikey.ReasonChecksum, true},
		"another case":                {strings.ToLower(good.Text), "", apikey.ReasonChecksum, true},
		"nobody's":                    {made, "", apikey.ReasonUnknown, true},
		"of Credentials not accepted": {other.Text, "", apikey.ReasonUnknown, false},
		"cut off":                     {good.Text[:30], "", apikey.ReasonUnknown, false},
		"existing, another case":      {strings.ToUpper(existing), "", apikey.ReasonUnknown, false},
		"too short":                   {"0123456789abcdef012", "", apikey.ReasonShort, false},
		"empty":                       {"", "", apikey.ReasonShort, false},
		"too long":                    {strings.Repeat("a", 513), "", apikey.ReasonMalformed, false},
		"a blank in it":               {existing[:16] + " " + existing[16:], "", apikey.ReasonMalformed, false},
		"not ASCII":                   {existing + "é", "", apikey.ReasonMalformed, false},
		"its own hash":                {good.SHA256, "", apikey.ReasonUnknown, false},
		"something after it":          {good.Text + "_x", "", apikey.ReasonUnknown, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := v.Snapshot()
			user, err := s.Verify(t.Context(), c.raw, []policy.Name{partners})
			if got := credential.Reason(err); got != c.reason || (err != nil) != (c.reason != "") || err != nil && !errors.Is(err, credential.ErrInvalid) {
				t.Fatalf("%v, want %q", err, c.reason)
			}
			if err != nil && len(c.raw) > 8 && strings.Contains(err.Error(), c.raw[:8]) {
				t.Errorf("the error holds a part of the key: %v", err)
			}
			if err == nil && user.Subject != c.subject || err != nil && user != nil {
				t.Errorf("%+v", user)
			}
			if s.Knows(c.raw, []policy.Name{partners}) != c.known {
				t.Errorf("known: %t", !c.known)
			}
		})
	}
}

func TestUser(t *testing.T) {
	v, good, _, _ := keys(t)
	got, err := v.Snapshot().Verify(t.Context(), good.Text, []policy.Name{others, partners})
	if err != nil {
		t.Fatal(err)
	}
	want := &decide.User{
		Issuer: partners, IssuerURL: "credentials/default/partners", Subject: "billing", Scopes: []string{"orders:read"}, Roles: []string{"reader"},
		Credential: policy.APIKey, Origin: policy.APIKey,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A key with a wrong checksum costs no lookup: whoever tries keys at random hears so before anything is looked for.
func TestWrongChecksumCostsNoLookup(t *testing.T) {
	v, good, _, _ := keys(t)
	s := v.Snapshot()
	for range 1000 {
		bad := good.Text[:len(good.Text)-8] + "00000000"
		if _, err := s.Verify(t.Context(), bad, []policy.Name{partners}); credential.Reason(err) != apikey.ReasonChecksum {
			t.Fatal(err)
		}
		if !s.Knows(bad, []policy.Name{partners}) {
			t.Fatal("it is taken for a token")
		}
	}
	if n := v.Lookups(); n != 0 {
		t.Errorf("%d lookups", n)
	}
	if _, err := s.Verify(t.Context(), good.Text, []policy.Name{partners}); err != nil || v.Lookups() != 1 {
		t.Errorf("%v, %d lookups", err, v.Lookups())
	}
}

// What can't be told is unavailable, never valid.
func TestCannotTell(t *testing.T) {
	v, good, _, _ := keys(t)
	old := v.Snapshot()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx      context.Context
		accepted []policy.Name
	}{
		"the context has ended": {ended, []policy.Name{partners}},
		"nobody is accepted":    {t.Context(), nil},
		"unknown Credentials":   {t.Context(), []policy.Name{partners, {Namespace: "default", Name: "none"}}},
	} {
		if user, err := old.Verify(c.ctx, good.Text, c.accepted); user != nil || !errors.Is(err, credential.ErrUnavailable) {
			t.Errorf("%s: %v, %v", name, user, err)
		}
	}
	v.Publish([]policy.Credentials{{Name: partners, KeyPrefix: "shop", APIKeys: []policy.APIKeyEntry{{ID: good.ID, SHA256: "no hash", Subject: "x"}}}})
	if user, err := v.Snapshot().Verify(t.Context(), good.Text, []policy.Name{partners}); user != nil || !errors.Is(err, credential.ErrInvalid) {
		t.Errorf("an entry without a hash: %v, %v", user, err)
	}
	if _, err := old.Verify(t.Context(), good.Text, []policy.Name{partners}); err != nil {
		t.Errorf("an older snapshot: %v", err)
	}
}

func TestGenerate(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		k := generate(t, "acme")
		parts := strings.Split(k.Text, "_")
		if len(parts) != 4 || parts[0] != "acme" || parts[1] != k.ID || len(parts[2]) != 43 || len(parts[3]) != 8 || seen[k.Text] || seen[k.ID] {
			t.Fatalf("key %v", parts)
		}
		seen[k.Text], seen[k.ID] = true, true
	}
	for _, prefix := range []string{"", "a", "a_b", "ab ", "é1", "abcdefghijklmnopq"} {
		if _, err := apikey.Generate(prefix); err == nil {
			t.Errorf("prefix %q", prefix)
		}
	}
}

func TestAllocations(t *testing.T) {
	v, good, _, _ := keys(t)
	s, accepted, ctx := v.Snapshot(), []policy.Name{partners}, t.Context()
	if n := testing.AllocsPerRun(100, func() {
		if _, err := s.Verify(ctx, good.Text, accepted); err != nil {
			t.Fatal(err)
		}
	}); n > 1 { // the checksum reads from memory that escapes
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkVerify compares with one bare SHA-256 of the key.
func BenchmarkVerify(b *testing.B) {
	v, good, _, _ := keys(b)
	s, accepted := v.Snapshot(), []policy.Name{partners}
	b.Run("hash", func(b *testing.B) {
		for b.Loop() {
			_ = sha256.Sum256([]byte(good.Text))
		}
	})
	b.Run("key", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Verify(b.Context(), good.Text, accepted); err != nil {
				b.Fatal(err)
			}
		}
	})
}
