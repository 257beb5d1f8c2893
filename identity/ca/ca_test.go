package ca_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.uber.org/goleak"

	"github.com/credence-mesh/credence/identity/ca"
	"github.com/credence-mesh/credence/identity/svid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newClock() *clock { return &clock{t: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func td() spiffeid.TrustDomain { return spiffeid.RequireTrustDomainFromString("td") }
func id() spiffeid.ID          { return spiffeid.RequireFromString("spiffe://td/ns/default/wl/orders") }

func open(t testing.TB, dir string, c *clock) *ca.CA {
	t.Helper()
	a, err := ca.Open(ca.Options{Dir: dir, TrustDomain: td(), TTL: 24 * time.Hour, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func issue(t *testing.T, a *ca.CA) *x509.Certificate {
	t.Helper()
	chain, err := a.Issue(t.Context(), id(), newKey(t).Public(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return chain[0]
}

func TestIssueConforms(t *testing.T) {
	c := newClock()
	a := open(t, t.TempDir(), c)
	c.t = c.t.Add(time.Hour)
	leaf := issue(t, a)
	got, err := svid.Verify([]*x509.Certificate{leaf}, a.Bundle(), c.t)
	if err != nil || got != id() {
		t.Fatalf("Verify: %v, %v", got, err)
	}
	if !leaf.NotBefore.Equal(c.t.Add(-ca.Backdate)) || !leaf.NotAfter.Equal(c.t.Add(time.Hour)) {
		t.Errorf("from %s to %s at %s", leaf.NotBefore, leaf.NotAfter, c.t)
	}
	if n := leaf.SerialNumber.BitLen(); n != 127 {
		t.Errorf("a serial number of %d bits", n)
	}
	if len(leaf.Subject.Names) != 0 {
		t.Errorf("subject %q", leaf.Subject)
	}
}

func TestX5_5AuthorityConforms(t *testing.T) {
	a := open(t, t.TempDir(), newClock())
	authorities := a.Bundle().X509Authorities()
	if len(authorities) != 1 {
		t.Fatalf("%d authorities", len(authorities))
	}
	if err := svid.CheckAuthority(authorities[0], td()); err != nil {
		t.Error(err)
	}
	if got := authorities[0].URIs[0].String(); got != "spiffe://td" {
		t.Errorf("SID-10: %q", got)
	}
}

func TestNeverBeforeTheAuthority(t *testing.T) {
	c := newClock()
	a := open(t, t.TempDir(), c)
	c.t = c.t.Add(-30 * time.Second) // the clock is set back a little: still after the authority's start
	authority := a.Bundle().X509Authorities()[0]
	if leaf := issue(t, a); leaf.NotBefore.Before(authority.NotBefore) {
		t.Errorf("leaf from %s, authority from %s", leaf.NotBefore, authority.NotBefore)
	}
	c.t = c.t.Add(-time.Hour)
	if _, err := a.Issue(t.Context(), id(), newKey(t).Public(), time.Hour); !errors.Is(err, ca.ErrClock) {
		t.Errorf("an hour before: %v", err)
	}
}

func TestNeverLongerThanTheAuthority(t *testing.T) {
	c := newClock()
	a := open(t, t.TempDir(), c)
	chain, err := a.Issue(t.Context(), id(), newKey(t).Public(), 1000*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if end := a.Bundle().X509Authorities()[0].NotAfter; chain[0].NotAfter.After(end) {
		t.Errorf("leaf to %s, authority to %s", chain[0].NotAfter, end)
	}
}

func TestIssueRefuses(t *testing.T) {
	a := open(t, t.TempDir(), newClock())
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := newKey(t).Public()
	for name, try := range map[string]func() error{
		"X5-3 the trust domain's own ID": func() error { _, err := a.Issue(t.Context(), td().ID(), good, time.Hour); return err },
		"another trust domain": func() error {
			_, err := a.Issue(t.Context(), spiffeid.RequireFromString("spiffe://other/a"), good, time.Hour)
			return err
		},
		"no ID":       func() error { _, err := a.Issue(t.Context(), spiffeid.ID{}, good, time.Hour); return err },
		"no lifetime": func() error { _, err := a.Issue(t.Context(), id(), good, 0); return err },
		"no key":      func() error { _, err := a.Issue(t.Context(), id(), nil, time.Hour); return err },
		"weak key":    func() error { _, err := a.Issue(t.Context(), id(), p224.Public(), time.Hour); return err },
		"ended request": func() error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := a.Issue(ctx, id(), good, time.Hour)
			return err
		},
	} {
		if err := try(); err == nil {
			t.Errorf("%s: issued", name)
		}
	}
}

func TestRestartKeepsTheAuthority(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	leaf := issue(t, open(t, dir, c))
	again := open(t, dir, c)
	if _, err := svid.Verify([]*x509.Certificate{leaf}, again.Bundle(), c.t); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(filepath.Join(dir, ca.File))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %04o", info.Mode().Perm())
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v: temporary files stay", entries, err)
	}
}

func TestOpenRefusesAndWritesNothing(t *testing.T) {
	c := newClock()
	good := func(t *testing.T) string { dir := t.TempDir(); open(t, dir, c); return dir }
	edit := func(change func([]byte) []byte) func(*testing.T) string {
		return func(t *testing.T) string {
			dir := good(t)
			path := filepath.Join(dir, ca.File)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, change(data), 0o600); err != nil {
				t.Fatal(err)
			}
			return dir
		}
	}
	cut := func(b []byte) int { return bytes.Index(b, []byte("-----BEGIN PRIVATE")) }
	other := newKey(t)
	otherDER, err := x509.MarshalPKCS8PrivateKey(other)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		dir  func(*testing.T) string
		td   string
		want error
	}{
		{"another trust domain", good, "other", ca.ErrTrustDomain},
		{"empty", edit(func([]byte) []byte { return nil }), "td", ca.ErrCorrupt},
		{"garbage", edit(func([]byte) []byte { return []byte("garbage") }), "td", ca.ErrCorrupt},
		{"cut off", edit(func(b []byte) []byte { return b[:len(b)-40] }), "td", ca.ErrCorrupt},
		{"key only", edit(func(b []byte) []byte { return b[cut(b):] }), "td", ca.ErrCorrupt},
		{"certificate only", edit(func(b []byte) []byte { return b[:cut(b)] }), "td", ca.ErrCorrupt},
		{"another's key", edit(func(b []byte) []byte { return append(b[:cut(b)], pemKey(otherDER)...) }), "td", ca.ErrCorrupt},
		{"readable by others", func(t *testing.T) string {
			dir := good(t)
			if err := os.Chmod(filepath.Join(dir, ca.File), 0o644); err != nil {
				t.Fatal(err)
			}
			return dir
		}, "td", ca.ErrCorrupt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := tt.dir(t)
			before, err := os.ReadFile(filepath.Join(dir, ca.File))
			if err != nil {
				t.Fatal(err)
			}
			_, err = ca.Open(ca.Options{Dir: dir, TrustDomain: spiffeid.RequireTrustDomainFromString(tt.td), Now: c.now})
			if !errors.Is(err, tt.want) {
				t.Errorf("Open: %v, want %v", err, tt.want)
			}
			after, err := os.ReadFile(filepath.Join(dir, ca.File))
			if err != nil || !bytes.Equal(before, after) {
				t.Errorf("the file has changed: %v", err)
			}
		})
	}
}

// TestRotation walks through one lifetime in steps of an hour: 24 h, so the next is published at 12 h, signs at 20 h, and the first is gone at 24 h.
func TestRotation(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	a := open(t, dir, c)
	first := a.Bundle().X509Authorities()[0]
	type state struct {
		authorities int
		firstSigns  bool
	}
	start := c.t
	for hour := range 25 {
		c.t = start.Add(time.Duration(hour) * time.Hour)
		changed := a.Changed()
		before := a.Bundle().Clone()
		if err := a.Rotate(); err != nil {
			t.Fatal(err)
		}
		want := state{authorities: 1, firstSigns: true}
		switch {
		case hour >= 24:
			want = state{authorities: 2, firstSigns: false} // the second at half of its life, and the third
		case hour >= 20:
			want = state{authorities: 2, firstSigns: false}
		case hour >= 12:
			want = state{authorities: 2, firstSigns: true}
		}
		leaf := issue(t, a)
		got := state{authorities: len(a.Bundle().X509Authorities()), firstSigns: bytes.Equal(leaf.AuthorityKeyId, first.SubjectKeyId)}
		if got != want {
			t.Errorf("hour %d: %+v, want %+v", hour, got, want)
		}
		if !a.Bundle().Equal(before) {
			select {
			case <-changed:
			default:
				t.Errorf("hour %d: the bundle has changed in silence", hour)
			}
		}
		if _, err := svid.Verify([]*x509.Certificate{leaf}, a.Bundle(), c.t); err != nil {
			t.Errorf("hour %d: %v", hour, err)
		}
		if hour%5 == 0 { // the state is on disk
			a = open(t, dir, c)
		}
	}
}

func TestKeyOfTheOldAuthorityIsDropped(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	a := open(t, dir, c)
	for _, h := range []time.Duration{12, 8} {
		c.t = c.t.Add(h * time.Hour)
		if err := a.Rotate(); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, ca.File))
	if err != nil {
		t.Fatal(err)
	}
	if certs, keys := bytes.Count(data, []byte("BEGIN CERTIFICATE")), bytes.Count(data, []byte("BEGIN PRIVATE KEY")); certs != 2 || keys != 1 {
		t.Errorf("%d certificates and %d keys", certs, keys)
	}
}

