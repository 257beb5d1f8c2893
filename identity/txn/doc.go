// Package txn verifies the internal tokens (Txn-Token, draft-ietf-oauth-transaction-tokens) that a service gets from its sidecar or gateway:
//
//	tokens := txn.New(jwksURL, "shop.example")     // internalTokenKeys of endpoints.json; starts nothing
//	facts, err := tokens.Verify(r)                 // r is the *http.Request that is served
//	if err != nil { http.Error(w, "no", 401) }     // else facts.User, facts.HasScope("orders:read"), …
//
// A service that nobody but its sidecar can reach need not: the sidecar has judged the token already. Whoever passes a token on, sends it
// unchanged as Txn-Token.
package txn
