// Package policy is the Set: everything that the manifests say, compiled into immutable values. The control plane makes Envoy
// configuration of it, the Check server decides by it, agents keep it as last good. It has one canonical, versioned encoding
// (Encode) and a content hash (Set.Hash).
//
//	manifests -> policy/compile -> policy.Set -> policy/decide (may they?)
//	                                          -> controlplane/xds (Envoy protos)
//
// Ownership: a Set and all that it reaches is never changed after compile.Compile has returned it; every slice is in its one
// canonical order. The package imports nothing of ours and knows neither YAML nor Envoy.
package policy
