package extauthz

import (
	"strings"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"

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
	room.removed = room.names[:0]
	room.set(headerSubject, encodeValue(subject, false))
	room.set(headerIssuer, encodeValue(issuer, false))
	room.set(headerScopes, encodeValue(scopes, true))
	room.set(headerClient, encodeValue(client, false))
	room.set(headerPeer, encodeValue(c.peer, false))
	room.set(headerDecision, c.id)
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
	if why := upstream(c, room); why != nil {
		c.outcome = *why
		return deniedResponse(c)
	}
	room.ok.Headers, room.ok.HeadersToRemove = room.headers.all(), room.removed
	room.status.Code = int32(codes.OK)
	room.http.OkResponse = &room.ok
	room.resp.Status, room.resp.HttpResponse, room.resp.DynamicMetadata = &room.status, &room.http, &metadata.fields
	return &room.resp
}

// set puts a header into the request, or removes it where there is no value: a client's own never stays.
func (r *allowedRoom) set(name, value string) {
	if value == "" {
		r.removed = append(r.removed, name)
		return
	}
	r.headers.add(name, value)
}

// principal is the kind of whom a token speaks for: a client's id is no user's name.
func principal(u *decide.User) string {
	if u.Service {
		return "service"
	}
	return "user"
}

// encodeValue makes a header value of any text: bytes outside the visible ASCII characters, and '%', become %XX, so nothing can end the
// header and percent-decoding gives exactly the text back. spaces keeps blanks (a list of scopes).
func encodeValue(s string, spaces bool) string {
	return percent(s, func(c byte) bool { return c > ' ' && c < 0x7f && c != '%' || spaces && c == ' ' })
}

// percent writes every byte that is not plain as %XX (RFC 3986 §2.1).
func percent(s string, plain func(byte) bool) string {
	const hex = "0123456789ABCDEF"
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
