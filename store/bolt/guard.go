package bolt

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/credence-mesh/credence/store"
)

// guard calls f. bbolt panics on a damaged page, and a file that has become shorter faults as memory: both would end the process, with all
// requests in it, so both become ErrCorrupt here. bbolt may then hold its locks for ever.
func (s *Store) guard(f func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if p := recover(); p != nil {
			s.stuck.Store(true)
			s.opts.Log.Error("reading the store", "path", s.path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = s.damaged(fmt.Sprint(p))
		}
	}()
	return f()
}

// damaged is the error for an operator.
func (s *Store) damaged(what string) error {
	what = strings.TrimPrefix(what, store.ErrCorrupt.Error()+": ")
	return fmt.Errorf("%w: %s: %s. Restore %s and %s from one backup; or remove both, which forgets revocations and sessions",
		store.ErrCorrupt, s.path, what, s.path, s.opts.Keys)
}
