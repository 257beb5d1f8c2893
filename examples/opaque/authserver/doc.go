// Package authserver is a small OAuth authorization server whose access tokens are opaque: random text that says nothing to anybody but the
// server (RFC 6749 §1.4). It shows what a resource server needs of one: introspection (RFC 7662) and revocation (RFC 7009). It gives a token
// to everybody who asks, so it is for this example alone.
package authserver
