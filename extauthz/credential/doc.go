// Package credential is what the verifiers of all kinds of credentials have in common: the two classes of failure, and the reason that
// each failure has for logs and metrics. It knows no kind by itself.
//
// Every kind is a package beside this one with the same shape:
//
//	v, err := basic.New(basic.Options{…})              // starts nothing
//	v.Publish(set.Credentials)                         // the newest configuration; calls do not overlap
//	snapshot := v.Snapshot()                           // one configuration, whatever is published later
//	user, err := snapshot.Verify(ctx, raw, accepted)   // who is it, by the objects that the route accepts
package credential
