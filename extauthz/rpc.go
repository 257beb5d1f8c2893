package extauthz

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	contentType = "content-type"
	grpcType    = "application/grpc"
	webType     = grpcType + "-web"
	webTextType = webType + "-text"
)

// errorDomain is the domain of every ErrorInfo (AIP-193).
const errorDomain = "credence.mesh"

// rpcType is the content type of an answer to a request that is a call of gRPC or gRPC-Web, and empty for any other request. Envoy's
// grpc_web filter, where it is, has made gRPC of gRPC-Web before a Check sees it, and makes gRPC-Web of the answer.
func rpcType(h *authv3.AttributeContext_HttpRequest) string {
	if h.GetMethod() != http.MethodPost {
		return ""
	}
	for _, v := range h.GetHeaderMap().GetHeaders() {
		if !strings.EqualFold(v.GetKey(), contentType) {
			continue
		}
		value := v.GetValue()
		if raw := v.GetRawValue(); len(raw) > 0 {
			value = string(raw)
		}
		if isRPC(value) {
			return answerType(value)
		}
	}
	for k, v := range h.GetHeaders() {
		if strings.EqualFold(k, contentType) && isRPC(v) {
			return answerType(v)
		}
	}
	return ""
}

// isRPC: "application/grpc", alone or before "+proto", ";…" or "-web…" (gRPC over HTTP/2, "Content-Type"; PROTOCOL-WEB).
func isRPC(value string) bool {
	if len(value) < len(grpcType) || !strings.EqualFold(value[:len(grpcType)], grpcType) {
		return false
	}
	rest := value[len(grpcType):]
	return rest == "" || rest[0] == '+' || rest[0] == ';' || rest[0] == ' ' || strings.HasPrefix(rest, "-web")
}

// answerType never repeats what the client wrote.
func answerType(value string) string {
	value = strings.ToLower(value)
	switch {
	case strings.HasPrefix(value, webTextType):
		return webTextType + "+proto"
	case strings.HasPrefix(value, webType):
		return webType + "+proto"
	}
	return grpcType
}

// rpcRefusal is a refusal that gRPC clients understand: the status in headers (gRPC over HTTP/2, "Trailers-Only"), and HTTP 200, which a
// client of gRPC-Web needs to look at them. It is a refusal to Envoy all the same: what decides there is CheckResponse.status, never OK.
func rpcRefusal(c *check, code int32, room *deniedRoom) {
	text := c.words()
	room.http.Code = typev3.StatusCode_OK
	room.headers.add(contentType, c.rpc)
	room.headers.add("grpc-status", strconv.Itoa(int(code)))
	room.headers.add("grpc-message", encodeMessage(text))
	if details := rpcDetails(c, code, text); details != "" {
		room.headers.add("grpc-status-details-bin", details)
	}
}

// rpcDetails is google.rpc.Status with an ErrorInfo, and a RetryInfo where it is known when to come again, as grpc-status-details-bin
// carries it.
func rpcDetails(c *check, code int32, text string) string {
	info := &errdetails.ErrorInfo{
		Reason: strings.ToUpper(c.outcome.reason), Domain: errorDomain, Metadata: map[string]string{"decision": c.id},
	}
	if scopes := c.outcome.decision.MissingScopes; len(scopes) > 0 {
		info.Metadata["scope"] = strings.ToValidUTF8(strings.Join(scopes, " "), "\uFFFD")
	}
	detail, err := anypb.New(info)
	if err != nil {
		return ""
	}
	details := []*anypb.Any{detail}
	if c.outcome.kind == limited {
		retry, err := anypb.New(&errdetails.RetryInfo{RetryDelay: durationpb.New(limitedFor)})
		if err != nil {
			return ""
		}
		details = append(details, retry)
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(&rpcstatus.Status{Code: code, Message: strings.ToValidUTF8(text, "\uFFFD"), Details: details})
	if err != nil {
		return ""
	}
	return base64.RawStdEncoding.EncodeToString(data)
}

// encodeMessage is the percent-encoding of grpc-message (gRPC over HTTP/2, "Status-Message"): all but printable ASCII, and '%'.
func encodeMessage(s string) string { return encodeValue(s, true) }
