// Package devissuer is the development issuer: it mints access tokens (RFC 9068) for anybody who asks in this process, so that examples
// and tests need no identity provider. Only a mesh marked as development trusts it, and it refuses to be anything but loopback.
//
//	issuer, err := devissuer.Open(dir, "http://127.0.0.1:7080")
//	raw, err := issuer.Mint(devissuer.Request{Subject: "alice", Audience: []string{"https://orders"}, Scopes: []string{"orders.read"}})
package devissuer
