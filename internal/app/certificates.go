package app

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/credence-mesh/credence/policy"
)

const (
	selfSignedLife = 90 * 24 * time.Hour
	// certificatePoll is how often certificate files are looked at: they change by renewal, not by hand.
	certificatePoll = 2 * time.Second
	// maxPEM is the largest file of a certificate, in bytes.
	maxPEM = 1 << 20
)

// pemPair is a certificate chain and its key in PEM, checked to belong together.
type pemPair struct{ cert, key []byte }

func (p pemPair) equal(o pemPair) bool {
	return bytes.Equal(p.cert, o.cert) && bytes.Equal(p.key, o.key)
}

// certificates holds what the gateways' listeners serve. A pair that does not load leaves the last good one in place: Envoy would
// refuse the next good update too. Safe for concurrent use.
type certificates struct {
	log *slog.Logger
	now func() time.Time

	mu      sync.Mutex
	wanted  []policy.Certificate
	pairs   map[policy.Name]pemPair
	errs    map[policy.Name]string
	clients map[policy.Name]clientCA
	changed chan struct{}
}

func newCertificates(log *slog.Logger, now func() time.Time) *certificates {
	return &certificates{
		log: log, now: now, pairs: map[policy.Name]pemPair{}, errs: map[policy.Name]string{}, clients: map[policy.Name]clientCA{}, changed: make(chan struct{}),
	}
}

// Apply makes list the certificates that are served.
func (c *certificates) Apply(list []policy.Certificate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := map[policy.Name]pemPair{}
	for _, cert := range list {
		if old, ok := c.pairs[cert.Name]; ok && c.sameSource(cert) {
			kept[cert.Name] = old
		}
	}
	c.pairs, c.wanted = kept, list
	c.load()
	c.broadcast()
}

func (c *certificates) sameSource(cert policy.Certificate) bool {
	for _, old := range c.wanted {
		if old.Name == cert.Name {
			return old.CertificateFile == cert.CertificateFile && old.KeyFile == cert.KeyFile && fmt.Sprint(old.SelfSignedHosts) == fmt.Sprint(cert.SelfSignedHosts)
		}
	}
	return false
}

// Run looks for changed files until ctx ends.
func (c *certificates) Run(ctx context.Context) error {
	tick := time.NewTicker(certificatePoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			c.mu.Lock()
			if c.load() {
				c.broadcast()
			}
			c.mu.Unlock()
		}
	}
}

// load reads what is wanted and tells whether anything changed. The caller holds mu.
func (c *certificates) load() bool {
	changed := c.loadClients()
	for _, cert := range c.wanted {
		old, have := c.pairs[cert.Name]
		pair, err := c.read(cert, old, have)
		if err != nil {
			if c.errs[cert.Name] != err.Error() {
				c.log.Error("a certificate can't be used; the last good one stays", "certificate", cert.Name.String(), "error", err, "served", have)
			}
			c.errs[cert.Name] = err.Error()
			continue
		}
		delete(c.errs, cert.Name)
		if !have || !pair.equal(old) {
			c.pairs[cert.Name] = pair
			changed = true
		}
	}
	return changed
}

func (c *certificates) read(cert policy.Certificate, old pemPair, have bool) (pemPair, error) {
	if cert.CertificateFile == "" {
		if have && c.fresh(old) {
			return old, nil
		}
		return selfSign(cert.SelfSignedHosts, c.now())
	}
	var p pemPair
	var err error
	if p.cert, err = readPEM(cert.CertificateFile); err != nil {
		return pemPair{}, err
	}
	if p.key, err = readPEM(cert.KeyFile); err != nil {
		return pemPair{}, err
	}
	if _, err := tls.X509KeyPair(p.cert, p.key); err != nil {
		return pemPair{}, fmt.Errorf("%s and %s: %w", cert.CertificateFile, cert.KeyFile, err)
	}
	return p, nil
}

// readPEM reads a regular file of at most maxPEM bytes: a pipe or a device would hold up every edit that comes after it.
func readPEM(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case info.Size() > maxPEM:
		return nil, fmt.Errorf("%s has %d bytes and at most %d are read", path, info.Size(), maxPEM)
	}
	return io.ReadAll(io.LimitReader(f, maxPEM))
}

// fresh tells whether a self-signed certificate has more than a third of its life left.
func (c *certificates) fresh(p pemPair) bool {
	block, _ := pem.Decode(p.cert)
	if block == nil {
		return false
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	return err == nil && leaf.NotAfter.Sub(c.now()) > selfSignedLife/3
}

func (c *certificates) broadcast() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// Changed is closed at the next change.
func (c *certificates) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// Pair is what is served for n.
func (c *certificates) Pair(n policy.Name) (cert, key []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.pairs[n]
	if !ok {
		if why := c.errs[n]; why != "" {
			return nil, nil, fmt.Errorf("certificate %s: %s", n, why)
		}
		return nil, nil, fmt.Errorf("there is no certificate %s", n)
	}
	return p.cert, p.key, nil
}

// Errors by certificate, for readiness and status.
func (c *certificates) Errors() map[policy.Name]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[policy.Name]string, len(c.errs))
	for n, e := range c.errs {
		out[n] = e
	}
	return out
}

func selfSign(hosts []string, now time.Time) (pemPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pemPair{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return pemPair{}, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "credence development"},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(selfSignedLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return pemPair{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return pemPair{}, err
	}
	return pemPair{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}, nil
}
