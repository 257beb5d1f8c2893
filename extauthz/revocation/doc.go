// Package revocation tells which verified credentials have been revoked. It judges by the facts of a credential alone and keeps them in
// memory: a Check asks it without blocking. What is revoked comes from the manifests, with each Set that is published.
//
//	set := revocation.New()
//	set.Publish(policySet.Revocations)
//	id := set.Revoked(user, now) // "" where none covers the user
package revocation
