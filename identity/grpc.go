package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/identity/svid"
)

// ServerOptions are for a gRPC server that serves callers whom a allows: asked at the handshake and at every call.
func (s *Source) ServerOptions(a Authorizer) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.Creds(s.ServerCredentials(a)),
		grpc.ChainUnaryInterceptor(s.UnaryInterceptor(a)),
		grpc.ChainStreamInterceptor(s.StreamInterceptor(a)),
	}
}

// ServerCredentials let in whom a allows. A connection, with all its streams, is closed when trust in its peer ends.
func (s *Source) ServerCredentials(a Authorizer) credentials.TransportCredentials {
	return transport{source: s, authorizer: a}
}

// ClientCredentials are for grpc.WithTransportCredentials: servers that a allows, whatever the target's name is. A connection, with all its
// streams, is closed when trust in its server ends.
func (s *Source) ClientCredentials(a Authorizer) credentials.TransportCredentials {
	return transport{source: s, authorizer: a}
}

// PeerFromContext is Peer for gRPC handlers.
func (s *Source) PeerFromContext(ctx context.Context) (spiffeid.ID, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return spiffeid.ID{}, fmt.Errorf("%w: no peer", svid.ErrSVID)
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return spiffeid.ID{}, fmt.Errorf("%w: the connection has no TLS", svid.ErrSVID)
	}
	return s.peer(&info.State)
}

// UnaryInterceptor refuses calls of peers that are not trusted now or that a does not allow, with PermissionDenied, and takes metadata
// x-credence-* away, which are only the caller's word here.
func (s *Source) UnaryInterceptor(a Authorizer) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		ctx, err := s.admit(ctx, a)
		if err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

// StreamInterceptor is UnaryInterceptor for streams.
func (s *Source) StreamInterceptor(a Authorizer) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		ctx, err := s.admit(ss.Context(), a)
		if err != nil {
			return err
		}
		return next(srv, admitted{ss, ctx})
	}
}

type admitted struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // grpc.ServerStream asks for it
}

// Context is the stream's, without what only the caller says.
func (a admitted) Context() context.Context { return a.ctx }

func (s *Source) admit(ctx context.Context, a Authorizer) (context.Context, error) {
	id, err := s.PeerFromContext(ctx)
	if err != nil {
		return nil, status.Error(codes.PermissionDenied, "the SVID of the caller is not trusted")
	}
	if err := a.allow(id); err != nil {
		return nil, status.Errorf(codes.PermissionDenied, "%s may not call this service: decided by the code of %s", id, s.ID())
	}
	md, _ := metadata.FromIncomingContext(ctx) // a copy
	for name := range md {
		if reserved(name) {
			md.Delete(name)
		}
	}
	return metadata.NewIncomingContext(ctx, md), nil
}

// transport does the handshakes of gRPC connections. It is a value without state: Clone is itself.
type transport struct {
	source     *Source
	authorizer Authorizer
}

var _ credentials.TransportCredentials = transport{}

// ClientHandshake shows our SVID and requires an allowed server.
func (t transport) ClientHandshake(ctx context.Context, _ string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return handshake(ctx, t.source.dialled(raw, t.authorizer, "h2"))
}

// ServerHandshake shows our SVID and requires an allowed client. gRPC bounds it by a deadline of the connection.
func (t transport) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return handshake(context.Background(), t.source.server(raw, t.authorizer, "h2"))
}

// Info names TLS.
func (transport) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone is the same: there is nothing that could change.
func (t transport) Clone() credentials.TransportCredentials { return t }

// OverrideServerName has no effect: servers are recognised by their SPIFFE IDs.
func (transport) OverrideServerName(string) error { return nil }

func handshake(ctx context.Context, c *tls.Conn) (net.Conn, credentials.AuthInfo, error) {
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, nil, errors.Join(err, closed(c.NetConn()))
	}
	state := c.ConnectionState()
	if state.NegotiatedProtocol != "h2" {
		return nil, nil, errors.Join(errors.New("the peer does not speak HTTP/2"), closed(c.NetConn()))
	}
	info := credentials.TLSInfo{State: state, CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}
	if leaf := leafOf(state.PeerCertificates); leaf != nil && len(leaf.URIs) == 1 {
		info.SPIFFEID = leaf.URIs[0]
	}
	return c, info, nil
}

func leafOf(certs []*x509.Certificate) *x509.Certificate {
	if len(certs) == 0 {
		return nil
	}
	return certs[0]
}
