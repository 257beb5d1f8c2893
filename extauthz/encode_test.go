package extauthz_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/google/go-cmp/cmp"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"pgregory.net/rapid"

	"github.com/credence-mesh/credence/extauthz"
)

// anyText is text of lengths around those where the length of a message takes one more byte.
func anyText(t *rapid.T) string {
	if rapid.IntRange(0, 9).Draw(t, "long") == 0 {
		return strings.Repeat("é", rapid.SampledFrom([]int{50, 60, 63, 64, 65, 100, 8150, 8192, 10000}).Draw(t, "length"))
	}
	return rapid.String().Draw(t, "text")
}

// visibleText is anyText that may stand in a header: nothing else leaves.
func visibleText(t *rapid.T) string {
	if rapid.IntRange(0, 9).Draw(t, "long") == 0 {
		return strings.Repeat("e", rapid.SampledFrom([]int{100, 120, 126, 127, 128, 129, 200, 16300, 16384}).Draw(t, "length"))
	}
	return rapid.StringMatching(`[ -~]{0,20}`).Draw(t, "text")
}

func anyName(t *rapid.T) string { return rapid.StringMatching(`[a-z0-9-]{1,20}`).Draw(t, "name") }

func anyParameter(t *rapid.T) string {
	return rapid.StringMatching(`([A-Za-z0-9._~-]|%[0-9A-F]{2}){1,20}`).Draw(t, "parameter")
}

func anyHeaders(t *rapid.T) []*corev3.HeaderValueOption {
	var out []*corev3.HeaderValueOption
	for range rapid.IntRange(0, 8).Draw(t, "headers") {
		o := &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: anyName(t), Value: visibleText(t)}}
		switch rapid.IntRange(0, 40).Draw(t, "odd header") {
		case 0:
			o.Append = wrapperspb.Bool(true) //nolint:staticcheck // the deprecated field too
		case 1:
			o.AppendAction = corev3.HeaderValueOption_OVERWRITE_IF_EXISTS
		case 2:
			o.KeepEmptyValue = true
		case 3:
			o.Header.RawValue = []byte{0xff}
		case 4:
			o.Header = nil
		}
		out = append(out, o)
	}
	return out
}

func anyMetadata(t *rapid.T) *structpb.Struct {
	s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for range rapid.IntRange(0, 5).Draw(t, "members") {
		s.Fields[anyText(t)] = anyMember(t, 2)
	}
	return s
}

func anyMember(t *rapid.T, depth int) *structpb.Value {
	switch rapid.IntRange(0, 40).Draw(t, "member") {
	case 0:
		return structpb.NewNullValue()
	case 1:
		return &structpb.Value{}
	case 2, 3, 4:
		return structpb.NewNumberValue(rapid.Float64().Draw(t, "number"))
	case 5, 6, 7:
		return structpb.NewBoolValue(rapid.Bool().Draw(t, "boolean"))
	case 8, 9, 10, 11, 12:
		list := &structpb.ListValue{}
		for range rapid.IntRange(0, depth).Draw(t, "elements") {
			list.Values = append(list.Values, anyMember(t, depth-1))
		}
		return structpb.NewListValue(list)
	case 13, 14, 15:
		s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
		for range rapid.IntRange(0, depth).Draw(t, "members") {
			s.Fields[anyText(t)] = anyMember(t, depth-1)
		}
		return structpb.NewStructValue(s)
	}
	return structpb.NewStringValue(anyText(t))
}

func anyResponse(t *rapid.T) *authv3.CheckResponse {
	resp := &authv3.CheckResponse{Status: &rpcstatus.Status{Code: rapid.Int32().Draw(t, "code") | 1, Message: anyText(t)}}
	if rapid.IntRange(0, 20).Draw(t, "details") == 0 {
		resp.Status.Details = []*anypb.Any{{TypeUrl: "x"}}
	}
	if rapid.Bool().Draw(t, "metadata") {
		resp.DynamicMetadata = anyMetadata(t)
	}
	denied := &authv3.DeniedHttpResponse{Headers: anyHeaders(t), Body: anyText(t)}
	if rapid.Bool().Draw(t, "status") {
		denied.Status = &typev3.HttpStatus{Code: typev3.StatusCode(rapid.SampledFrom([]int32{0, 200, 302, 400, 401, 503, 599, 600}).Draw(t, "HTTP"))}
	}
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0:
		resp.HttpResponse = &authv3.CheckResponse_DeniedResponse{DeniedResponse: denied}
	case 1:
		resp.HttpResponse = &authv3.CheckResponse_ErrorResponse{ErrorResponse: denied}
	default:
		resp.Status.Code = 0
		ok := &authv3.OkHttpResponse{Headers: anyHeaders(t), HeadersToRemove: rapid.SliceOf(rapid.StringMatching(`[a-z_.-]{1,12}`)).Draw(t, "removed")}
		switch rapid.IntRange(0, 20).Draw(t, "odd") {
		case 0:
			ok.ResponseHeadersToAdd = anyHeaders(t)
		case 1:
			ok.QueryParametersToSet = []*corev3.QueryParameter{nil}
		case 2:
			ok.QueryParametersToRemove = []string{"a"}
		case 3:
			ok.DynamicMetadata = anyMetadata(t) //nolint:staticcheck // the deprecated field too
		}
		for range rapid.IntRange(0, 3).Draw(t, "parameters") {
			ok.QueryParametersToSet = append(ok.QueryParametersToSet, &corev3.QueryParameter{Key: anyParameter(t), Value: anyParameter(t)})
			ok.QueryParametersToRemove = append(ok.QueryParametersToRemove, anyParameter(t))
		}
		resp.HttpResponse = &authv3.CheckResponse_OkResponse{OkResponse: ok}
	}
	return resp
}

