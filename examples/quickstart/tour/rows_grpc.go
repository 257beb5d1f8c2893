package tour

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/examples/quickstart/shoppb"
)

const grpcHost = "grpc.shop.localhost"

// grpcRows call the service orders by gRPC, with grpc-go, which knows nothing of the mesh.
func grpcRows() []Row {
	get := func(ctx context.Context, c shoppb.OrdersClient) (string, error) {
		o, err := c.GetOrder(ctx, &shoppb.GetOrderRequest{Id: "7"})
		return "OK order " + o.GetId() + " of " + o.GetUser(), err
	}
	return []Row{
		{"gRPC GetOrder", "OK order 7 of alice", "a GRPCRoute leads to the service, and the rule names its methods", call("orders:read", get)},
		{"gRPC WatchOrders, a stream", "OK 3 orders", "streams pass gateway and sidecar message by message", call("orders:read", func(ctx context.Context, c shoppb.OrdersClient) (string, error) {
			stream, err := c.WatchOrders(ctx, &shoppb.WatchOrdersRequest{Count: 3, IntervalMs: 10})
			n := 0
			for ; err == nil; n++ {
				_, err = stream.Recv()
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return fmt.Sprintf("OK %d orders", n-1), err
		})},
		{"gRPC GetOrder without a token", "Unauthenticated TOKEN_MISSING", "a refusal is a gRPC status with a reason that programs read", call("", get)},
		{"gRPC GetOrder without the scope", "PermissionDenied INSUFFICIENT_SCOPE orders:read", "the details name the scope", call("profile", get)},
		{"gRPC Chat, which no rule names", "PermissionDenied NO_RULE_MATCHES", "a route to the whole service allows none of its methods", call("orders:read", func(ctx context.Context, c shoppb.OrdersClient) (string, error) {
			stream, err := c.Chat(ctx)
			if err == nil {
				_, err = stream.Recv()
			}
			return "OK", err
		})},
		{"gRPC GetOrder while the Check server hangs", "Unavailable", "who can't be asked has not allowed", whileStopped},
	}
}

// whileStopped makes the call while credence stands still.
func whileStopped(ctx context.Context, m *Mesh) (string, error) {
	return call("orders:read", func(ctx context.Context, c shoppb.OrdersClient) (string, error) {
		if err := m.Signal(syscall.SIGSTOP); err != nil {
			return "", err
		}
		_, err := c.GetOrder(ctx, &shoppb.GetOrderRequest{Id: "7"})
		if sent := m.Signal(syscall.SIGCONT); sent != nil {
			return "", sent
		}
		return "OK", err
	})(ctx, m)
}

// call makes one call on a connection of its own, with a token of the scopes; "": without one.
func call(scopes string, do func(context.Context, shoppb.OrdersClient) (string, error)) func(context.Context, *Mesh) (string, error) {
	return func(ctx context.Context, m *Mesh) (answer string, err error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if scopes != "" {
			token, err := m.Token(ctx, scopes)
			if err != nil {
				return "", err
			}
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
		}
		conn, err := grpc.NewClient("passthrough:///"+m.Endpoints.Gateways["default/edge"].Listeners["grpc"], grpc.WithAuthority(grpcHost),
			// The gateway's certificate is self-signed in a development mesh, and the tour tests what is behind it.
			grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, ServerName: grpcHost}))) //nolint:gosec // see above
		if err != nil {
			return "", err
		}
		defer func() { err = errors.Join(err, conn.Close()) }()
		answer, err = do(ctx, shoppb.NewOrdersClient(conn))
		if s, ok := status.FromError(err); ok && s.Code() != codes.OK {
			return refused(s), nil
		}
		return answer, err
	}
}

// refused is a status as the table shows it: its code, and the reason and scope of its details.
func refused(s *status.Status) string {
	parts := []string{s.Code().String()}
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			parts = append(parts, info.GetReason(), info.GetMetadata()["scope"])
		}
	}
	if len(parts) == 1 {
		parts = append(parts, s.Message())
	}
	return strings.TrimSpace(strings.Join(parts, " "))
}
