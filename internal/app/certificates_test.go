package app_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/credence-mesh/credence/internal/app"
	"github.com/credence-mesh/credence/policy"
)

var shop = policy.Name{Namespace: "default", Name: "shop"}

func changed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// A pair that does not load leaves the last good one in service until the next good one comes.
func TestBadCertificateKeepsTheLastGoodOne(t *testing.T) {
	now := time.Now()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	c := app.NewCertificates(time.Now)
	put := func(cert, key []byte) {
		t.Helper()
		must(t, os.WriteFile(certFile, cert, 0o600))
		must(t, os.WriteFile(keyFile, key, 0o600))
	}
	serves := func(cert []byte, failure string) {
		t.Helper()
		got, _, err := c.Pair(shop)
		if err != nil || !bytes.Equal(got, cert) {
			t.Errorf("another certificate is served, or none: %v", err)
		}
		if why := c.Errors()[shop]; failure == "" && why != "" || !strings.Contains(why, failure) {
			t.Errorf("the error is %q, want %q", why, failure)
		}
	}
	firstCert, firstKey, err := app.SelfSignedPair(now)
	must(t, err)
	secondCert, secondKey, err := app.SelfSignedPair(now)
	must(t, err)

	source := []policy.Certificate{{Name: shop, CertificateFile: certFile, KeyFile: keyFile}}
	c.Apply(source)
	if _, _, err := c.Pair(shop); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("without a file: %v", err)
	}
	put(firstCert, firstKey)
	told := c.Changed()
	c.Reload()
	serves(firstCert, "")
	if !changed(told) {
		t.Error("the first pair was not told")
	}

	put(secondCert, firstKey) // half of a renewal
	told = c.Changed()
	c.Reload()
	serves(firstCert, "private key does not match public key")
	if changed(told) {
		t.Error("a bad pair was told")
	}
	c.Apply(source) // another edit meanwhile
	serves(firstCert, "private key does not match public key")

	put(secondCert, secondKey)
	told = c.Changed()
	c.Reload()
	serves(secondCert, "")
	if !changed(told) {
		t.Error("the second pair was not told")
	}
	c.Apply(nil)
	if _, _, err := c.Pair(shop); err == nil {
		t.Error("a certificate that the manifests have no more is served")
	}
}

// What was good for another source is not served for this one.
func TestCertificateOfAnotherSourceIsNotKept(t *testing.T) {
	c := app.NewCertificates(time.Now)
	c.Apply([]policy.Certificate{{Name: shop, SelfSignedHosts: []string{"localhost"}}})
	if _, _, err := c.Pair(shop); err != nil {
		t.Fatal(err)
	}
	c.Apply([]policy.Certificate{{Name: shop, CertificateFile: "/nowhere/tls.crt", KeyFile: "/nowhere/tls.key"}})
	if _, _, err := c.Pair(shop); err == nil || !strings.Contains(err.Error(), "/nowhere/tls.crt") {
		t.Errorf("got %v, want that the file is missing", err)
	}
}

func TestSelfSignedCertificateIsRenewed(t *testing.T) {
	now := time.Now()
	c := app.NewCertificates(func() time.Time { return now })
	c.Apply([]policy.Certificate{{Name: shop, SelfSignedHosts: []string{"localhost"}}})
	first, _, err := c.Pair(shop)
	must(t, err)
	for _, tc := range []struct {
		name  string
		after time.Duration
		same  bool
	}{
		{"with more than a third of its life left", app.SelfSignedLife*2/3 - time.Minute, true},
		{"with less", app.SelfSignedLife*2/3 + time.Minute, false},
	} {
		begun := now
		now = begun.Add(tc.after)
		c.Reload()
		got, _, err := c.Pair(shop)
		must(t, err)
		if bytes.Equal(got, first) != tc.same {
			t.Errorf("%s: the same is %v, want %v", tc.name, !tc.same, tc.same)
		}
		now = begun
	}
}

// A path that never answers or never ends must not hold up what comes after it.
func TestCertificateFilesAreRegularAndBounded(t *testing.T) {
	dir := t.TempDir()
	pipe, huge := filepath.Join(dir, "pipe"), filepath.Join(dir, "huge")
	must(t, syscall.Mkfifo(pipe, 0o600))
	must(t, os.WriteFile(huge, nil, 0o600))
	must(t, os.Truncate(huge, 1<<20+1))
	for path, want := range map[string]string{pipe: "not a regular file", "/dev/zero": "not a regular file", huge: "at most"} {
		c := app.NewCertificates(time.Now)
		c.Apply([]policy.Certificate{{Name: shop, CertificateFile: path, KeyFile: path}})
		if why := c.Errors()[shop]; !strings.Contains(why, want) {
			t.Errorf("%s: the error is %q, want %q", path, why, want)
		}
	}
}