// What leaves is what proto.Marshal would send, whatever the response holds, or nothing where Guard lets nothing through.
func TestResponsesLeaveAsTheyAre(t *testing.T) {
	var resp *authv3.CheckResponse
	client := authv3.NewAuthorizationClient(serve(t, func(r grpc.ServiceRegistrar) {
		authv3.RegisterAuthorizationServer(r, fixed{answer: func() (*authv3.CheckResponse, error) { return resp, nil }})
	}, extauthz.ServerOptions(nil)...))
	rapid.Check(t, func(t *rapid.T) {
		resp = anyResponse(t)
		_, wantErr := extauthz.Guard(context.Background(), ask(), nil, func(context.Context, any) (any, error) { return resp, nil })
		var data []byte
		if wantErr == nil {
			data, wantErr = proto.Marshal(resp)
		}
		got, err := client.Check(context.Background(), ask())
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%v: %v, proto.Marshal: %v", resp, err, wantErr)
		}
		if wantErr != nil {
			return
		}
		want := &authv3.CheckResponse{}
		if err := proto.Unmarshal(data, want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Fatalf("(-proto.Marshal +sent):\n%s", diff)
		}
	})
}

// A string that is not UTF-8 is an error of the call, as it is everywhere: it is never sent.
func TestResponseThatIsNotUTF8(t *testing.T) {
	resp := &authv3.CheckResponse{Status: &rpcstatus.Status{}, HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{HeadersToRemove: []string{"\xff"}}}}
	client := authv3.NewAuthorizationClient(serve(t, func(r grpc.ServiceRegistrar) {
		authv3.RegisterAuthorizationServer(r, fixed{answer: func() (*authv3.CheckResponse, error) { return resp, nil }})
	}, extauthz.ServerOptions(nil)...))
	if got, err := client.Check(context.Background(), ask()); err == nil {
		t.Errorf("sent: %v", got)
	}
}

// returned is a Check server that keeps what the one behind it has returned.
type returned struct {
	authv3.UnimplementedAuthorizationServer
	server *extauthz.Server
	last   *authv3.CheckResponse
}

func (r *returned) Check(ctx context.Context, req *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	resp, err := r.server.Check(ctx, req)
	r.last = resp
	return resp, err
}

// Envoy reads what Check has returned, for every kind of outcome.
func TestOutcomesLeaveAsTheyAre(t *testing.T) {
	r := newRig(t)
	through := &returned{server: r.Server}
	client := authv3.NewAuthorizationClient(serve(t, func(s grpc.ServiceRegistrar) { authv3.RegisterAuthorizationServer(s, through) }, extauthz.ServerOptions(nil)...))
	var codes []int
	for _, req := range []*authv3.CheckRequest{
		ask(), ask(withRoute("plain")), ask(withRoute("plain"), withAuth(), withPeer("", "")), ask(withAuth()), ask(withAuth("Bearer alice~x")), ask(withAuth(`Bearer a"é<&%`)),
		ask(withAuth("Bearer é%~orders:read")), ask(withAuth("Bearer bad")), ask(withAuth("Bearer later")), ask(withAuth("Bearer panic")), ask(withAuth("Bearer a,b")),
		ask(withPath("/..")), ask(withPeer("cert "+batchID, batchID)), ask(withRoute("gone")), ask(withRoute("broken")),
		{},
		ask(withAuth(), withCall("application/grpc"), withMethod("POST")), ask(withAuth("Bearer later"), withCall("application/grpc-web-text"), withMethod("POST")),
	} {
		got, err := client.Check(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(through.last, got, protocmp.Transform()); diff != "" {
			t.Errorf("%v (-returned +sent):\n%s", req, diff)
		}
		codes = append(codes, read(t, got).Code)
	}
	for _, want := range []int{200, 400, 401, 403, 503} {
		if !slices.Contains(codes, want) {
			t.Errorf("no outcome with %d among %v", want, codes)
		}
	}
}

// Fields that a new go-control-plane adds to a response must be known to the encoder before anything sets them.
func TestFieldsOfResponses(t *testing.T) {
	for want, m := range map[string]proto.Message{
		"status denied_response ok_response error_response dynamic_metadata":                                                    &authv3.CheckResponse{},
		"headers headers_to_remove dynamic_metadata response_headers_to_add query_parameters_to_set query_parameters_to_remove": &authv3.OkHttpResponse{},
		"status headers body":                          &authv3.DeniedHttpResponse{},
		"header append append_action keep_empty_value": &corev3.HeaderValueOption{},
		"key value raw_value":                          &corev3.HeaderValue{},
		"code":                                         &typev3.HttpStatus{},
		"code message details":                         &rpcstatus.Status{},
		"fields":                                       &structpb.Struct{},
	} {
		var names []string
		fields := m.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			names = append(names, string(fields.Get(i).Name()))
		}
		words := strings.Fields(want)
		slices.Sort(words)
		slices.Sort(names)
		if diff := cmp.Diff(words, names); diff != "" {
			t.Errorf("%s (-known to encode.go +declared):\n%s", m.ProtoReflect().Descriptor().FullName(), diff)
		}
	}
}
