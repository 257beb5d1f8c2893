package clientcert

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/credence-mesh/credence/extauthz/credential"
)

const (
	caPoll = 2 * time.Second
	maxCAs = 1 << 20
)

// pool of one content of a CA file.
type pool struct{ roots, intermediates *x509.CertPool }

// authorities are the CAs of one file, the last good ones.
type authorities struct {
	file string

	mu     sync.Mutex
	looked time.Time
	text   []byte
	last   *pool
	err    error
}

// pool looks at the file where that was not done for a while.
func (a *authorities) pool(now time.Time) (*pool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if since := now.Sub(a.looked); a.looked.IsZero() || since >= caPoll || since < 0 {
		a.looked = now
		var text []byte
		if text, a.err = readFile(a.file); a.err == nil && (a.last == nil || !bytes.Equal(text, a.text)) {
			var p *pool
			if p, a.err = parsePool(text); a.err == nil {
				a.last, a.text = p, text
			}
		}
	}
	if a.last == nil {
		return nil, credential.Unavailable(ReasonCAs, "the CAs of clients can't be used: %v", a.err)
	}
	return a.last, nil
}

// parsePool takes certificates that have signed themselves for roots, and other CAs for intermediates.
func parsePool(text []byte) (*pool, error) {
	p, roots := &pool{roots: x509.NewCertPool(), intermediates: x509.NewCertPool()}, 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, errors.New("a PEM block that is no certificate")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		switch {
		case !cert.IsCA || !cert.BasicConstraintsValid:
			return nil, errors.New("a certificate that is no CA's")
		case cert.CheckSignatureFrom(cert) == nil:
			p.roots.AddCert(cert)
			roots++
		default:
			p.intermediates.AddCert(cert)
		}
	}
	if roots == 0 {
		return nil, errors.New("no root certificate")
	}
	return p, nil
}

// readFile reads a regular file: a pipe would hold up requests.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxCAs {
		return nil, fmt.Errorf("%s is no regular file of at most %d bytes", path, maxCAs)
	}
	return io.ReadAll(io.LimitReader(f, maxCAs))
}
