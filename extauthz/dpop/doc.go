// Package dpop checks proofs of possession (RFC 9449 §4.3): that who presents an access token has the key which the token is bound to,
// and made the proof for this request, just now, and once.
//
//	v, err := dpop.New(dpop.Options{Now: time.Now})
//	err = v.Verify(&dpop.Request{Proofs: headers, Method: "GET", Scheme: "https", Host: "shop.example", Path: "/a", Token: token, Thumbprint: jkt})
//
// Proofs that were used are remembered in memory until they would be too old, each audience's (proxy's) by themselves: a service that is
// handed token and proof by its gateway sees them for the first time. The memory is bounded and never drops a proof that could still be
// used: where it is full, new ones are refused (ErrLimited for one key's, ErrUnavailable for everybody's).
//
// A process remembers nothing of the one before it. So a proof counts only if it was certainly made after the start: it is issued more
// than Early later, or holds the nonce of this process (RFC 9449 §9), which clients hear with use_dpop_nonce.
package dpop
