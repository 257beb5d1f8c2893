// Package introspect verifies opaque tokens: it asks the authorization server that has issued them (RFC 7662), and reads its answer as
// strictly as a JWT's claims. It knows nothing of Envoy.
//
//	raw ── form, SHA-256 ──> cached facts? ── times ──> decide.User
//	  └─ one question at a time per token ─ limits ─ POST ─ answer (JSON, or signed: RFC 9701) ─ claims ─┘
//
// What is cached are facts of one token under one configuration of its issuer, never decisions, for policy.Introspection.CacheFor and no
// longer than the token lives; refusals for a shorter time; and nothing at all where the server gave no sound answer. That is
// unavailable, never a yes and never the client's fault.
//
// Bearer is for routes that accept both: a JWT of an accepted issuer is verified here and shown to nobody, anything else is asked about.
package introspect
