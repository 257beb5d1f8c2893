package txntoken

import (
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// Header is the one that carries the token, in lower case.
const Header = "txn-token"

// Request says what a token is to be made of.
type Request struct {
	// User whose credential was found good; of PeerIdentity where a workload starts a chain by itself.
	User *decide.User
	// Requester is the SPIFFE ID of the workload that asks (req_wl): the proxy's own, or the calling workload that starts a chain.
	Requester string
	// Scopes and Claims that the token may carry, as far as the user has them.
	Scopes []string
	Claims [][]string
	// Route for which it is made; cached tokens are not used for another one.
	Route policy.RouteID
	// Method, URL (without query) and ClientIP of the request, for rctx.
	Method, URL, ClientIP string
}
