package sds

import (
	"context"
	"errors"
	"log/slog"
	"time"

	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc"

	"github.com/credence-mesh/credence/identity/attest"
)

const (
	// DefaultRecheck is how often a stream asks for entitlement again although nothing was said to have changed.
	DefaultRecheck = 30 * time.Second

	// All is the name of the validation context of all trust domains.
	All = "ALL"
	// CertificatePrefix begins the names of gateways' certificates: CertificatePrefix + "<namespace>/<name>".
	CertificatePrefix = "certificate/"
	// ClientsPrefix begins the names of the CAs of gateways' clients: ClientsPrefix + "<namespace>/<name>".
	ClientsPrefix = "clients/"
	// TypeURL of every resource.
	TypeURL = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"

	maxNames = 256  // on one stream
	maxName  = 2048 // bytes: the longest SPIFFE ID
)

// ErrUnknown says that there is no such secret for this caller.
var ErrUnknown = errors.New("unknown secret")

// Entitlements decides which identities a process has; as in package workloadapi.
type Entitlements interface {
	Entitled(ctx context.Context, p *attest.Process) ([]spiffeid.ID, error)
	Changed() <-chan struct{}
}

// SVIDs gives out SVIDs with their keys: keeper.Keeper.
type SVIDs interface {
	Get(ctx context.Context, id spiffeid.ID) (*x509svid.SVID, error)
	Changed() <-chan struct{}
}

// Bundles gives out the bundles of all trust domains, one each: ca.CA.
type Bundles interface {
	Bundles() []*x509bundle.Bundle
	Changed() <-chan struct{}
}

// Certificates gives out the certificates of gateways that don't come from SPIFFE.
type Certificates interface {
	// Certificate returns chain and key in PEM; name is "<namespace>/<name>". It decides whether p may have them: p is entitled to
	// at least one identity. The error wraps ErrUnknown if there is none for p.
	Certificate(ctx context.Context, p *attest.Process, name string) (certPEM, keyPEM []byte, err error)
	// Clients returns the CAs of a gateway's clients in PEM; name is "<namespace>/<name>" of the gateway. As Certificate.
	Clients(ctx context.Context, p *attest.Process, name string) (caPEM []byte, err error)
	// Changed returns a channel that is closed when an answer may be another one.
	Changed() <-chan struct{}
}

// Options of New.
type Options struct {
	Entitlements Entitlements
	SVIDs        SVIDs
	Bundles      Bundles
	// Certificates may be nil: there are none.
	Certificates Certificates
	// Recheck is the longest time between two checks of entitlement; 0 is DefaultRecheck.
	Recheck time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Log receives refused callers, secrets that are not fit to be sent, and refusals by proxies; nil discards.
	Log *slog.Logger
}

// Server is the Secret Discovery Service. Safe for concurrent use.
type Server struct {
	secretv3.UnimplementedSecretDiscoveryServiceServer

	entitlements Entitlements
	svids        SVIDs
	bundles      Bundles
	certificates Certificates
	recheck      time.Duration
	now          func() time.Time
	log          *slog.Logger
}

var _ secretv3.SecretDiscoveryServiceServer = (*Server)(nil)

// New returns a Server. It starts nothing.
func New(o Options) (*Server, error) {
	if o.Entitlements == nil || o.SVIDs == nil || o.Bundles == nil {
		return nil, errors.New("SDS: entitlements, SVIDs and bundles are all needed")
	}
	s := &Server{
		entitlements: o.Entitlements, svids: o.SVIDs, bundles: o.Bundles, certificates: o.Certificates,
		recheck: o.Recheck, now: o.Now, log: o.Log,
	}
	if s.certificates == nil {
		s.certificates = none{}
	}
	if s.recheck <= 0 {
		s.recheck = DefaultRecheck
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s, nil
}

// Register adds the service to g, which must have attest.Credentials (workloadapi.ServerOptions has).
func (s *Server) Register(g grpc.ServiceRegistrar) {
	secretv3.RegisterSecretDiscoveryServiceServer(g, s)
}

type none struct{}

func (none) Certificate(context.Context, *attest.Process, string) (certPEM, keyPEM []byte, err error) {
	return nil, nil, ErrUnknown
}

func (none) Clients(context.Context, *attest.Process, string) (caPEM []byte, err error) {
	return nil, ErrUnknown
}

func (none) Changed() <-chan struct{} { return nil }
