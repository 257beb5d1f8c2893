// Package workloadapi serves the SPIFFE Workload API: X.509-SVIDs and X.509 bundles, as streams of complete states.
//
// Who the caller is comes from attest, which identities it has from Entitlements, the SVIDs and bundles from the others. Every state is
// built anew, after entitlement was asked for again (SPIFFE Workload API, appendix A). JWT and WIT profiles answer
// Unimplemented. It keeps no state of its own.
package workloadapi
