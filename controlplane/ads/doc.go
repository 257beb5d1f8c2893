// Package ads serves configuration to Envoy: the Aggregated Discovery Service, delta and state-of-the-world, and the record of
// what every proxy acknowledged.
//
// Each proxy has one [View], replaced as a whole by [Server.SetView]. A stream belongs to the proxy that its transport attests
// ([Callers]); node.id only repeats it. A stream compares the newest View with what its client was told, and sends the difference
// in an order that never lets a route point at a cluster the proxy has not got:
//
//	Secret, Cluster (no removals), Endpoint -> [ACK, at most Options.Gate] -> Listener, Route -> [ACK] -> removals
//
// It is not a translator: what a View holds is decided by its caller, and is never looked into except for the name of a cluster's
// endpoints (an EDS cluster that changed stays warming until its endpoints come again).
//
// Versions are hashes of content, so that a proxy which reconnects, to this process or to another, receives only what differs. A
// refused response is remembered and not repeated until the content of its type changes; then the whole of that type is sent.
//
// The protocol: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol
package ads
