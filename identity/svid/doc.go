// Package svid verifies X.509-SVIDs strictly.
//
// It stands on go-spiffe and adds what that library lets through: length limits of IDs (SPIFFE-ID §2.3), root paths
// (X509-SVID §3.1, §5.2), absent basic constraints and key usage (§4.1, §4.3), extended key usages that lack one of the two
// (§4.4). Names are taken from the bytes of the certificate, never from a parsed and re-printed URL.
//
// It neither issues nor fetches anything, and it holds no state. Every failure wraps ErrID, ErrSVID or ErrUntrusted.
package svid
