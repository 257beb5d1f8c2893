package extauthz

import (
	"cmp"
	"context"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// Limits of the gRPC server. A Check without a request body is a few kilobytes; headers are bounded by Envoy at 60 kB.
const (
	maxMessage = 1 << 20
	maxStreams = 1024
	maxHeaders = 64 << 10
	handshake  = 5 * time.Second
	workers    = 64
	// Windows of a fixed size: the server does not measure the path of a local socket by pings, and opens the window of a connection
	// after some hundred Checks instead of a dozen.
	streamWindow = 64 << 10
	connWindow   = 4 << 20
)

// ServerOptions are the options of a gRPC server for Check: limits, workers, a decoder that reads no more than a Check does, and the guard that lets no response out that Envoy could
// take for an allow by mistake. Credentials are the caller's business.
// The decoder reads what the Set that s has now makes a Check look at; without s, what every Check looks at, and a Server that needs more
// answers with an error.
func ServerOptions(s *Server) []grpc.ServerOption {
	in := func() *interest { return nothingMore }
	if s != nil {
		in = func() *interest { return cmp.Or(s.interest.Load(), nothingMore) }
	}
	return append(LookupServerOptions(), grpc.ForceServerCodecV2(newCodec(in)))
}

// LookupServerOptions are ServerOptions for a Server with a Lookup: messages are decoded as a whole, because any header may choose a route.
func LookupServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.ConnectionTimeout(handshake),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.NumStreamWorkers(workers),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connWindow),
		grpc.ChainUnaryInterceptor(Guard),
	}
}

// Guard is the interceptor that turns every Check response into an error that is neither a full allow nor a refusal with a code.
func Guard(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	resp, err := handler(ctx, req)
	if err != nil {
		if status.Code(err) == codes.OK {
			return nil, status.Error(codes.Internal, "an error without a code")
		}
		return nil, err
	}
	if _, ok := req.(*authv3.CheckRequest); !ok {
		return resp, nil
	}
	check, ok := resp.(*authv3.CheckResponse)
	if !ok {
		return nil, status.Error(codes.Internal, "not a check response")
	}
	return seal(ctx, check)
}
