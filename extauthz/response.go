package extauthz

import (
	"context"
	"encoding/json"
	"strings"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/policy/decide"
)

// Headers that the upstream receives. All of them are overwritten or removed on every request that passes.
const (
	headerSubject  = "x-credence-subject"
	headerIssuer   = "x-credence-issuer"
	headerScopes   = "x-credence-scopes"
	headerClient   = "x-credence-client"
	headerPeer     = "x-credence-peer"
	headerDecision = "x-credence-decision"
)

// respond makes the answer: a refusal, unless it holds a Decision that allows. It is the one place that makes an allow.
func respond(c *check) *authv3.CheckResponse {
	if c.outcome.kind != decided || !c.outcome.decision.Allowed() {
		return deniedResponse(c)
	}
	return allowedResponse(c)
}

func allowedResponse(c *check) *authv3.CheckResponse {
	var subject, issuer, scopes, client string
	if u := c.user; u != nil {
		subject, issuer, client, scopes = u.Subject, u.IssuerURL, u.Client, strings.Join(u.Scopes, " ")
	}
	room := &allowedRoom{}
	set := func(name, value string) {
		if value == "" {
			room.removed = append(room.removed, name)
			return
		}
		room.headers.add(name, value)
	}
	room.removed = room.names[:0]
	set(headerSubject, encodeValue(subject, false))
	set(headerIssuer, encodeValue(issuer, false))
	set(headerScopes, encodeValue(scopes, true))
	set(headerClient, encodeValue(client, false))
	set(headerPeer, encodeValue(c.peer, false))
	set(headerDecision, c.id)
	metadata := room.metadata.empty()
	metadata.set("decision", c.id)
	if subject != "" {
		metadata.set("subject", subject)
	}
	if client != "" {
		metadata.set("client", client)
	}
	if c.user != nil {
		metadata.set("principal", principal(c.user))
	}
	room.ok.Headers, room.ok.HeadersToRemove = room.headers.all(), room.removed
	room.status.Code = int32(codes.OK)
	room.http.OkResponse = &room.ok
	room.resp.Status, room.resp.HttpResponse, room.resp.DynamicMetadata = &room.status, &room.http, &metadata.fields
	return &room.resp
}

// principal is the kind of whom a token speaks for: a client's id is no user's name.
func principal(u *decide.User) string {
	if u.Service {
		return "service"
	}
	return "user"
}

// deniedResponse is any answer that is not an allow; its status code is never OK.
func deniedResponse(c *check) *authv3.CheckResponse {
	o, room := &c.outcome, &deniedRoom{}
	metadata := room.metadata.empty()
	metadata.set("decision", c.id)
	metadata.set("reason", o.reason)
	code, httpCode := codes.PermissionDenied, typev3.StatusCode_Forbidden
	switch o.kind {
	case unauthorized:
		code, httpCode = codes.Unauthenticated, typev3.StatusCode_Unauthorized
	case badRequest:
		code, httpCode = codes.InvalidArgument, typev3.StatusCode_BadRequest
	case unavailable:
		code, httpCode = codes.Unavailable, typev3.StatusCode_ServiceUnavailable
	case limited:
		code, httpCode = codes.ResourceExhausted, typev3.StatusCode_TooManyRequests
	case forbidden, decided, aborted:
	}
	room.status.Code, room.status.Message = int32(code), o.reason
	resp, denied := &room.resp, &room.denied
	resp.Status, resp.DynamicMetadata = &room.status, &metadata.fields
	if c.rpc != "" {
		rpcRefusal(c, int32(code), room)
	} else {
		room.http.Code = httpCode
		room.headers.add(contentType, "application/json")
		room.headers.add("cache-control", "no-store")
		room.headers.add(headerDecision, c.id)
		denied.Body = body(c)
	}
	denied.Status = &room.http
	if challenge := challenge(o); challenge != "" {
		room.headers.add("www-authenticate", challenge)
	}
	if o.nonce != "" {
		room.headers.add("dpop-nonce", o.nonce)
	}
	denied.Headers = room.headers.all()
	if o.kind == unavailable {
		room.asError.ErrorResponse = denied
		resp.HttpResponse = &room.asError
	} else {
		room.asDenied.DeniedResponse = denied
		resp.HttpResponse = &room.asDenied
	}
	return resp
}

