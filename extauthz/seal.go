package extauthz

import (
	"cmp"
	"context"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What one answer may change at most. Envoy refuses requests that have grown beyond 100 headers or 60 KiB.
const (
	maxChanges     = 100
	maxChangeBytes = 48 << 10
)

// seal lets through what Envoy reads the way it is meant: an allow that says so in full and in time, or a refusal with a code other
// than OK. Envoy takes an empty response, one without a status, and a denied_response with status OK for an allow.
//
// Envoy would check by itself whether what it is to write is well-formed (validate_mutations), but it takes no percent-encoded query
// parameter for that. So nothing leaves that could end a header, a parameter or the request line before its end (docs/design/0006).
func seal(ctx context.Context, resp *authv3.CheckResponse) (*authv3.CheckResponse, error) {
	if resp.GetStatus() == nil {
		return nil, status.Error(codes.Internal, "a check response without a status")
	}
	allow := resp.GetStatus().GetCode() == int32(codes.OK)
	switch resp.GetHttpResponse().(type) {
	case *authv3.CheckResponse_OkResponse:
		if ok := resp.GetOkResponse(); allow && ok != nil {
			if !changesSealed(ok) {
				return nil, status.Error(codes.Internal, "a check response that would change a request in a way that others could misread")
			}
			if err := alive(ctx); err != nil {
				return nil, err
			}
			return resp, nil
		}
	case *authv3.CheckResponse_DeniedResponse, *authv3.CheckResponse_ErrorResponse:
		denied := cmp.Or(resp.GetDeniedResponse(), resp.GetErrorResponse())
		if _, ok := headersSealed(denied.GetHeaders()); !allow && ok && refuses(denied.GetStatus()) {
			return resp, nil
		}
	}
	return nil, status.Error(codes.Internal, "a check response that says two things, or has a header that could end before its end")
}

// refuses tells whether no client takes the status for an answer of the service. Refused calls of gRPC have 200; absent is 403.
func refuses(s *typev3.HttpStatus) bool {
	code := s.GetCode()
	return code == 0 || code == typev3.StatusCode_OK || code >= 400 && code <= 599
}

// changesSealed tells whether an allow holds nothing but header fields (RFC 9110 §5.5), percent-encoded parameters (RFC 3986 §3.4) and
// names to remove, and no more than a request can take.
func changesSealed(ok *authv3.OkHttpResponse) bool {
	if len(ok.GetResponseHeadersToAdd()) > 0 || ok.GetDynamicMetadata() != nil { //nolint:staticcheck // the deprecated field too
		return false
	}
	size, sealed := headersSealed(ok.GetHeaders())
	if !sealed {
		return false
	}
	for _, name := range ok.GetHeadersToRemove() {
		if !all(name, isNameByte) || name == "" {
			return false
		}
	}
	for _, q := range ok.GetQueryParametersToSet() {
		if q.GetKey() == "" || !encoded(q.GetKey()) || !encoded(q.GetValue()) {
			return false
		}
		size += len(q.GetKey()) + len(q.GetValue())
	}
	for _, name := range ok.GetQueryParametersToRemove() {
		if !all(name, isVisible) {
			return false
		}
	}
	changes := len(ok.GetHeaders()) + len(ok.GetHeadersToRemove()) + len(ok.GetQueryParametersToSet())
	return changes <= maxChanges && len(ok.GetQueryParametersToRemove()) <= maxSpellings && size <= maxChangeBytes
}

// headersSealed gives the size of all in bytes, and whether each overwrites (append would join a client's own value, and is lost from refusals),
// its name is a token and its value visible ASCII and blanks.
func headersSealed(headers []*corev3.HeaderValueOption) (int, bool) {
	size := 0
	for _, o := range headers {
		h := o.GetHeader()
		if o.GetAppend() != nil || o.GetAppendAction() != 0 || len(h.GetRawValue()) > 0 { //nolint:staticcheck // the deprecated field too
			return 0, false
		}
		name, value := h.GetKey(), h.GetValue()
		if name == "" || !all(name, isNameByte) || !all(value, isText) {
			return 0, false
		}
		size += len(name) + len(value)
	}
	return size, true
}

func all(s string, is func(byte) bool) bool {
	for i := range len(s) {
		if !is(s[i]) {
			return false
		}
	}
	return true
}

// isNameByte is tchar (RFC 9110 §5.6.2) without upper case.
func isNameByte(c byte) bool {
	switch c {
	case '-', '_', '.', '!', '#', '$', '%', '&', '\'', '*', '+', '^', '`', '|', '~':
		return true
	}
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
}

func isText(c byte) bool { return c >= ' ' && c <= '~' }

func isVisible(c byte) bool { return c > ' ' && c <= '~' }

// encoded tells whether s is unreserved characters and whole %XX alone (RFC 3986 §2).
func encoded(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] == '%' {
			if i+2 >= len(s) {
				return false
			}
			_, high := unhex(s[i+1])
			_, low := unhex(s[i+2])
			if !high || !low {
				return false
			}
			i += 2
		} else if !isUnreserved(s[i]) {
			return false
		}
	}
	return true
}

func isUnreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}