func TestLongSleepStartsAnew(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	first := open(t, dir, c).Bundle()
	c.t = c.t.Add(240 * time.Hour)
	a := open(t, dir, c)
	if a.Bundle().Equal(first) || len(a.Bundle().X509Authorities()) != 1 {
		t.Errorf("%d authorities", len(a.Bundle().X509Authorities()))
	}
	issue(t, a)
}

func TestFailedWriteChangesNothing(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	a := open(t, dir, c)
	before := a.Bundle()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	c.t = c.t.Add(13 * time.Hour)
	if err := a.Rotate(); err == nil {
		t.Error("no error")
	}
	if !a.Bundle().Equal(before) {
		t.Error("an authority that isn't on disk was published")
	}
	issue(t, a)
}

func TestRunRotates(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a, err := ca.Open(ca.Options{Dir: dir, TrustDomain: td(), TTL: 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		first := a.Bundle().X509Authorities()[0]
		time.Sleep(12*time.Hour + time.Minute) //nolint:forbidigo // the bubble's clock
		if n := len(a.Bundle().X509Authorities()); n != 2 {
			t.Errorf("%d authorities after half of the lifetime", n)
		}
		time.Sleep(8 * time.Hour) //nolint:forbidigo // the bubble's clock
		if leaf := issue(t, a); bytes.Equal(leaf.AuthorityKeyId, first.SubjectKeyId) {
			t.Error("the first still signs")
		}
		time.Sleep(1000 * time.Hour) //nolint:forbidigo // the bubble's clock
		leaf := issue(t, a)
		if _, err := svid.Verify([]*x509.Certificate{leaf}, a.Bundle(), time.Now()); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
}

// BenchmarkIssue stands beside the bare signature that it can't be faster than.
func BenchmarkIssue(b *testing.B) {
	key := newKey(b)
	b.Run("issue", func(b *testing.B) {
		a := open(b, b.TempDir(), newClock())
		for b.Loop() {
			if _, err := a.Issue(b.Context(), id(), key.Public(), time.Hour); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bare", func(b *testing.B) {
		signer := newKey(b)
		tpl := &x509.Certificate{SerialNumber: big.NewInt(1), URIs: []*url.URL{id().URL()}, NotAfter: time.Now().Add(time.Hour)}
		for b.Loop() {
			if _, err := x509.CreateCertificate(rand.Reader, tpl, tpl, key.Public(), signer); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func pemKey(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
