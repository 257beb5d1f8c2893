package extauthz_test

import (
	"context"
	"encoding/base64"
	"strconv"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/credence-mesh/credence/extauthz"
)

// withCall makes the request a call of this content type.
func withCall(content string) func(*authv3.AttributeContext) {
	return func(a *authv3.AttributeContext) {
		a.Request.Http.Method = "POST"
		a.Request.Http.HeaderMap.Headers = append(a.Request.Http.HeaderMap.Headers, &corev3.HeaderValue{Key: "content-type", RawValue: []byte(content)})
	}
}

// statusHTTP is the HTTP status that a gRPC code stands for in these tests.
func statusHTTP(t testing.TB, code codes.Code) int {
	t.Helper()
	http, ok := map[codes.Code]int{codes.Unauthenticated: 401, codes.PermissionDenied: 403, codes.InvalidArgument: 400, codes.Unavailable: 503}[code]
	if !ok {
		t.Fatalf("a refusal with code %v", code)
	}
	return http
}

// readRPC reads a refusal of gRPC as read does one of HTTP; false: it is none.
func readRPC(t testing.TB, resp *authv3.CheckResponse, denied *authv3.DeniedHttpResponse) (answer, bool) {
	t.Helper()
	headers := map[string]string{}
	for _, h := range denied.GetHeaders() {
		headers[h.GetHeader().GetKey()] = h.GetHeader().GetValue()
	}
	if headers["grpc-status"] == "" {
		return answer{}, false
	}
	code, err := strconv.Atoi(headers["grpc-status"])
	if err != nil || int32(code) != resp.GetStatus().GetCode() || denied.GetStatus().GetCode() != 200 || denied.GetBody() != "" {
		t.Fatalf("a refusal that says two things: %v", resp)
	}
	data, err := base64.RawStdEncoding.DecodeString(headers["grpc-status-details-bin"])
	details, info := &rpcstatus.Status{}, &errdetails.ErrorInfo{}
	if err == nil {
		err = proto.Unmarshal(data, details)
	}
	if err != nil || len(details.GetDetails()) != 1 || details.GetDetails()[0].UnmarshalTo(info) != nil || int(details.GetCode()) != code {
		t.Fatalf("details %q: %v", headers["grpc-status-details-bin"], err)
	}
	if info.GetDomain() != "credence.mesh" || info.GetMetadata()["decision"] != headers["x-credence-decision"] || headers["x-credence-decision"] == "" || headers["cache-control"] != "no-store" {
		t.Errorf("details %v beside %v", info, headers)
	}
	return answer{Code: statusHTTP(t, codes.Code(code)), Reason: strings.ToLower(info.GetReason())}, true
}

// A refused call hears the status of gRPC that stands for the HTTP status, with the same reason and challenge; HTTP says 200, and the
// CheckResponse never says OK.
func TestRefusedCalls(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		name  string
		edits []func(*authv3.AttributeContext)
	}{
		{"no token", []func(*authv3.AttributeContext){withAuth()}},
		{"a bad token", []func(*authv3.AttributeContext){withAuth("Bearer bad")}},
		{"two tokens", []func(*authv3.AttributeContext){withAuth("Bearer a", "Bearer b")}},
		{"without the scope", []func(*authv3.AttributeContext){withAuth("Bearer alice~x")}},
		{"no keys", []func(*authv3.AttributeContext){withAuth("Bearer later")}},
		{"a panic", []func(*authv3.AttributeContext){withAuth("Bearer panic")}},
		{"a path with dots", []func(*authv3.AttributeContext){withPath("/orders/..")}},
		{"another workload", []func(*authv3.AttributeContext){withPeer("cert "+batchID, batchID)}},
		{"an unknown route", []func(*authv3.AttributeContext){withRoute("gone")}},
		{"an issuer that is missing", []func(*authv3.AttributeContext){withRoute("broken")}},
	} {
		want := r.answer(t, ask(append(c.edits, withMethod("POST"))...))
		for _, content := range []string{"application/grpc", "application/grpc+proto", "Application/gRPC;a=b", "application/grpc-web+proto", "application/grpc-web-text"} {
			req := ask(append(c.edits, withCall(content))...)
			got := r.answer(t, req)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, %s (-HTTP +gRPC):\n%s", c.name, content, diff)
			}
			data, err := proto.Marshal(req)
			if err != nil {
				t.Fatal(err)
			}
			lean := &authv3.CheckRequest{}
			if err := extauthz.DecodeCheckRequest(data, lean); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, r.answer(t, lean)); diff != "" {
				t.Errorf("%s, %s, as it is decoded (-HTTP +gRPC):\n%s", c.name, content, diff)
			}
		}
	}
	if got := r.answer(t, ask(withCall("application/grpc"))); got.Code != 200 {
		t.Errorf("an allowed call: %+v", got)
	}
}

// What is no call is answered as HTTP, and nothing that the client wrote is repeated.
func TestWhatIsACall(t *testing.T) {
	r := newRig(t)
	kind := func(req *authv3.CheckRequest) string {
		t.Helper()
		resp, err := r.Check(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range resp.GetDeniedResponse().GetHeaders() {
			if h.GetHeader().GetKey() == "content-type" {
				return h.GetHeader().GetValue()
			}
		}
		return ""
	}
	for content, want := range map[string]string{
		"application/grpc": "application/grpc", "application/grpc+json": "application/grpc", "APPLICATION/GRPC": "application/grpc", "application/grpc; x": "application/grpc",
		"application/grpc-web": "application/grpc-web+proto", "application/grpc-web+json": "application/grpc-web+proto", "application/grpc-web\xff": "application/grpc-web+proto",
		"application/grpc-web-text": "application/grpc-web-text+proto", "application/grpc-web-text+proto": "application/grpc-web-text+proto",
		"application/grpcx": "application/problem+json", "application/json": "application/problem+json", "": "application/problem+json", "application/grpc,application/json": "application/problem+json",
		"text/plain;application/grpc": "application/problem+json", " application/grpc": "application/problem+json",
	} {
		if got := kind(ask(withAuth(), withCall(content))); got != want {
			t.Errorf("%q: answered as %q, want %q", content, got, want)
		}
	}
	if got := kind(ask(withAuth(), withCall("application/grpc"), withMethod("GET"))); got != "application/problem+json" {
		t.Errorf("GET with the content type of gRPC: answered as %q", got)
	}
}
