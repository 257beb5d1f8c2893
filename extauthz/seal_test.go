package extauthz_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

func leaves(t *testing.T, resp *authv3.CheckResponse) bool {
	t.Helper()
	_, err := extauthz.Guard(t.Context(), ask(), nil, func(context.Context, any) (any, error) { return resp, nil })
	return err == nil
}

func oneHeader(name, value string) []*corev3.HeaderValueOption {
	return []*corev3.HeaderValueOption{{Header: &corev3.HeaderValue{Key: name, Value: value}}}
}

func changing(ok *authv3.OkHttpResponse) *authv3.CheckResponse {
	return &authv3.CheckResponse{Status: &rpcstatus.Status{}, HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: ok}}
}

func refusing(code typev3.StatusCode, headers []*corev3.HeaderValueOption, asError bool) *authv3.CheckResponse {
	denied := &authv3.DeniedHttpResponse{Status: &typev3.HttpStatus{Code: code}, Headers: headers}
	resp := &authv3.CheckResponse{Status: &rpcstatus.Status{Code: 7}, HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: denied}}
	if asError {
		resp.HttpResponse = &authv3.CheckResponse_ErrorResponse{ErrorResponse: denied}
	}
	return resp
}

// Envoy writes what it gets (validate_mutations is off, docs/design/0006): nothing leaves that could end a header or a parameter before
// its end, join what the client has sent, or make the request larger than Envoy takes.
func TestNothingLeavesThatEnvoyWouldWriteWrongly(t *testing.T) {
	parameter := func(name, value string) *authv3.OkHttpResponse {
		return &authv3.OkHttpResponse{QueryParametersToSet: []*corev3.QueryParameter{{Key: name, Value: value}}}
	}
	appended, action, raw := oneHeader("x-a", "b"), oneHeader("x-a", "b"), oneHeader("x-a", "b")
	appended[0].Append = wrapperspb.Bool(false) //nolint:staticcheck // the deprecated field too
	action[0].AppendAction = corev3.HeaderValueOption_ADD_IF_ABSENT
	raw[0].Header.RawValue = []byte("b\r\nx: y")
	for name, ok := range map[string]*authv3.OkHttpResponse{
		"append":              {Headers: appended},
		"append action":       {Headers: action},
		"raw value":           {Headers: raw},
		"header that is nil":  {Headers: []*corev3.HeaderValueOption{nil}},
		"response header":     {ResponseHeadersToAdd: oneHeader("x-a", "b")},
		"old metadata":        {DynamicMetadata: &structpb.Struct{}},
		"removes no name":     {HeadersToRemove: []string{""}},
		"removes :path":       {HeadersToRemove: []string{":path"}},
		"removes two":         {HeadersToRemove: []string{"a\r\nb"}},
		"removes a parameter": {QueryParametersToRemove: []string{"a b"}},
		"removes many":        {QueryParametersToRemove: slices.Repeat([]string{"a"}, 257)},
		"parameter of nobody": parameter("", "x"),
		"many headers":        {Headers: slices.Repeat(oneHeader("x-a", "b"), 101)},
		"long headers":        {Headers: slices.Repeat(oneHeader("x-a", strings.Repeat("b", 8<<10)), 6)},
		"long parameter":      parameter("x", strings.Repeat("b", 49<<10)),
		"many, of each kind":  {Headers: slices.Repeat(oneHeader("x-a", "b"), 60), HeadersToRemove: slices.Repeat([]string{"b"}, 60)},
	} {
		if leaves(t, changing(ok)) {
			t.Errorf("%s leaves", name)
		}
	}
	for c := range 256 {
		s := string(rune(c))
		if c >= 0x80 {
			s = string([]byte{byte(c)})
		}
		lower := strings.Contains("abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~", s)
		visible := c >= 0x20 && c <= 0x7e
		unreserved := strings.Contains("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~", s)
		for what, x := range map[string]struct {
			resp *authv3.CheckResponse
			want bool
		}{
			"header name":          {changing(&authv3.OkHttpResponse{Headers: oneHeader("a"+s+"b", "v")}), lower},
			"header value":         {changing(&authv3.OkHttpResponse{Headers: oneHeader("a", "v"+s+"v")}), visible},
			"removed header":       {changing(&authv3.OkHttpResponse{HeadersToRemove: []string{"a" + s}}), lower},
			"parameter name":       {changing(parameter("a"+s+"b", "v")), unreserved},
			"parameter value":      {changing(parameter("a", "v"+s)), unreserved},
			"removed parameter":    {changing(&authv3.OkHttpResponse{QueryParametersToRemove: []string{"a" + s}}), visible && s != " "},
			"refusal header name":  {refusing(403, oneHeader("a"+s+"b", "v"), false), lower},
			"refusal header value": {refusing(403, oneHeader("a", "v"+s+"v"), true), visible},
		} {
			if got := leaves(t, x.resp); got != x.want {
				t.Errorf("%q in a %s leaves: %v", s, what, got)
			}
		}
	}
	for value, want := range map[string]bool{"%0A": true, "a%2fb": true, "%": false, "%2": false, "%2G": false, "%%20": false, "": true} {
		if got := leaves(t, changing(parameter("x", value))); got != want {
			t.Errorf("parameter %q leaves: %v", value, got)
		}
	}
	for code, want := range map[typev3.StatusCode]bool{0: true, 200: true, 400: true, 599: true, 100: false, 201: false, 302: false, 399: false, 600: false, 999: false} {
		for _, asError := range []bool{false, true} {
			if got := leaves(t, refusing(code, nil, asError)); got != want {
				t.Errorf("a refusal with status %d leaves: %v", code, got)
			}
		}
	}
}

