package extauthz_test

import (
	"context"
	"errors"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/extauthz"
)

// okError is an error that gRPC would send as a success.
type okError struct{ error }

func (okError) GRPCStatus() *status.Status { return status.New(codes.OK, "fine") }

// What a handler returns leaves as an allow only if it says so in full, in time and without an error.
func TestGuard(t *testing.T) {
	allow := &authv3.CheckResponse{Status: &rpcstatus.Status{}, HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}}}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name string
		ctx  context.Context
		req  any
		resp any
		err  error
		want codes.Code
	}{
		{"an allow", t.Context(), &authv3.CheckRequest{}, allow, nil, codes.OK},
		{"an allow that comes too late", ended, &authv3.CheckRequest{}, allow, nil, codes.Canceled},
		{"an allow beside an error", t.Context(), &authv3.CheckRequest{}, allow, errors.New("x"), codes.Unknown},
		{"an allow beside an error without a code", t.Context(), &authv3.CheckRequest{}, allow, okError{errors.New("x")}, codes.Internal},
		{"a response of another type", t.Context(), &authv3.CheckRequest{}, &rpcstatus.Status{}, nil, codes.Internal},
		{"no response", t.Context(), &authv3.CheckRequest{}, nil, nil, codes.Internal},
		{"another service", t.Context(), &rpcstatus.Status{}, &rpcstatus.Status{}, nil, codes.OK},
	} {
		resp, err := extauthz.Guard(c.ctx, c.req, nil, func(context.Context, any) (any, error) { return c.resp, c.err })
		if status.Code(err) != c.want || (err == nil) != (c.want == codes.OK) {
			t.Errorf("%s: %v, %v, want %v", c.name, resp, err, c.want)
		}
	}
}
