package svid_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.uber.org/goleak"

	"github.com/credence-mesh/credence/identity/svid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseID(t *testing.T) {
	long := "spiffe://td/" + strings.Repeat("a", svid.MaxIDLen-len("spiffe://td/"))
	tests := []struct {
		name, id string
		ok       bool
	}{
		{"plain", "spiffe://example.org/ns/default/wl/orders", true},
		{"SID-3 address-like trust domain", "spiffe://10.0.0.1/a", true},
		{"SID-5 three dots are a name", "spiffe://td/...", true},
		{"SID-6 2048 bytes", long, true},
		{"SID-6 2049 bytes", long + "a", false},
		{"SID-6 trust domain of 255 bytes", "spiffe://" + strings.Repeat("a", 255) + "/a", true},
		{"SID-6 trust domain of 256 bytes", "spiffe://" + strings.Repeat("a", 256) + "/a", false},
		{"SID-1 scheme", "https://td/a", false},
		{"SID-1 query", "spiffe://td/a?b", false},
		{"SID-1 fragment", "spiffe://td/a#b", false},
		{"SID-1 no trust domain", "spiffe:///a", false},
		{"SID-2 user", "spiffe://u@td/a", false},
		{"SID-2 port", "spiffe://td:1/a", false},
		{"SID-3 IPv6", "spiffe://[::1]/a", false},
		{"SID-5 percent", "spiffe://td/a%2fb", false},
		{"SID-5 dot segment", "spiffe://td/a/../b", false},
		{"SID-5 empty segment", "spiffe://td/a//b", false},
		{"SID-5 trailing slash", "spiffe://td/a/", false},
		{"SID-7 upper-case scheme", "SPIFFE://td/a", false},
		{"SID-7 upper-case trust domain", "spiffe://TD/a", false},
		{"X5-3 no path", "spiffe://td", false},
		{"X5-3 root path", "spiffe://td/", false},
		{"empty", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id, err := svid.ParseID(tt.id)
			if (err == nil) != tt.ok {
				t.Fatalf("ParseID(%q): %v, want ok %v", tt.id, err, tt.ok)
			}
			if err != nil && !errors.Is(err, svid.ErrID) {
				t.Errorf("error %v isn't ErrID", err)
			}
			if err == nil && id.String() != tt.id {
				t.Errorf("ParseID(%q) = %q", tt.id, id)
			}
		})
	}
}

func TestParseTrustDomain(t *testing.T) {
	if _, err := svid.ParseTrustDomain("example.org"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "spiffe://example.org", "Example.org", "td/a", strings.Repeat("a", 256)} {
		if _, err := svid.ParseTrustDomain(bad); !errors.Is(err, svid.ErrID) {
			t.Errorf("ParseTrustDomain(%q): %v", bad, err)
		}
	}
}

// authority signs what the tests ask for.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, uris ...string) authority {
	t.Helper()
	key := newKey(t)
	tpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true, URIs: urls(t, uris...),
	}
	return authority{cert: sign(t, tpl, tpl, key, key), key: key}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, tpl, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, tpl, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func urls(t *testing.T, raw ...string) []*url.URL {
	t.Helper()
	var out []*url.URL
	for _, r := range raw {
		u, err := url.Parse(r) //nolint:forbidigo // no request target
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, u)
	}
	return out
}

const goodID = "spiffe://td/a"

func leafTemplate(t *testing.T) *x509.Certificate {
	t.Helper()
	return &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:        urls(t, goodID),
	}
}

// rawSAN makes a subject alternative name of exactly these URI bytes, which crypto/x509 would print otherwise.
func rawSAN(t *testing.T, critical bool, uris ...string) pkix.Extension {
	t.Helper()
	var names []asn1.RawValue
	for _, u := range uris {
		names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(u)})
	}
	value, err := asn1.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: critical, Value: value}
}

func rawUsage(t *testing.T, critical bool) pkix.Extension {
	t.Helper()
	value, err := asn1.Marshal(asn1.BitString{Bytes: []byte{0x80}, BitLength: 1})
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: critical, Value: value}
}

type leafCase struct {
	name   string
	change func(*x509.Certificate)
	ok     bool
}