// carrying is the rig's Set with one parameter and one header for a claim at its port that reads tokens.
func carrying() *policy.Set {
	set := orders()
	claim := []string{"c"}
	set.Workloads[0].Ports[0].Access.Upstream = &policy.Upstream{
		Headers: []policy.ClaimOutput{{Name: "x-c", Path: claim}}, Query: []policy.ClaimOutput{{Name: "c", Path: claim}},
	}
	return set
}

// FuzzClaimsNeverStopAnAnswer: whatever a claim or a query holds, Check's own answer passes its own guard: encoded, or as a refusal.
func FuzzClaimsNeverStopAnAnswer(f *testing.F) {
	for _, s := range []string{"", "a", "a\r\nx: y", "&c=1#%", "\xff", "ü,", strings.Repeat("%", 1400), strings.Repeat("a", 5000)} {
		f.Add(s, "c="+s)
	}
	f.Add("x", strings.Repeat("%63&", 300))
	r := newRig(f, func(o *extauthz.Options) {
		o.Verifier = verifier(func(_ context.Context, raw string, accepted []policy.Name) (*decide.User, error) {
			return &decide.User{
				Credential: policy.BearerToken, Issuer: accepted[0], IssuerURL: "https://dev.test", Subject: "alice",
				Scopes: []string{"orders:read"}, Claims: map[string]any{"c": raw},
			}, nil
		})
	})
	r.Publish(carrying(), 2)
	f.Fuzz(func(t *testing.T, claim, query string) {
		resp, err := r.Check(context.Background(), ask(withPath("/orders/7?"+query), withAuth("Bearer "+claim)))
		if err != nil {
			t.Fatalf("%q, %q: %v", claim, query, err)
		}
		if ok := resp.GetOkResponse(); ok != nil {
			for _, h := range ok.GetHeaders() {
				if h.GetHeader().GetKey() == "x-c" && strings.ContainsAny(h.GetHeader().GetValue(), "\r\n") {
					t.Errorf("%q", h)
				}
			}
		}
	})
}

// A client that sends very many spellings of a policy's parameter is told that the request is bad, and costs no more than that.
func TestQueryInManySpellings(t *testing.T) {
	r := newRig(t)
	r.Publish(carrying(), 2)
	for query, want := range map[string]string{
		strings.Repeat("%63=1&", 256): "allowed", strings.Repeat("%63=1&", 257): "query_ambiguous", "C\x7f=1&C=2": "allowed", "%63\x80": "query_ambiguous",
		"a=1;c=2": "query_ambiguous", "a=1;%43=2": "query_ambiguous", "c=1;d": "query_ambiguous", "a=1;+c=2": "query_ambiguous", "a;c[]=2": "query_ambiguous",
		"a=1;b=c": "allowed", "a=c;cc=2": "allowed",
	} {
		if got := r.answer(t, ask(withPath("/orders/7?"+query))).Reason; got != want {
			t.Errorf("%.20q: %s, want %s", query, got, want)
		}
	}
}

// Servers find lists, objects and blanks in names: none of these is a way to give the service another value beside the policy's.
func TestQueryInOtherSpellings(t *testing.T) {
	r := newRig(t)
	r.Publish(carrying(), 2)
	for sent, want := range map[string]bool{
		"c": true, "C": true, "%63": true, "c[]": true, "c%5B%5D": true, "c[0]": true, "c[a]": true, "[c]": true, "+c": true, "%20c": true, "c+": true, "c[": true, "C[]": true,
		"cc": false, "a[c]": false, "c.d": false, "a": false,
	} {
		resp, err := r.Check(context.Background(), ask(withPath("/orders/7?x=1&"+sent+"=forged")))
		if err != nil || resp.GetOkResponse() == nil {
			t.Fatalf("%s: %v %v", sent, resp, err)
		}
		if got := slices.Contains(resp.GetOkResponse().GetQueryParametersToRemove(), sent); got != want {
			t.Errorf("%s is removed: %t", sent, got)
		}
	}
}
