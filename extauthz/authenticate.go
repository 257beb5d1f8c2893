package extauthz

import (
	"context"
	"errors"
	"strings"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/extauthz/txntoken"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// Reasons of credentials that are refused, beside those of a bearer token.
const (
	reasonCredentialInvalid     = "credential_invalid"     //nolint:gosec // a reason, no credential
	reasonCredentialUnavailable = "credential_unavailable" //nolint:gosec // a reason, no credential
	reasonCredentialLimited     = "credential_limited"     //nolint:gosec // a reason, no credential
	reasonRevoked               = "token_revoked"          //nolint:gosec // a reason, no credential
	reasonInternalToken         = "internal_token_unavailable"
)

var (
	errOtherKind = errors.New("the verifier told of another kind of credential")
	errNoMinter  = errors.New("nothing makes internal tokens here")
	errNoToken   = errors.New("an empty internal token")
)

// authenticate finds out who the user is: the credential must be good, its sender must prove that it is theirs where it is bound to a key, and it must not
// have been revoked. A credential that is presented where one is read must pass all of it, also where nobody needs it. With ok false the outcome
// says why not.
func (s *Server) authenticate(ctx context.Context, a *authv3.AttributeContext, v *Verifiers, o *offered, c *check) (ok bool, err error) {
	ok = verify(ctx, v.of(o.kind), o, c)
	if err := alive(ctx); err != nil || !ok {
		return false, err
	}
	ok = s.prove(ctx, a, o, c)
	if err := alive(ctx); err != nil || !ok {
		return false, err
	}
	ok = s.unrevoked(c)
	return ok, alive(ctx)
}

// of is what verifies credentials of that kind, nil where nothing does.
func (v *Verifiers) of(k policy.CredentialKind) Verifier {
	switch k {
	case policy.BearerToken:
		return v.Tokens
	case policy.Basic:
		return v.Basic
	case policy.APIKey:
		return v.APIKeys
	case policy.ClientCertificate:
		return v.Certificates
	case policy.InternalToken:
		return v.Internal
	case policy.NoCredential, policy.PeerIdentity:
		return nil
	}
	return nil
}

// verify has the credential verified.
func verify(ctx context.Context, v Verifier, o *offered, c *check) bool {
	invalid, unable, oauth := reasonCredentialInvalid, reasonCredentialUnavailable, ""
	if o.kind == policy.BearerToken {
		invalid, unable, oauth = reasonTokenInvalid, reasonTokenUnavailable, "invalid_token"
	}
	if v == nil {
		c.outcome = outcome{kind: unavailable, reason: unable}
		return false
	}
	user, err := v.Verify(ctx, o.raw, o.accepted)
	switch {
	case err == nil && user != nil && user.Credential == o.kind:
		c.user = user
	case err == nil && user != nil:
		c.outcome = outcome{kind: unavailable, reason: unable, err: errOtherKind}
	case errors.Is(err, credential.ErrInvalid):
		c.outcome = outcome{kind: unauthorized, reason: invalid, oauth: oauth, err: err}
	case errors.Is(err, credential.ErrLimited):
		c.outcome = outcome{kind: limited, reason: reasonCredentialLimited, err: err}
	default:
		c.outcome = outcome{kind: unavailable, reason: unable, err: err}
	}
	if c.user != nil && o.certified && (user.Confirmation == nil || user.Confirmation.X5T == "") {
		c.user, c.outcome = nil, outcome{kind: badRequest, reason: reasonCredentials, oauth: "invalid_request"}
	}
	return c.user != nil
}

// unrevoked asks whether the user's credential has been revoked.
func (s *Server) unrevoked(c *check) bool {
	if s.revocations == nil {
		return true
	}
	if c.revocation = s.revocations.Revoked(c.user, c.started); c.revocation == "" {
		return true
	}
	c.outcome = outcome{kind: unauthorized, reason: reasonRevoked}
	if c.presented.kind == policy.BearerToken {
		c.outcome.oauth = "invalid_token"
	}
	return false
}

// mint makes the internal token of a request that may pass: for a user whose credential is of outside, and for a workload that calls by itself
// where the rule asks for no more. An internal token that came is passed on as it is.
func (s *Server) mint(ctx context.Context, st *state, a *authv3.AttributeContext, c *check) {
	if !c.outcome.decision.Allowed() {
		return
	}
	requester := st.spiffeIDs[c.route.Proxy()]
	if c.user == nil && c.outcome.decision.ByPeer && c.peer != "" {
		c.user, requester = peerUser(c.peer, st.trust), c.peer
		if !s.unrevoked(c) {
			return // it would be refused at the next proxy alone, where its token arrives
		}
	}
	if c.dry || !st.mints || c.user == nil || c.user.Credential == policy.InternalToken {
		return
	}
	refuse := func(err error) { c.outcome = outcome{kind: unavailable, reason: reasonInternalToken, err: err} }
	if s.minter == nil {
		refuse(errNoMinter)
		return
	}
	http := a.GetRequest().GetHttp()
	r := &txntoken.Request{
		User: c.user, Requester: requester, Route: c.route.ID(), Method: c.method,
		URL: http.GetScheme() + "://" + http.GetHost() + c.path, ClientIP: a.GetSource().GetAddress().GetSocketAddress().GetAddress(),
	}
	if u := c.route.Upstream(); u != nil {
		r.Scopes, r.Claims = u.Scopes, u.Claims
	}
	token, err := s.minter.Mint(ctx, r)
	switch {
	case errors.Is(err, credential.ErrInvalid):
		c.outcome = ended(c.presented.kind, err)
	case err != nil:
		refuse(err)
	case token == "":
		refuse(errNoToken)
	default:
		c.internal = token
	}
}

// ended is the outcome for a credential that ends before its internal token could: the answer of one that has ended.
func ended(k policy.CredentialKind, err error) outcome {
	if k == policy.BearerToken {
		return outcome{kind: unauthorized, reason: reasonTokenInvalid, oauth: "invalid_token", err: err}
	}
	return outcome{kind: unauthorized, reason: reasonCredentialInvalid, err: err}
}

// peerUser is a workload that calls by itself: it stands for the user.
func peerUser(peer, trust string) *decide.User {
	return &decide.User{
		Credential: policy.PeerIdentity, Origin: policy.PeerIdentity, Subject: peer, IssuerURL: strings.TrimSuffix(trust, "/"), Service: true,
	}
}
