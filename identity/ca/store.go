package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/credence-mesh/credence/identity/svid"
)

// File is the name of the authority's file in Options.Dir.
const File = "authorities.pem"

const (
	certType = "CERTIFICATE"
	keyType  = "PRIVATE KEY"
	maxFile  = 1 << 20
)

// Errors of Open.
var (
	// ErrCorrupt: the file exists and can't be used. Nothing was overwritten.
	ErrCorrupt = errors.New("corrupt CA file")
	// ErrTrustDomain: the file belongs to another trust domain. Nothing was overwritten.
	ErrTrustDomain = errors.New("CA of another trust domain")
)

// load reads the authorities, oldest first. No file: none, no error.
func load(path string, td spiffeid.TrustDomain) ([]authority, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read the CA: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%w: %s is not a regular file", ErrCorrupt, path)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%w: %s has mode %04o: others may read the key; expected 0600", ErrCorrupt, path, info.Mode().Perm())
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%w: %s has %d bytes", ErrCorrupt, path, info.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the CA: %w", err)
	}
	list, err := decode(data, td)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

func decode(data []byte, td spiffeid.TrustDomain) ([]authority, error) {
	var list []authority
	for len(bytes.TrimSpace(data)) > 0 {
		block, rest := pem.Decode(data)
		if block == nil {
			return nil, fmt.Errorf("%w: not PEM", ErrCorrupt)
		}
		data = rest
		switch block.Type {
		case certType:
			cert, err := parseAuthority(block.Bytes, td)
			if err != nil {
				return nil, err
			}
			list = append(list, authority{cert: cert})
		case keyType:
			if len(list) == 0 || list[len(list)-1].key != nil {
				return nil, fmt.Errorf("%w: a key without its certificate", ErrCorrupt)
			}
			key, err := parseKey(block.Bytes, list[len(list)-1].cert)
			if err != nil {
				return nil, err
			}
			list[len(list)-1].key = key
		default:
			return nil, fmt.Errorf("%w: a block of type %q", ErrCorrupt, block.Type)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: empty", ErrCorrupt)
	}
	if list[len(list)-1].key == nil {
		return nil, fmt.Errorf("%w: the newest authority has no key", ErrCorrupt)
	}
	return list, nil
}

func parseAuthority(der []byte, td spiffeid.TrustDomain) (*x509.Certificate, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if len(cert.URIs) != 1 {
		return nil, fmt.Errorf("%w: an authority without its SPIFFE ID", ErrCorrupt)
	}
	if got := cert.URIs[0].String(); got != td.IDString() {
		return nil, fmt.Errorf("%w: it is %q, configured is %q", ErrTrustDomain, got, td.IDString())
	}
	if err := svid.CheckAuthority(cert, td); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err := cert.CheckSignatureFrom(cert); err != nil {
		return nil, fmt.Errorf("%w: not signed by itself: %w", ErrCorrupt, err)
	}
	return cert, nil
}

func parseKey(der []byte, cert *x509.Certificate) (*ecdsa.PrivateKey, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%w: a key of type %T", ErrCorrupt, parsed)
	}
	if err := svid.CheckKey(cert, key); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return key, nil
}

func encode(list []authority) ([]byte, error) {
	var out bytes.Buffer
	for _, a := range list {
		if err := pem.Encode(&out, &pem.Block{Type: certType, Bytes: a.cert.Raw}); err != nil {
			return nil, fmt.Errorf("encode the CA: %w", err)
		}
		if a.key == nil {
			continue
		}
		der, err := x509.MarshalPKCS8PrivateKey(a.key)
		if err != nil {
			return nil, fmt.Errorf("encode the CA's key: %w", err)
		}
		if err := pem.Encode(&out, &pem.Block{Type: keyType, Bytes: der}); err != nil {
			return nil, fmt.Errorf("encode the CA: %w", err)
		}
	}
	return out.Bytes(), nil
}

// save replaces the file as a whole: written beside it, synced, renamed, directory synced. A crash leaves the old or the new one.
func save(path string, list []authority) (err error) {
	data, err := encode(list)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".authorities-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write the CA: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(os.Remove(tmp.Name())))
		}
	}()
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err != nil {
		return fmt.Errorf("write the CA: %w", err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("write the CA: %w", err)
	}
	return syncDir(dir)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync the CA's directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync the CA's directory: %w", err)
	}
	return nil
}
