// Package identity gives a Go service its SPIFFE identity and mTLS of its own, in a few lines:
//
//	src, err := identity.Open(ctx, identity.Options{})                   // who am I? blocks until the Workload API says so
//	l, err := src.Listen(ctx, "127.0.0.1:8443", identity.Only(payments)) // who may connect
//	err = http.Serve(l, src.Handler(identity.Only(payments), handler))   // who may call, asked at every request
//
// The process needs one environment variable, SPIFFE_ENDPOINT_SOCKET, the socket of the Workload API (with credence it is workloadAPI in
// endpoints.json of the state directory), and a Workload in the manifests that recognises it; a port where it serves says mtls: application.
//
// A client is src.Client(identity.Only(ledger)); gRPC has ServerOptions and ClientCredentials; Peer and PeerFromContext tell a handler
// who calls. The example of the package is a whole service.
//
// # What it holds
//
// Both ends show an X.509-SVID. Every handshake goes through the strict verifier of identity/svid: one URI name, a workload's ID, the
// key usages of X509-SVID §4, a path to an authority of the peer's own trust domain. Then the Authorizer is asked, and what it does not
// allow is refused: nil, Only() and an ID that is none allow nobody; there is no Authorizer for "whoever", AnyOf names the trust domain.
// TLS 1.3 only, no session is ever resumed (a resumed one skips the bundle), ALPN h2 and http/1.1.
//
// # When trust ends
//
// A connection that Listen, Client and the gRPC credentials have made ends with the certificates of either end, and at once when an update
// of the Workload API takes the peer's authority away: it is closed under whatever runs on it. A connection made with ServerTLS or
// ClientTLS through other means is checked at its handshake only; there Peer and Handler, which ask at every request, refuse it.
//
// New handshakes use the newest SVID; connections that are open stay with the one that they began with. When the Workload API says
// PermissionDenied, the process is no workload any more: the SVID is dropped and every handshake fails (Workload API §5.2.1). While the API
// is away the last SVID and bundles stay in use, until they expire.
//
// # What it is not
//
// It does not read tokens and knows no manifests: an AuthPolicy has no force at a service of this kind. The headers x-credence-*, which a
// sidecar sets after its Check, are only the caller's word here; Handler removes them.
package identity
