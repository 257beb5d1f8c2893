// Package manifests says what an operator's object is: its Key, where it was written, and what is wrong with it (Diagnostic).
//
//	file -> decode (strict, positions, defaults) -> Object -> policy/compile -> policy.Set
//
// Kinds are in v1alpha1 (ours) and sigs.k8s.io/gateway-api (routing). This package parses nothing and watches nothing: decode
// and dir do.
package manifests
