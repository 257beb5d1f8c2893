package sds

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/credence-mesh/credence/identity/attest"
	"github.com/credence-mesh/credence/identity/svid"
)

const spiffeValidator = "envoy.tls.cert_validator.spiffe"

// secret is one resource as it is sent.
type secret struct {
	name    string
	version string
	body    *anypb.Any
}

// caller is one process with the identities that it has at this moment.
type caller struct {
	process *attest.Process
	ids     []spiffeid.ID
}

// lookup builds the secret. The error wraps ErrUnknown if the caller gets none of this name.
func (s *Server) lookup(ctx context.Context, c caller, name string) (secret, error) {
	var (
		message *tlsv3.Secret
		err     error
	)
	certificate, isCertificate := strings.CutPrefix(name, CertificatePrefix)
	gateway, isClients := strings.CutPrefix(name, ClientsPrefix)
	switch {
	case name == All:
		message, err = s.validation()
	case isCertificate:
		message, err = s.certificate(ctx, c.process, certificate)
	case isClients:
		message, err = s.clients(ctx, c.process, gateway)
	default:
		message, err = s.svid(ctx, c.ids, name)
	}
	if err != nil {
		return secret{}, fmt.Errorf("secret %q: %w", name, err)
	}
	message.Name = name
	if err := message.ValidateAll(); err != nil {
		return secret{}, fmt.Errorf("secret %q: %w", name, err)
	}
	wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		return secret{}, fmt.Errorf("secret %q: %w", name, err)
	}
	sum := sha256.Sum256(wire)
	return secret{name: name, version: hex.EncodeToString(sum[:16]), body: &anypb.Any{TypeUrl: TypeURL, Value: wire}}, nil
}

func (s *Server) svid(ctx context.Context, ids []spiffeid.ID, name string) (*tlsv3.Secret, error) {
	i := slices.IndexFunc(ids, func(id spiffeid.ID) bool { return id.String() == name })
	if i < 0 {
		return nil, ErrUnknown
	}
	held, err := s.svids.Get(ctx, ids[i])
	if err != nil {
		return nil, err
	}
	bundles := x509bundle.NewSet(s.bundles.Bundles()...)
	got, err := svid.Verify(held.Certificates, bundles, s.now())
	if err != nil {
		return nil, err
	}
	if got != ids[i] {
		return nil, fmt.Errorf("the SVID is of %s", got)
	}
	if err := svid.CheckKey(held.Certificates[0], held.PrivateKey); err != nil {
		return nil, err
	}
	certPEM, keyPEM, err := held.Marshal()
	if err != nil {
		return nil, err
	}
	return certificateSecret(certPEM, keyPEM), nil
}

func (s *Server) certificate(ctx context.Context, p *attest.Process, name string) (*tlsv3.Secret, error) {
	certPEM, keyPEM, err := s.certificates.Certificate(ctx, p, name)
	if err != nil {
		return nil, err
	}
	if err := checkPEM(certPEM, "CERTIFICATE"); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if err := checkPEM(keyPEM, "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"); err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	if _, err := tls.X509KeyPair(certPEM, keyPEM); err != nil {
		return nil, err
	}
	return certificateSecret(certPEM, keyPEM), nil
}

// clients are the CAs of a gateway's clients.
func (s *Server) clients(ctx context.Context, p *attest.Process, name string) (*tlsv3.Secret, error) {
	caPEM, err := s.certificates.Clients(ctx, p, name)
	if err != nil {
		return nil, err
	}
	if err := checkPEM(caPEM, "CERTIFICATE"); err != nil {
		return nil, fmt.Errorf("CAs of clients: %w", err)
	}
	return &tlsv3.Secret{Type: &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
		TrustedCa: inline(caPEM),
	}}}, nil
}

// checkPEM refuses what Envoy refuses or skips: text beside the blocks, blocks of other types, several keys, broken certificates.
func checkPEM(data []byte, types ...string) error {
	n := 0
	for rest := bytes.TrimSpace(data); len(rest) > 0; n++ {
		if !bytes.HasPrefix(rest, []byte("-----BEGIN ")) {
			return errors.New("text beside the PEM blocks")
		}
		block, next := pem.Decode(rest)
		if block == nil {
			return errors.New("broken PEM")
		}
		if !slices.Contains(types, block.Type) || len(block.Headers) != 0 {
			return fmt.Errorf("an unexpected PEM block %q", block.Type)
		}
		if block.Type == "CERTIFICATE" {
			if _, err := x509.ParseCertificate(block.Bytes); err != nil {
				return err
			}
		} else if n > 0 {
			return errors.New("several keys")
		}
		rest = bytes.TrimSpace(next)
	}
	if n == 0 {
		return errors.New("empty")
	}
	return nil
}

// validation leaves a domain without authorities out: an empty bundle is refused by Envoy as a whole, and the old trust would stay.
func (s *Server) validation() (*tlsv3.Secret, error) {
	bundles := slices.Clone(s.bundles.Bundles())
	slices.SortFunc(bundles, func(a, b *x509bundle.Bundle) int { return cmp.Compare(a.TrustDomain().Name(), b.TrustDomain().Name()) })
	config := &tlsv3.SPIFFECertValidatorConfig{}
	for _, b := range bundles {
		if b.Empty() {
			continue
		}
		text, err := b.Marshal()
		if err != nil {
			return nil, err
		}
		config.TrustDomains = append(config.TrustDomains, &tlsv3.SPIFFECertValidatorConfig_TrustDomain{
			Name: b.TrustDomain().Name(), TrustBundle: inline(text),
		})
	}
	if len(config.TrustDomains) == 0 {
		s.log.Warn("no trust domain has a bundle: every peer is refused")
	}
	typed, err := anypb.New(config)
	if err != nil {
		return nil, err
	}
	return &tlsv3.Secret{Type: &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
		CustomValidatorConfig: &corev3.TypedExtensionConfig{Name: spiffeValidator, TypedConfig: typed},
	}}}, nil
}

func certificateSecret(certPEM, keyPEM []byte) *tlsv3.Secret {
	return &tlsv3.Secret{Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
		CertificateChain: inline(certPEM), PrivateKey: inline(keyPEM),
	}}}
}

func inline(b []byte) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: b}}
}
