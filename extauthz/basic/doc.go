// Package basic tells users by name and password: HTTP Basic (RFC 7617), against bcrypt and argon2id hashes of Credentials and of htpasswd
// files. It knows no weaker form.
//
//	v := basic.New(basic.Options{Log: log})
//	go v.Run(ctx)                                        // in an errgroup: looks at htpasswd files
//	v.Publish(set.Credentials)
//	user, err := v.Snapshot().Verify(ctx, raw, accepted) // raw is what follows "Basic "
//
// A hash is slow by intent, so what a caller can have hashed is bounded:
//
//	Verify ─ decode ─ proved within a minute? ── yes ─▶ user
//	                  │ no
//	                  ├─ refused within a minute? ── yes ─▶ ErrInvalid
//	                  ├─ this name was guessed at too often ──▶ ErrLimited
//	                  ├─ too many wait ──▶ ErrUnavailable
//	                  └─ hash ─▶ user, or ErrInvalid
//
// What was proved or refused is remembered by an HMAC, with a key of the process, over name, password and hash: an edit of the hash ends it
// at once. A name that is not known costs the same as one that is: the hash of a user that the name picks, whose outcome is dropped. A name
// that several of the accepted Credentials have is nobody's.
//
// A password over 72 bytes never matches a bcrypt hash, which would look at the first 72 alone.
package basic
