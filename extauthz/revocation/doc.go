// Package revocation tells which verified credentials have been revoked. It judges by the facts of a credential alone and keeps them in
// memory: a Check asks it without blocking. What is revoked comes from the manifests, with each Set that is published, and from operators:
// what Add has acknowledged is in force and on disk.
//
//	set, err := revocation.Open(ctx, revocation.Options{Store: store})
//	set.Publish(policySet)
//	entry, err := set.Add(ctx, policy.Revocation{TokenID: "9f2c"})
//	id := set.Revoked(user, now) // "" where none covers the user
package revocation