func leafCases(t *testing.T) []leafCase {
	t.Helper()
	san := func(critical bool, uris ...string) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.URIs, c.ExtraExtensions = nil, []pkix.Extension{rawSAN(t, critical, uris...)}
		}
	}
	return []leafCase{
		{"good", func(*x509.Certificate) {}, true},
		{"X5-1 other names beside", func(c *x509.Certificate) { c.DNSNames = []string{"orders"} }, true},
		{"X5-1 no URI", func(c *x509.Certificate) { c.URIs = nil; c.DNSNames = []string{"orders"} }, false},
		{"X5-1 no names", func(c *x509.Certificate) { c.URIs = nil }, false},
		{"X5-2 two URIs, first good", san(true, goodID, "spiffe://td/b"), false},
		{"X5-2 the same URI twice", san(true, goodID, goodID), false},
		{"X5-3 no path", san(true, "spiffe://td"), false},
		{"X5-3 root path", san(true, "spiffe://td/"), false},
		{"X5-4 critical without subject", san(true, goodID), true},
		{"X5-4 not critical without subject", san(false, goodID), false},
		{"X5-4 not critical with subject", func(c *x509.Certificate) {
			c.Subject = pkix.Name{CommonName: "a"}
			san(false, goodID)(c)
		}, true},
		{"X5-7 cA=true", func(c *x509.Certificate) { c.IsCA = true }, false},
		{"X5-7 no basic constraints", func(c *x509.Certificate) { c.BasicConstraintsValid = false }, false},
		{"X5-9 no key usage", func(c *x509.Certificate) { c.KeyUsage = 0 }, false},
		{"X5-9 key usage not critical", func(c *x509.Certificate) {
			c.KeyUsage, c.ExtraExtensions = 0, []pkix.Extension{rawUsage(t, false)}
		}, false},
		{"X5-11 keyAgreement only", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }, false},
		{"X5-11 keyCertSign", func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }, false},
		{"X5-11 cRLSign", func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign }, false},
		{"X5-11 keyEncipherment beside", func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageKeyEncipherment }, true},
		{"X5-12 none", func(c *x509.Certificate) { c.ExtKeyUsage = nil }, true},
		{"X5-12 serverAuth only", func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }, false},
		{"X5-12 e-mail only", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} }, false},
		{"X5-12 an unknown one only", func(c *x509.Certificate) {
			c.ExtKeyUsage, c.UnknownExtKeyUsage = nil, []asn1.ObjectIdentifier{{1, 2, 3}}
		}, false},
		{"X5-14 scheme", san(true, "https://td/a"), false},
		{"X5-14 upper-case scheme", san(true, "SPIFFE://td/a"), false},
		{"dot segments", san(true, "spiffe://td/a/../admin"), false},
		{"percent-encoding", san(true, "spiffe://td/a%2fb"), false},
		{"query", san(true, "spiffe://td/a?x=1"), false},
		{"comma", san(true, "spiffe://td/a,By=x;URI=y"), false},
		{"port", san(true, "spiffe://td:1/a"), false},
	}
}

func TestX5Leaf(t *testing.T) {
	ca := newAuthority(t, "spiffe://td")
	bundle := x509bundle.FromX509Authorities(spiffeid.RequireTrustDomainFromString("td"), []*x509.Certificate{ca.cert})
	for _, tt := range leafCases(t) {
		t.Run(tt.name, func(t *testing.T) {
			tpl := leafTemplate(t)
			tt.change(tpl)
			cert := sign(t, tpl, ca.cert, newKey(t), ca.key)
			_, err := svid.CheckLeaf(cert)
			if (err == nil) != tt.ok {
				t.Errorf("CheckLeaf: %v, want ok %v", err, tt.ok)
			}
			if err != nil && !errors.Is(err, svid.ErrSVID) {
				t.Errorf("error %v isn't ErrSVID", err)
			}
			if _, err := svid.Verify([]*x509.Certificate{cert}, bundle, time.Now()); (err == nil) != tt.ok {
				t.Errorf("Verify: %v, want ok %v", err, tt.ok)
			}
			id, err := svid.PeerFromEnvoy(envoyPEM(cert))
			if (err == nil) != tt.ok {
				t.Errorf("PeerFromEnvoy: %v, want ok %v", err, tt.ok)
			}
			if err == nil && id.String() != goodID {
				t.Errorf("PeerFromEnvoy = %q", id)
			}
		})
	}
}

