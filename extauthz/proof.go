package extauthz

import (
	"context"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
)

// reasonProof is the reason of a token without the proof that it asks for, or with one that it does not.
const reasonProof = "proof_missing"

// prove lets a token pass that is bound to no key and came without a proof. With false the outcome says why not.
func (s *Server) prove(_ context.Context, _ *authv3.AttributeContext, o *offered, c *check) bool {
	if o.scheme == schemeDPoP || c.user.Confirmation != nil {
		c.outcome = outcome{kind: unauthorized, reason: reasonProof, oauth: "invalid_token"}
		return false
	}
	return true
}
