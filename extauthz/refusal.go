package extauthz

import (
	"strconv"
	"strings"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc/codes"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// limitedFor is when a client that was refused for too many bad credentials may come again: the limits fill up within seconds.
const limitedFor = time.Second

// deniedResponse is any answer that is not an allow; its status code is never OK.
func deniedResponse(c *check) *authv3.CheckResponse {
	o, room := &c.outcome, &deniedRoom{}
	metadata := room.metadata.empty()
	metadata.set("decision", c.id)
	metadata.set("reason", o.reason)
	code, httpCode := statuses(o.kind)
	if c.rpc == "" {
		if own := ownAnswer(c); own != nil && own.Status >= 400 && own.Status <= 599 {
			httpCode = typev3.StatusCode(own.Status)
		}
	}
	room.status.Code, room.status.Message = int32(code), o.reason //nolint:gosec // a gRPC code
	resp, denied := &room.resp, &room.denied
	resp.Status, resp.DynamicMetadata = &room.status, &metadata.fields
	room.headers.add("cache-control", "no-store")
	room.headers.add(headerDecision, c.id)
	if c.rpc != "" {
		rpcRefusal(c, int32(code), room) //nolint:gosec // a gRPC code
	} else {
		room.http.Code = httpCode
		denied.Body = write(c, int(httpCode), room)
	}
	denied.Status = &room.http
	if o.kind == limited {
		room.headers.add("retry-after", strconv.Itoa(int(limitedFor/time.Second)))
	}
	challenge(c, func(value string) { room.headers.add("www-authenticate", value) })
	if o.nonce != "" {
		room.headers.add("dpop-nonce", o.nonce)
	}
	if own := ownAnswer(c); own != nil {
		for i := range own.Headers {
			room.headers.add(own.Headers[i].Name, own.Headers[i].Value)
		}
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

func statuses(k kind) (codes.Code, typev3.StatusCode) {
	switch k {
	case unauthorized:
		return codes.Unauthenticated, typev3.StatusCode_Unauthorized
	case badRequest:
		return codes.InvalidArgument, typev3.StatusCode_BadRequest
	case unavailable:
		return codes.Unavailable, typev3.StatusCode_ServiceUnavailable
	case limited:
		return codes.ResourceExhausted, typev3.StatusCode_TooManyRequests
	case forbidden, decided, aborted:
	}
	return codes.PermissionDenied, typev3.StatusCode_Forbidden
}

// responses are what the route's policies say of answers; nil: nothing, or the route is not known.
func (c *check) responses() *policy.Responses {
	if c.route == nil {
		return nil
	}
	return c.route.Responses()
}

// ownAnswer is the policies' own for the outcome; nil: ours.
func ownAnswer(c *check) *policy.Response {
	r := c.responses()
	if r == nil {
		return nil
	}
	switch c.outcome.kind {
	case unauthorized:
		return r.Unauthenticated
	case forbidden, decided:
		return r.Forbidden
	case unavailable:
		return r.Unavailable
	case badRequest, limited, aborted:
	}
	return nil
}

// words are message, for whoever has sent no credential by what the route reads.
func (c *check) words() string {
	o := &c.outcome
	if o.kind != unauthorized || o.oauth != "" || o.decision.Reason != decide.TokenMissing || c.route == nil {
		return message(o)
	}
	switch a := c.route.Accepts(); {
	case len(a.Basic) > 0 || a.APIKeys():
		return "a credential is needed: WWW-Authenticate says which"
	case a.Internal && !a.Authorization() && !c.route.Proxy().IsGateway():
		return "an internal token is needed: services pass the header Txn-Token on"
	}
	return message(o)
}

func message(o *outcome) string {
	switch o.kind {
	case badRequest:
		switch {
		case o.reason == reasonCredentials || o.reason == reasonCredential:
			return "send exactly one credential, as one Authorization header: Bearer TOKEN"
		case o.oauth != "":
			return "the credential is malformed"
		}
		return "the request is ambiguous or malformed: " + o.reason
	case unavailable:
		return "it cannot be told now whether this request is allowed; try again later"
	case limited:
		return "too many credentials were refused; try again later"
	case unauthorized:
		switch {
		case o.oauth == oauthStepUp:
			return "a fresher or stronger sign-in is needed"
		case o.decision.Reason == decide.TokenMissing:
			return "a token is needed: Authorization: Bearer TOKEN"
		case o.oauth == "":
			return "the credential is not valid here"
		}
		return "the token is not valid here"
	case forbidden, decided, aborted:
	}
	if o.reason == reasonClaimSize {
		return "a claim of the token is too long to be passed on"
	}
	switch o.decision.Reason { //nolint:exhaustive // of all others the client hears that it is not allowed
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
	}
	return "this is not allowed"
}
