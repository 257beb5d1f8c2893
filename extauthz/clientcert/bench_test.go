package clientcert_test

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/credence-mesh/credence/extauthz/clientcert"
	"github.com/credence-mesh/credence/policy"
)

// verifierOf knows the clients of one CA; certificates are as many clients of it.
func verifierOf(t testing.TB, certificates int) (v *clientcert.Verifier, name []policy.Name, raw []string, root ca) {
	t.Helper()
	root = newCA(t, "root", nil)
	file := filepath.Join(t.TempDir(), "clients.pem")
	if err := os.WriteFile(file, root.pem(), 0o600); err != nil {
		t.Fatal(err)
	}
	name = []policy.Name{{Namespace: "default", Name: "machines"}}
	v = clientcert.New(clientcert.Options{Now: func() time.Time { return start }})
	v.Publish([]policy.Credentials{{Name: name[0], Certificates: &policy.CertificateUsers{CAFile: file, Subject: policy.SubjectDNS}}})
	for range certificates {
		raw = append(raw, root.leaf(t, nil))
	}
	return v, name, raw, root
}

// BenchmarkVerify: a certificate that is known, one that is not (parsed, its chain verified, every time), and beside them the bare check of one
// signature, which is the least that the latter can cost.
func BenchmarkVerify(b *testing.B) {
	b.Run("warm", func(b *testing.B) {
		v, name, raw, _ := verifierOf(b, 1)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Snapshot().Verify(b.Context(), raw[0], name); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("cold", func(b *testing.B) {
		// More than are kept: each has been forgotten when its turn comes.
		v, name, raw, _ := verifierOf(b, 4200)
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if _, err := v.Snapshot().Verify(b.Context(), raw[i%len(raw)], name); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
	b.Run("signature", func(b *testing.B) {
		root := newCA(b, "root", nil)
		child := newCA(b, "child", &root)
		for b.Loop() {
			if err := root.cert.CheckSignature(x509.ECDSAWithSHA256, child.cert.RawTBSCertificate, child.cert.Signature); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A known certificate costs a Check no allocation.
func TestAllocationsOfKnownCertificate(t *testing.T) {
	v, name, raw, _ := verifierOf(t, 1)
	ctx := t.Context()
	verify := func() {
		if _, err := v.Snapshot().Verify(ctx, raw[0], name); err != nil {
			t.Fatal(err)
		}
	}
	verify()
	if got := testing.AllocsPerRun(200, verify); got > 2 {
		t.Errorf("%.0f allocations", got)
	} else {
		t.Logf("%.0f allocations", got)
	}
}
