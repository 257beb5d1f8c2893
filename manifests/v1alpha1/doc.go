// Package v1alpha1 holds the kinds of group credence.mesh, version v1alpha1: their fields, defaults and the checks that need no
// other object. Routing uses the Gateway API's own kinds and has no type here.
package v1alpha1
