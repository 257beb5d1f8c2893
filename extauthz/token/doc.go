// Package token verifies bearer JWTs (RFC 7519, RFC 8725, RFC 9068): which user or service does this credential speak for? It
// knows nothing of Envoy and fetches nothing.
//
//	raw ── size, SHA-256 ──> cached facts? ── key still there, times ──> decide.User
//	  └─ strict parse ─ iss picks the issuer ─ (issuer, kid, alg) key ─ signature ─ claims ─┘
//
// What real issuers need beyond RFC 9068 are settings of the issuer (policy.Issuer), each with the strict value as default: several iss and
// tenants, the claim that holds the audience, the claims that name the client or mark a service, and the profile.
//
// Every byte is parsed once, by a strict parser: duplicate names, invalid UTF-8, trailing data, wrong types and everything over a limit
// are refused. Signatures are checked by golang-jwt's signing methods in own instances, the registered claims by its Validator. What
// is cached are facts, never decisions, and only of tokens that verified: a hit looks again at the key, the times and the issuer.
package token
