package compile

import "github.com/credence-mesh/credence/manifests/regex"

// checkRegex says why an expression can't be taken; nil: Envoy and Go read it alike.
func checkRegex(pattern string) error { return regex.Check(pattern) }
