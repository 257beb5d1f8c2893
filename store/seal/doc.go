// Package seal hides what a store keeps from whoever reads its disk or a copy of it, and notices what they change.
//
// A Ring has keys of two sorts. The name key makes of an id its name (HMAC-SHA-256), so that a copy neither can be replayed, as the ids of
// sessions are secrets, nor tells whether it has an entry of a given user. The sealing keys seal values with XChaCha20-Poly1305 under a
// random nonce; what stands beside a value (its name, kind, expiry, indexes) is authenticated with it, so that no entry passes for another
// and none can be made to live longer.
//
//	sealed = key id (4 bytes) | nonce (24) | ciphertext and tag
//
// Sealing keys are replaced: a new one seals, those before it still open until everything has been sealed anew. The name key stays, as
// without the ids no entry could be renamed.
package seal
