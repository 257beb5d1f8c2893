// Package jwks holds the verification keys of token issuers (RFC 7517): one Source per TokenIssuer, never shared between issuers, each
// an immutable Set that is swapped as a whole. Lookups take no lock.
//
//	Publish(issuers) ── inline, file, development: read at once ──> Source ──> Set ──> Lookup(kid, alg)
//	                 └─ URL: fetched by Run, kept while the issuer is down (at most MaxStale)
//
// A document is filtered on import: what is not a public signature key of sufficient strength is skipped, and nothing in a token
// ever makes a key trusted or fetched.
package jwks
