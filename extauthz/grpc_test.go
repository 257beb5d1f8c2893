package extauthz_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/credence-mesh/credence/extauthz"
)

// serve runs a Check server on a unix socket as the product does, and returns a connection to it.
func serve(t testing.TB, register func(grpc.ServiceRegistrar), options ...grpc.ServerOption) *grpc.ClientConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "authz.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(options...)
	register(s)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return conn
}

// fixed answers every Check with the same response.
type fixed struct {
	authv3.UnimplementedAuthorizationServer
	answer func() (*authv3.CheckResponse, error)
}

func (f fixed) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return f.answer()
}

// What Envoy would take for an allow though nobody said so leaves no server that has the options of this package.
func TestUnmeantAllowNeverLeaves(t *testing.T) {
	ok := &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}}
	denied := &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{}}
	failed := &authv3.CheckResponse_ErrorResponse{ErrorResponse: &authv3.DeniedHttpResponse{}}
	for name, tt := range map[string]struct {
		resp *authv3.CheckResponse
		err  error
		want codes.Code
	}{
		"nil":                        {nil, nil, codes.Internal},
		"empty":                      {&authv3.CheckResponse{}, nil, codes.Internal},
		"nil status, ok response":    {&authv3.CheckResponse{HttpResponse: ok}, nil, codes.Internal},
		"status OK alone":            {&authv3.CheckResponse{Status: &rpcstatus.Status{}}, nil, codes.Internal},
		"status OK, denied":          {&authv3.CheckResponse{Status: &rpcstatus.Status{}, HttpResponse: denied}, nil, codes.Internal},
		"status OK, error":           {&authv3.CheckResponse{Status: &rpcstatus.Status{}, HttpResponse: failed}, nil, codes.Internal},
		"status OK, empty ok":        {&authv3.CheckResponse{Status: &rpcstatus.Status{}, HttpResponse: &authv3.CheckResponse_OkResponse{}}, nil, codes.Internal},
		"status 7, ok response":      {&authv3.CheckResponse{Status: &rpcstatus.Status{Code: 7}, HttpResponse: ok}, nil, codes.Internal},
		"status 7 alone":             {&authv3.CheckResponse{Status: &rpcstatus.Status{Code: 7}}, nil, codes.Internal},
		"an error":                   {nil, errors.New("x"), codes.Unknown},
		"an allow that says so":      {&authv3.CheckResponse{Status: &rpcstatus.Status{}, HttpResponse: ok}, nil, codes.OK},
		"a refusal with a code":      {&authv3.CheckResponse{Status: &rpcstatus.Status{Code: 7}, HttpResponse: denied}, nil, codes.OK},
		"an error with a code of it": {&authv3.CheckResponse{Status: &rpcstatus.Status{Code: 14}, HttpResponse: failed}, nil, codes.OK},
	} {
		t.Run(name, func(t *testing.T) {
			conn := serve(t, func(r grpc.ServiceRegistrar) {
				authv3.RegisterAuthorizationServer(r, fixed{answer: func() (*authv3.CheckResponse, error) { return tt.resp, tt.err }})
			}, extauthz.ServerOptions(nil)...)
			if _, err := authv3.NewAuthorizationClient(conn).Check(context.Background(), ask()); status.Code(err) != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestOverUnixSocket(t *testing.T) {
	r := newRig(t)
	client := authv3.NewAuthorizationClient(serve(t, r.Register, extauthz.ServerOptions(r.Server)...))
	for _, tt := range []struct {
		req  *authv3.CheckRequest
		want int
	}{
		{ask(), 200},
		{ask(withAuth()), 401},
		{ask(withAuth("Bearer alice~x")), 403},
		{ask(withAuth("Bearer panic")), 503},
		{ask(withAuth("Bearer a,b")), 400},
		{ask(withPeer("cert "+batchID, "")), 403},
		{&authv3.CheckRequest{}, 403},
	} {
		resp, err := client.Check(context.Background(), tt.req)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, resp); got.Code != tt.want {
			t.Errorf("%+v, want %d", got, tt.want)
		}
	}
	big := ask(func(a *authv3.AttributeContext) { a.Request.Http.Body = string(make([]byte, 2<<20)) })
	if _, err := client.Check(context.Background(), big); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message over the limit: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := client.Check(ctx, ask()); status.Code(err) != codes.Canceled {
		t.Errorf("a context that has ended: %v", err)
	}
}

// Any bytes that decode to a CheckRequest get a response that means what it says.
func FuzzCheckRequest(f *testing.F) {
	for _, req := range []*authv3.CheckRequest{ask(), ask(withRoute("plain")), {}, ask(withAuth("Bearer a", "Bearer b")), ask(withCall("application/grpc-web+proto"), withPath("/x"))} {
		data, err := proto.Marshal(req)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	r := newRig(f, discard)
	f.Fuzz(func(t *testing.T, data []byte) {
		req := &authv3.CheckRequest{}
		if err := proto.Unmarshal(data, req); err != nil {
			return
		}
		got := r.answer(t, req)
		// The lean decoder sees the same request.
		lean := &authv3.CheckRequest{}
		if err := extauthz.DecodeCheckRequest(data, lean); err != nil {
			t.Fatalf("lean decoder: %v", err)
		}
		if same := r.answer(t, lean); same != got {
			t.Fatalf("%+v, by the lean decoder %+v", got, same)
		}
		if id := req.GetAttributes().GetContextExtensions()["route"]; got.Code == 200 && id != "http" && id != "plain" {
			t.Fatalf("route %q is allowed", id)
		}
		if got.Reason == "internal_error" && !bytes.Contains(data, []byte("panic")) {
			t.Fatal("a panic")
		}
	})
}

// The lean decoder leaves nothing out that a Check reads, and takes nothing that is not protobuf.
func TestLeanDecoder(t *testing.T) {
	both := ask(func(a *authv3.AttributeContext) {
		a.Request.Http.Headers = map[string]string{"Authorization": "Bearer c", "x": "y"}
		a.Request.Http.HeaderMap.Headers = append(a.Request.Http.HeaderMap.Headers, &corev3.HeaderValue{Key: "Authorization", Value: "a", RawValue: []byte{0xff}})
		a.ContextExtensions["other"] = "x"
		a.Destination = &authv3.AttributeContext_Peer{Principal: "p", Certificate: "c"}
		a.Request.Http.Size, a.Request.Http.Body, a.Request.Http.Protocol = 7, "body", "HTTP/1.1"
	})
	data, err := proto.Marshal(both)
	if err != nil {
		t.Fatal(err)
	}
	got := &authv3.CheckRequest{}
	if err := extauthz.DecodeCheckRequest(data, got); err != nil {
		t.Fatal(err)
	}
	want := &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{Certificate: "cert " + webID, Principal: webID},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: "GET", Path: "/orders/7?x=1", Host: "orders:8080", Protocol: "HTTP/1.1", Headers: map[string]string{"Authorization": "Bearer c"},
			HeaderMap: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{
				{Key: "authorization", Value: "Bearer alice~orders:read"}, {Key: "Authorization", Value: "a", RawValue: []byte{0xff}},
			}},
		}},
		ContextExtensions: map[string]string{"route": "http", "\x00interest": ","},
	}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// The header that is cut off at the end must be noticed wherever the cut is.
	for n := 1; n < len(data); n++ {
		full, lean := proto.Unmarshal(data[:n], &authv3.CheckRequest{}), extauthz.DecodeCheckRequest(data[:n], &authv3.CheckRequest{})
		if (full == nil) != (lean == nil) {
			t.Fatalf("cut at %d: %v, lean %v", n, full, lean)
		}
	}
	for _, bad := range []*authv3.AttributeContext_HttpRequest{{Path: "/\xff"}, {Host: "\xff"}, {Method: "\xff"}} {
		data, err := proto.MarshalOptions{}.Marshal(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{Http: bad}}})
		if err == nil {
			err = extauthz.DecodeCheckRequest(data, &authv3.CheckRequest{})
		}
		if err == nil {
			t.Errorf("%v: a string that is not UTF-8 is taken", bad)
		}
	}
}
