// Package route finds the policy.Route of a request: what an Envoy that is configured by controlplane/xds does, for Envoys that somebody
// else configures and that send no route id.
//
//	host -> virtual hosts (exact, then the longest "*.", then "*") -> the first route that matches (Gateway API precedence)
//
// It is pure, knows neither Envoy nor its messages, and reads a request as Envoy does: the path as it was normalised and still
// percent-encoded, header values joined, the first value of a query parameter. "The same as Envoy" is its contract, and a test compares
// it with a real one.
//
// A Check says nothing of the listener that the request came in by. Every listener that serves the host has a say, and all that have one
// must come to the same access; otherwise the answer is Ambiguous, never one of them.
package route
