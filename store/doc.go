// Package store keeps what must outlive a request or a process: sessions, revocations, values that may be used once. It says what an engine
// does; store/bolt is the engine inside the process, store/seal hides what is kept from whoever reads the disk, and store/storetest is what
// every engine must pass.
//
//	s, err := bolt.Open(filepath.Join(stateDir, "store.db"), bolt.Options{})
//	err = s.PutIfAbsent(ctx, store.Item{Kind: "login", ID: state, Value: v, Expires: now.Add(10 * time.Minute)})
//	v, err := s.Take(ctx, "login", state) // for one of all who try
//
// It is not a database: a kind has no schema, nothing is listed in order, and nothing spans two entries. These are the operations that a
// Redis cluster can do as well, where the entries of one user lie on different machines.
package store
