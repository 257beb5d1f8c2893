package extauthz

import (
	"context"
	"crypto/rand"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// Reasons beside those of policy/decide, extauthz/token and the canonical request.
const (
	reasonInternal         = "internal_error"
	reasonNoSet            = "not_ready"
	reasonCaller           = "caller_unknown"
	reasonRoute            = "route_unknown"
	reasonCanceled         = "canceled"
	reasonDecoded          = "configuration_changed"
	reasonTokenInvalid     = "token_invalid"
	reasonTokenUnavailable = "token_unavailable" //nolint:gosec // a reason, no credential
)

// check is one Check on its way.
type check struct {
	id      string
	started time.Time
	proxy   policy.ProxyID
	routeID policy.RouteID
	route   *decide.Route
	// rpc is the content type of the answer to a gRPC call, empty for any other request.
	rpc string
	// http is the request, while it is answered.
	http   *authv3.AttributeContext_HttpRequest
	method string
	host   string
	path   string
	peer   string
	user   *decide.User
	// presented is where the one credential of the request is.
	presented presented
	// internal is the internal token that the upstream receives; empty: none was made.
	internal string
	// mints: the mesh has internal tokens.
	mints bool
	// claimHeaders are those that other routes of the gateway have for claims, and this one's.
	claimHeaders []string
	// dry: nobody will use the answer, so no internal token is made.
	dry bool
	// revocation is the id of the one that covers the credential.
	revocation string
	// facts are what was decided by, once it was.
	facts   *decide.Facts
	outcome outcome
}

// kind of answer. The zero value is a deny.
type kind int

const (
	forbidden kind = iota
	unauthorized
	badRequest
	unavailable
	// limited is 429.
	limited
	decided
	// aborted is a gRPC error.
	aborted
)

// outcome is what the pipeline ended with. The zero value is a deny.
type outcome struct {
	kind   kind
	reason string
	// decision counts with kind decided.
	decision decide.Decision
	// oauth is the error code of RFC 6750 §3.1 for the challenge, or empty.
	oauth string
	// dpop: the challenge is for DPoP; nonce is what the proof must hold (RFC 9449 §9), or empty.
	dpop  bool
	nonce string
	// acr and maxAge are what the user must sign in again for (RFC 9470 §3), or empty.
	acr    []string
	maxAge time.Duration
	// err is for the log.
	err error
}

// contextKeys of context_extensions.
const routeExtension = "route"

func newDecisionID() string { return rand.Text() }

// run takes the steps of the pipeline. An error is for the proxy; everything else is in c.outcome. The deadline is looked at after
// every step: a request whose time has passed gets an error, whatever a step said.
func (s *Server) run(ctx context.Context, req *authv3.CheckRequest, c *check) error {
	proxy, err := s.callers.Caller(ctx)
	if ended := alive(ctx); ended != nil {
		return ended
	}
	if err != nil || proxy == "" {
		c.outcome = outcome{kind: aborted, reason: reasonCaller, err: err}
		return status.Error(codes.PermissionDenied, "the caller is not an attested proxy")
	}
	c.proxy = proxy
	st := s.state.Load()
	if st == nil {
		c.outcome = outcome{kind: aborted, reason: reasonNoSet}
		return status.Error(codes.Unavailable, "no configuration has been published yet")
	}
	c.mints = st.mints
	attributes := req.GetAttributes()
	if s.byLookup == nil && !st.interest.covered(attributes.GetContextExtensions()[interestKey]) {
		// It was decoded before the Set came that makes this Check look at more: a credential may be missing.
		c.outcome = outcome{kind: aborted, reason: reasonDecoded}
		return status.Error(codes.Unavailable, "the configuration has changed since the request was read")
	}
	c.http = attributes.GetRequest().GetHttp()
	c.rpc = rpcType(c.http)
	var verifiers Verifiers
	if s.byLookup == nil {
		c.routeID = policy.RouteID(attributes.GetContextExtensions()[routeExtension])
		if c.route, verifiers = st.route(c.routeID, proxy, c.started); c.route == nil {
			c.outcome = outcome{kind: forbidden, reason: reasonRoute}
			return alive(ctx)
		}
	}
	t, ok := canonical(attributes.GetRequest().GetHttp(), st.pathRules(c.route), c)
	if ok && s.byLookup != nil {
		verifiers, ok = s.lookup(attributes, st, &t, c)
	}
	if err := alive(ctx); err != nil || !ok {
		return err
	}
	facts, o, ok := s.read(attributes, st, &t, c, verifiers.APIKeys)
	if err := alive(ctx); err != nil || !ok {
		return err
	}
	if c.presented = o.presented; o.kind != policy.NoCredential {
		if ok, err := s.authenticate(ctx, attributes, &verifiers, &o, c); err != nil || !ok {
			return err
		}
		facts.User = c.user
	}
	c.facts, c.claimHeaders = &facts, st.claimHeaders[c.route.Proxy()]
	c.outcome = fromDecision(c.route.Decide(&facts), o.kind)
	if err := alive(ctx); err != nil {
		return err
	}
	s.mint(ctx, st, attributes, c)
	return alive(ctx)
}

// canonical makes the canonical request. With ok false the outcome says why there is none.
func canonical(http *authv3.AttributeContext_HttpRequest, rules policy.PathRules, c *check) (t target, ok bool) {
	refuse := func(reason string) (target, bool) {
		c.outcome = outcome{kind: badRequest, reason: reason}
		return target{}, false
	}
	t, reason := parseTarget(http.GetPath(), rules)
	c.path = t.path
	// Proxies of ours accept HTTP/1.0 for their health path alone. In any other request of it Envoy takes a chunked body, which RFC 9112
	// §6.1 calls faulty: who stands before the gateway may see where it ends differently.
	if c.route != nil && http.GetProtocol() == "HTTP/1.0" {
		return refuse(reasonVersion)
	}
	if !validMethod(http.GetMethod()) {
		return refuse(reasonMethod)
	}
	c.method = http.GetMethod()
	// A WebSocket begins with GET (RFC 6455 §4.1). Envoy opens one for any method, and over HTTP/2, between proxies of ours, it becomes the
	// GET that it should have been: the application would serve another method than the one that is judged here.
	if c.method != "GET" && opensWebSocket(http) {
		return refuse(reasonUpgrade)
	}
	host, valid := parseHost(http.GetHost())
	if !valid {
		return refuse(reasonHost)
	}
	c.host = host
	if reason != "" {
		return refuse(reason)
	}
	return t, true
}

// read takes the one credential and the peer, and has all facts but the user. With ok false the outcome says why not.
func (s *Server) read(a *authv3.AttributeContext, st *state, t *target, c *check, keys KeyVerifier) (facts decide.Facts, o offered, ok bool) {
	refuse := func(o outcome) (decide.Facts, offered, bool) {
		c.outcome = o
		return decide.Facts{}, offered{}, false
	}
	gateway := c.route.Proxy().IsGateway()
	peer, client, reason, err := s.peerOf(a.GetSource(), st.trust, c.route)
	if reason != "" {
		return refuse(outcome{kind: forbidden, reason: reason, err: err})
	}
	c.peer = peer
	k := collector{http: a.GetRequest().GetHttp(), query: t.query, accepts: c.route.Accepts(), keys: keys}
	o, reason = k.collect(client, k.accepts.Internal && !gateway)
	if reason != "" {
		return refuse(outcome{kind: badRequest, reason: reason, oauth: "invalid_request"})
	}
	facts = decide.Facts{Peer: peer, Method: c.method, Host: c.host, Segments: t.segments, Slash: t.slash, Now: c.started}
	if c.route.ReadsHeaders() {
		observe(a, t.query, &o, k.accepts, &facts)
	}
	return facts, o, true
}

// fromDecision is the outcome of d for a request with that kind of credential.
func fromDecision(d decide.Decision, kind policy.CredentialKind) outcome {
	o := outcome{decision: d, reason: d.Reason.String()}
	switch d.Reason.Class() {
	case decide.Permitted:
		o.kind = decided
	case decide.Unauthorized:
		o.kind = unauthorized
		switch d.Reason {
		case decide.TokenMissing:
		case decide.InsufficientAuthentication:
			o.oauth, o.acr, o.maxAge = oauthStepUp, d.ACR, d.MaxAge
		default:
			o.oauth = "invalid_token"
		}
	case decide.Unavailable:
		o.kind = unavailable
	case decide.Forbidden:
		o.kind = forbidden
		if d.Reason == decide.InsufficientScope {
			o.oauth = "insufficient_scope"
		}
	}
	if kind != policy.BearerToken && kind != policy.NoCredential && o.oauth != oauthStepUp {
		o.oauth = "" // the errors of RFC 6750 are about bearer tokens
	}
	return o
}

// alive is the error of a context that has ended.
func alive(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	return nil
}

// failed notes that the answer became an error.
func (c *check) failed(err error) {
	if c.outcome.kind == aborted {
		return
	}
	reason := reasonInternal
	if code := status.Code(err); code == codes.Canceled || code == codes.DeadlineExceeded {
		reason = reasonCanceled
	}
	c.outcome = outcome{kind: aborted, reason: reason, err: err}
}
