// Package jwks holds the verification keys of token issuers (RFC 7517): one Source per TokenIssuer, never shared between issuers, each
// an immutable Set that is swapped as a whole. Lookups take no lock.
//
//	Publish(issuers) ── inline, file, development: read at once ──────────> Source ──> Set ──> Lookup(kid, alg)
//	                 └─ URL, discovery: the last good set from disk; then ─┘  ^                   │ unknown kid
//	Run ── fetches on time, a goroutine per issuer ───────────────────────────┘ <── Refresh ──────┘ within limits
//
// A document is filtered on import: what is not a public signature key of sufficient strength is skipped. Nothing in a token ever makes a
// key trusted or chooses what is asked; a kid that is not known has the issuer asked a bounded number of times, whatever comes. While the
// issuer can't be reached, its last good keys stay in use for MaxStale after they were read, over restarts too, and then none.
//
// A host that only an issuer's metadata names must have a public address, which is looked at when the connection is made. A configured
// host may have any.
package jwks