func TestX5_13PathToTheOwnTrustDomain(t *testing.T) {
	own, other := newAuthority(t, "spiffe://td"), newAuthority(t, "spiffe://other")
	td, otherTD := spiffeid.RequireTrustDomainFromString("td"), spiffeid.RequireTrustDomainFromString("other")
	bundles := x509bundle.NewSet(x509bundle.FromX509Authorities(td, []*x509.Certificate{own.cert}),
		x509bundle.FromX509Authorities(otherTD, []*x509.Certificate{other.cert}))
	leaf := func(a authority) *x509.Certificate { return sign(t, leafTemplate(t), a.cert, newKey(t), a.key) }
	good := leaf(own)
	tests := []struct {
		name  string
		chain []*x509.Certificate
		src   x509bundle.Source
		at    time.Time
		want  error
	}{
		{"good", []*x509.Certificate{good}, bundles, time.Now(), nil},
		{"signed by another trust domain's authority", []*x509.Certificate{leaf(other)}, bundles, time.Now(), svid.ErrUntrusted},
		{"unknown trust domain", []*x509.Certificate{good}, x509bundle.New(otherTD), time.Now(), svid.ErrUntrusted},
		{"TB-6 empty bundle", []*x509.Certificate{good}, x509bundle.New(td), time.Now(), svid.ErrUntrusted},
		{"ended", []*x509.Certificate{good}, bundles, time.Now().Add(2 * time.Minute), svid.ErrUntrusted},
		{"not yet", []*x509.Certificate{good}, bundles, time.Now().Add(-2 * time.Minute), svid.ErrUntrusted},
		{"X5-5 an intermediate of another name", []*x509.Certificate{good, other.cert}, bundles, time.Now(), svid.ErrSVID},
		{"X5-7 a leaf as intermediate", []*x509.Certificate{good, good}, bundles, time.Now(), svid.ErrSVID},
		{"nothing", nil, bundles, time.Now(), svid.ErrSVID},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := svid.Verify(tt.chain, tt.src, tt.at)
			if !errors.Is(err, tt.want) {
				t.Errorf("Verify: %v, want %v", err, tt.want)
			}
		})
	}
}

func envoyPEM(cert *x509.Certificate) string {
	return url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})))
}

func TestPeerFromEnvoyIsStrict(t *testing.T) {
	ca := newAuthority(t)
	cert := sign(t, leafTemplate(t), ca.cert, newKey(t), ca.key)
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	for name, in := range map[string]string{
		"empty":          "",
		"not PEM":        "spiffe://td/a",
		"text before":    url.PathEscape("x\n" + text),
		"text after":     url.PathEscape(text + "x"),
		"two":            url.PathEscape(text + text),
		"another type":   url.PathEscape(strings.ReplaceAll(text, "CERTIFICATE", "X509 CRL")),
		"headers":        url.PathEscape(strings.Replace(text, "-----\n", "-----\nA: b\n\n", 1)),
		"bad percent":    text + "%zz",
		"broken base 64": url.PathEscape(strings.Replace(text, "\nM", "\n!", 1)),
		"too long":       strings.Repeat("a", 1<<20),
	} {
		if id, err := svid.PeerFromEnvoy(in); err == nil || !errors.Is(err, svid.ErrSVID) {
			t.Errorf("%s: %q, %v", name, id, err)
		}
	}
}

func TestCheckKey(t *testing.T) {
	ca := newAuthority(t)
	if err := svid.CheckKey(ca.cert, ca.key); err != nil {
		t.Error(err)
	}
	if err := svid.CheckKey(ca.cert, newKey(t)); !errors.Is(err, svid.ErrSVID) {
		t.Errorf("another key: %v", err)
	}
	if err := svid.CheckKey(ca.cert, "key"); !errors.Is(err, svid.ErrSVID) {
		t.Errorf("not a key: %v", err)
	}
}
