// Package bolt is the store inside the process: one file (bbolt), of which one process has hold, and beside it the key ring.
//
//	store.db                 the heads of bbolt, then a bucket per kind:
//	  k/session/values       name -> record: expiry, indexes, sealed value
//	  k/session/expiry       expiry, name -> nothing: what the sweep looks at
//	  k/session/indexes      index, name -> nothing
//	  meta                   a sealed value that tells whether the key ring is that of the file
//	store.db.keys            the key ring, mode 0600; back up both together
//
// A change is synced before its call returns. Changes that come at the same time share one transaction and one sync.
//
// All that is kept is verified at the start: both heads, every page, every record against its seal, its indexes and its expiry. What fails
// refuses to open, since a store that has lost entries is worse than none: a revocation that vanished is a token that lives. While it runs,
// the first sign of damage ends the store: every call fails from then on.
package bolt
