// Package e2e holds the tests that need real Envoys (build tag e2e; `make e2e`): what a request, an operator and an attacker see of the
// whole product. A missing Envoy fails them.
package e2e