// challenge is the value of WWW-Authenticate (RFC 6750 §3): without an error where no credential was presented.
func challenge(o *outcome) string {
	if o.kind != unauthorized && o.oauth == "" {
		return ""
	}
	value := `Bearer realm="credence"`
	if o.dpop {
		value = `DPoP realm="credence"` + dpopAlgorithms()
	}
	if o.oauth != "" {
		value += `, error="` + o.oauth + `"`
	}
	if scopes := o.decision.MissingScopes; len(scopes) > 0 {
		value += `, scope="` + quotable(strings.Join(scopes, " ")) + `"`
	}
	return value
}

// quotable drops what a scope cannot have (RFC 6749 §3.3) and what would end the quoted string.
func quotable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, s)
}

// body for people and programs. It says what the client can do and nothing of rules, policies or why exactly a token is bad: that is in
// the decision log, under the same decision id.
func body(c *check) string {
	o := &c.outcome
	kind := o.oauth
	if kind == "" {
		kind = [...]string{
			forbidden: "forbidden", unauthorized: "unauthorized", badRequest: "invalid_request",
			unavailable: "temporarily_unavailable", limited: "too_many_requests", decided: "forbidden", aborted: "forbidden",
		}[o.kind]
	}
	b := make([]byte, 0, 256)
	member := func(name, value string) {
		b = appendJSON(append(b, name...), value)
	}
	member(`{"error":`, kind)
	member(`,"reason":`, o.reason)
	member(`,"message":`, message(o))
	if scopes := strings.Join(o.decision.MissingScopes, " "); scopes != "" {
		member(`,"scope":`, scopes)
	}
	member(`,"decision":`, c.id)
	return string(append(b, "}\n"...))
}

// appendJSON appends s as a JSON string (RFC 8259 §7).
func appendJSON(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(s)
			if err != nil {
				return append(b, `""`...)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func message(o *outcome) string {
	switch o.kind {
	case badRequest:
		if o.oauth != "" {
			return "send exactly one credential, as one Authorization header: Bearer TOKEN"
		}
		return "the request is ambiguous or malformed: " + o.reason
	case unavailable:
		return "it cannot be told now whether this request is allowed; try again later"
	case limited:
		return "too many credentials were refused; try again later"
	case unauthorized:
		if o.oauth == "" {
			return "a token is needed: Authorization: Bearer TOKEN"
		}
		return "the token is not valid here"
	case forbidden, decided, aborted:
	}
	switch o.decision.Reason {
	case decide.InsufficientScope:
		return "the token lacks a scope: " + strings.Join(o.decision.MissingScopes, " ")
	case decide.ClaimsMismatch:
		return "the token's claims do not permit this"
	case decide.PeerNotAllowed:
		return "the calling workload is not allowed to do this"
	case decide.PrincipalNotAllowed:
		return "this is for another kind of principal: the token must speak for a user, or for a service"
	case decide.DeniedByRule:
		return "a rule forbids this"
	case decide.Undecided, decide.Allowed, decide.NoPolicy, decide.TargetDenied, decide.IssuerMissing, decide.TokenMissing,
		decide.IssuerNotAccepted, decide.NoRuleMatches:
	}
	return "this is not allowed"
}

// encodeValue makes a header value of any text: bytes outside the visible ASCII characters, and '%', become %XX, so nothing can end the
// header and percent-decoding gives exactly the text back. spaces keeps blanks (a list of scopes).
func encodeValue(s string, spaces bool) string {
	const hex = "0123456789ABCDEF"
	plain := func(c byte) bool { return c > ' ' && c < 0x7f && c != '%' || spaces && c == ' ' }
	i := 0
	for i < len(s) && plain(s[i]) {
		i++
	}
	if i == len(s) {
		return s
	}
	var b strings.Builder
	b.WriteString(s[:i])
	for ; i < len(s); i++ {
		if c := s[i]; plain(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// seal lets through what Envoy reads the way it is meant: an allow that says so in full and in time, or a refusal with a code other
// than OK. Envoy takes an empty response, one without a status, and a denied_response with status OK for an allow.
func seal(ctx context.Context, resp *authv3.CheckResponse) (*authv3.CheckResponse, error) {
	if resp.GetStatus() == nil {
		return nil, status.Error(codes.Internal, "a check response without a status")
	}
	allow := resp.GetStatus().GetCode() == int32(codes.OK)
	switch resp.GetHttpResponse().(type) {
	case *authv3.CheckResponse_OkResponse:
		if allow && resp.GetOkResponse() != nil {
			if err := alive(ctx); err != nil {
				return nil, err
			}
			return resp, nil
		}
	case *authv3.CheckResponse_DeniedResponse, *authv3.CheckResponse_ErrorResponse:
		if !allow {
			return resp, nil
		}
	}
	return nil, status.Error(codes.Internal, "a check response that says two things")
}
