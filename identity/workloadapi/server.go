package workloadapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/identity/attest"
)

const (
	// DefaultRecheck is how often a stream asks for entitlement again although nothing was said to have changed.
	DefaultRecheck = 30 * time.Second

	// What one connection may cost: the socket is open to every user of the machine. Envoy opens a stream for each secret.
	maxMessage = 1 << 20
	maxStreams = 1024
	maxHeaders = 64 << 10
	handshake  = 5 * time.Second

	header = "workload.spiffe.io"
	prefix = "/SpiffeWorkloadAPI/"
)

// Entitlements decides which identities a process has.
type Entitlements interface {
	// Entitled returns the IDs in a stable order, the default identity first, at least one. The error is attest.ErrNotReady before the first complete
	// configuration, a *attest.NotEntitledError if there is none, attest.ErrGone or attest.ErrChanged as they come.
	Entitled(ctx context.Context, p *attest.Process) ([]spiffeid.ID, error)
	// Changed returns a channel that is closed when an answer may be another one.
	Changed() <-chan struct{}
}

// SVIDs gives out SVIDs with their keys: keeper.Keeper.
type SVIDs interface {
	Get(ctx context.Context, id spiffeid.ID) (*x509svid.SVID, error)
	// Changed returns a channel that is closed when an SVID was replaced.
	Changed() <-chan struct{}
}

// Bundles gives out the bundles of all trust domains, one each: ca.CA.
type Bundles interface {
	Bundles() []*x509bundle.Bundle
	// Changed returns a channel that is closed when a bundle has changed.
	Changed() <-chan struct{}
}

// Options of New.
type Options struct {
	Entitlements Entitlements
	SVIDs        SVIDs
	Bundles      Bundles
	// Recheck is the longest time between two checks of entitlement; 0 is DefaultRecheck.
	Recheck time.Duration
	// Log receives refused callers; nil discards.
	Log *slog.Logger
}

// Server is the Workload API. Safe for concurrent use.
type Server struct {
	workload.UnimplementedSpiffeWorkloadAPIServer

	entitlements Entitlements
	svids        SVIDs
	bundles      Bundles
	recheck      time.Duration
	log          *slog.Logger
}

var _ workload.SpiffeWorkloadAPIServer = (*Server)(nil)

// New returns a Server. It starts nothing.
func New(o Options) (*Server, error) {
	if o.Entitlements == nil || o.SVIDs == nil || o.Bundles == nil {
		return nil, errors.New("workload API: entitlements, SVIDs and bundles are all needed")
	}
	s := &Server{entitlements: o.Entitlements, svids: o.SVIDs, bundles: o.Bundles, recheck: o.Recheck, log: o.Log}
	if s.recheck <= 0 {
		s.recheck = DefaultRecheck
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s, nil
}

// Register adds the Workload API and server reflection to g (SPIFFE Workload Endpoint §7). g must have ServerOptions.
func (s *Server) Register(g *grpc.Server) {
	workload.RegisterSpiffeWorkloadAPIServer(g, s)
	reflection.Register(g)
}

// ServerOptions returns what a gRPC server of the Workload API needs: the attestation of callers, limits, and the refusal of requests of the API
// without the security header. Other services on the same socket need no header.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.Creds(attest.Credentials()),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.ConnectionTimeout(handshake),
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, i *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if err := checkHeader(ctx, i.FullMethod); err != nil {
				return nil, err
			}
			return next(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, ss grpc.ServerStream, i *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			if err := checkHeader(ss.Context(), i.FullMethod); err != nil {
				return err
			}
			return next(srv, ss)
		}),
	}
}

// checkHeader is SPIFFE Workload Endpoint §6: a request that was forged through another program's HTTP client lacks the header.
func checkHeader(ctx context.Context, method string) error {
	if !strings.HasPrefix(method, prefix) {
		return nil
	}
	md, _ := metadata.FromIncomingContext(ctx)
	if values := md.Get(header); len(values) != 1 || values[0] != "true" {
		return status.Errorf(codes.InvalidArgument, "the metadata %q must be sent once, with the value \"true\"", header)
	}
	return nil
}

// Status turns an error of Entitlements into the code that the SPIFFE Workload Endpoint §6 gives it.
func Status(err error) error {
	var denied *attest.NotEntitledError
	switch {
	case errors.As(err, &denied):
		return status.Error(codes.PermissionDenied, denied.Error())
	case errors.Is(err, attest.ErrNotReady):
		return status.Error(codes.Unavailable, attest.ErrNotReady.Error())
	case errors.Is(err, attest.ErrChanged), errors.Is(err, attest.ErrGone), errors.Is(err, attest.ErrNoProcess):
		return status.Error(codes.PermissionDenied, fmt.Sprintf("no identity issued: %v", err))
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	default:
		return status.Error(codes.Unavailable, err.Error())
	}
}
