// Package compile makes one policy.Set of all manifests, and tells the operator what is wrong with them.
//
//	objects -> mesh -> certificates, issuers -> gateways -> workloads -> routes -> policies -> access -> Set + diagnostics
//
// It is pure and deterministic: no clock, no file, no network; the order of the objects changes nothing. It reads decoded and
// validated objects (manifests/decode), and looks at what needs more than one of them: references, conflicts, who may claim
// which identity, how policies combine (docs/policy-semantics.md). A fault in one object costs that object and what depends on
// it, never its siblings; where in doubt the answer of a route is "denied".
package compile
