package clientcert_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/credence-mesh/credence/extauthz/clientcert"
	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/policy"
)

type ca struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (c ca) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})
}

var start = time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)

func newCA(t testing.TB, name string, parent *ca) ca {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: start.Add(-time.Hour), NotAfter: start.Add(1000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	by := ca{tmpl, key}
	if parent != nil {
		by = *parent
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, by.cert, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return ca{cert, key}
}

// leaf is a client's certificate as Envoy sends it.
func (c ca) leaf(t testing.TB, edit func(*x509.Certificate)) string {
	t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "billing"}, DNSNames: []string{"billing.example"},
		NotBefore: start.Add(-time.Minute), NotAfter: start.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if edit != nil {
		edit(tmpl)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, c.cert, key.Public(), c.key)
	if err != nil {
		t.Fatal(err)
	}
	return url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}

func TestVerify(t *testing.T) {
	root, other := newCA(t, "root", nil), newCA(t, "root", nil)
	middle := newCA(t, "middle", &root)
	file := filepath.Join(t.TempDir(), "clients.pem")
	write := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(append(root.pem(), middle.pem()...))
	now := start
	v := clientcert.New(clientcert.Options{Now: func() time.Time { return now }})
	name := policy.Name{Namespace: "default", Name: "machines"}
	conf := policy.CertificateUsers{CAFile: file, Subject: policy.SubjectDNS, Grants: policy.Grants{Scopes: []string{"orders:read"}}}
	publish := func() { v.Publish([]policy.Credentials{{Name: name, Certificates: &conf}}) }
	publish()
	ask := func(raw string) string {
		u, err := v.Snapshot().Verify(t.Context(), raw, []policy.Name{name})
		if err == nil && (u.Subject == "" || u.Credential != policy.ClientCertificate || u.IssuerURL != "credentials/default/machines" || len(u.Scopes) != 1) {
			t.Errorf("%+v", u)
		}
		return credential.Reason(err)
	}
	good := root.leaf(t, nil)
	for _, tt := range []struct{ name, raw, want string }{
		{"good", good, ""},
		{"good, cached", good, ""},
		{"by an intermediate", middle.leaf(t, nil), ""},
		{"of another CA of the same name", other.leaf(t, nil), clientcert.ReasonUntrusted},
		{"expired", root.leaf(t, func(c *x509.Certificate) { c.NotAfter = start.Add(-time.Second) }), clientcert.ReasonUntrusted},
		{"not yet", root.leaf(t, func(c *x509.Certificate) { c.NotBefore = start.Add(time.Minute) }), clientcert.ReasonUntrusted},
		{"for servers", root.leaf(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), clientcert.ReasonUntrusted},
		{"a CA", url.PathEscape(string(root.pem())), clientcert.ReasonUntrusted},
		{"two names", root.leaf(t, func(c *x509.Certificate) { c.DNSNames = []string{"a.example", "b.example"} }), clientcert.ReasonSubject},
		{"no name", root.leaf(t, func(c *x509.Certificate) { c.DNSNames = nil }), clientcert.ReasonSubject},
		{"nothing", "", clientcert.ReasonMalformed},
		{"two certificates", good + good, clientcert.ReasonMalformed},
	} {
		if got := ask(tt.raw); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	now = start.Add(2 * time.Hour)
	if got := ask(good); got != clientcert.ReasonUntrusted {
		t.Errorf("cached and expired since: %q", got)
	}
	now = start
	conf.Subject = policy.SubjectCommonName
	publish()
	if got := ask(root.leaf(t, func(c *x509.Certificate) { c.Subject.CommonName = "bill\x00ing" })); got != clientcert.ReasonSubject {
		t.Errorf("NUL in the name: %q", got)
	}
	conf.Allowed = []string{"payments"}
	publish()
	if got := ask(good); got != clientcert.ReasonNotAllowed {
		t.Errorf("not listed: %q", got)
	}
	conf.Allowed = nil
	publish()
	now = now.Add(3 * time.Second)
	write([]byte("broken"))
	if got := ask(good); got != "" {
		t.Errorf("the last good CAs stay: %q", got)
	}
	now = now.Add(3 * time.Second)
	write(other.pem())
	if got := ask(good); got != clientcert.ReasonUntrusted {
		t.Errorf("the CA has left: %q", got)
	}
}

func TestUnavailable(t *testing.T) {
	v := clientcert.New(clientcert.Options{})
	name := policy.Name{Namespace: "default", Name: "machines"}
	for _, all := range [][]policy.Credentials{nil, {{Name: name}}, {{Name: name, Certificates: &policy.CertificateUsers{CAFile: t.TempDir(), Subject: policy.SubjectDNS}}}} {
		v.Publish(all)
		if _, err := v.Snapshot().Verify(t.Context(), "x", []policy.Name{name}); !errors.Is(err, credential.ErrUnavailable) {
			t.Errorf("%v: %v", all, err)
		}
	}
	root := newCA(t, "root", nil)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, root.pem(), 0o600); err != nil {
		t.Fatal(err)
	}
	v = clientcert.New(clientcert.Options{Now: func() time.Time { return start }})
	v.Publish([]policy.Credentials{{Name: name, Certificates: &policy.CertificateUsers{CAFile: file, Subject: policy.SubjectDNS}}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.Snapshot().Verify(ctx, root.leaf(t, nil), []policy.Name{name}); !errors.Is(err, credential.ErrUnavailable) {
		t.Errorf("an ended context: %v", err)
	}
}
