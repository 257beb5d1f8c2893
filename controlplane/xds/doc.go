// Package xds turns a policy.Set into what one Envoy is sent: listeners, route configurations, clusters and endpoints. It is pure: the
// same Set and proxy give the same bytes, and nothing is read from outside the arguments.
//
//	policy.Set, policy.ProxyID -> Translate -> Resources -> Validate -> (controlplane/ads)
//
// Secrets are only named here (Resources.Secrets); the agent's SDS serves them, so a rotation changes no resource. Whatever changes
// often (routes and what Check is told of them) lives in route configurations, which Envoy swaps without touching a connection.
//
// What a request passes in each HTTP connection manager, outermost first:
//
//	early header mutation -> path and host normalisation -> route -> ext_authz -> router
//
// Every route of a manager that judges names itself to Check by its policy.RouteID; a route that does not is refused by Validate. The
// fields and what Envoy 1.40 really does with them were measured; the reasons stand where the fields are set. Envoys older than 1.40
// are not supported, and no field newer than that is set.
//
// The package is not concerned with who gets which resource when, nor with the bootstrap: its clusters are known here by name only.
package xds
