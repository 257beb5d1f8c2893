// Package controlplane decides who gets what: it turns every new policy.Set into one view per proxy and publishes them.
//
//	Set -> Translate for every gateway and sidecar -> check all -> swap the views (controlplane/ads sends the differences)
//
// A proxy whose part of the Set does not translate keeps the view it has; all others advance. It does no input or output of its
// own and starts nothing.
package controlplane
