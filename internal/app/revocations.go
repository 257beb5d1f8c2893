package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/credence-mesh/credence/extauthz/revocation"
	"github.com/credence-mesh/credence/store"
	"github.com/credence-mesh/credence/store/bolt"
)

// storeFile is the name of the store in the state directory.
const storeFile = "store.db"

// revocationKind is the kind of entries that hold acknowledged revocations.
const revocationKind store.Kind = "revocation"

// revocations are what has been revoked, and the store that keeps it. Safe for concurrent use.
type revocations struct {
	*revocation.Set
	store *bolt.Store
	log   *slog.Logger
	// failure of the store, once it has failed.
	failure atomic.Pointer[string]
}

// openRevocations opens the store of the state directory and reads what has been revoked, before the first Check is answered. What can't be
// read ends the start: without it, revoked tokens would be good again.
func openRevocations(ctx context.Context, state *stateDir, log *slog.Logger, metrics prometheus.Registerer) (*revocations, error) {
	path := state.file(storeFile)
	s, err := bolt.Open(path, bolt.Options{Log: log})
	if err != nil {
		return nil, err
	}
	set, err := revocation.Open(ctx, revocation.Options{Store: keptRevocations{s}, Log: log, Metrics: metrics})
	if errors.Is(err, revocation.ErrCorrupt) {
		err = fmt.Errorf("%w; or restore %s and %s.keys from one backup; or remove both, which forgets what `credence revoke` has revoked", err, path, path)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &revocations{Set: set, store: s, log: log}, nil
}

// keep keeps the store tidy until ctx ends. One that has failed harms nothing that is in force: it ends what can be revoked anew, and not
// the mesh.
func (r *revocations) keep(ctx context.Context) error {
	if err := r.store.Run(ctx); err != nil {
		why := err.Error()
		r.failure.Store(&why)
		r.log.Error("the store has failed: what is revoked stays in force until credence ends, and nothing can be revoked any more", "error", why)
		<-ctx.Done()
	}
	return nil
}

// degraded says what is wrong with the store.
func (r *revocations) degraded() []string {
	if why := r.failure.Load(); why != nil {
		return []string{"nothing can be revoked: " + *why}
	}
	return nil
}

// close releases the store; nil is none.
func (r *revocations) close() error {
	if r == nil {
		return nil
	}
	return r.store.Close()
}

// keptRevocations is the part of a store that holds revocations. They have no expiry there: how long they are needed may change.
type keptRevocations struct{ in store.Store }

var _ revocation.Store = keptRevocations{}

func (k keptRevocations) Put(ctx context.Context, id string, value []byte) error {
	return k.in.Put(ctx, store.Item{Kind: revocationKind, ID: id, Value: value})
}

func (k keptRevocations) Delete(ctx context.Context, id string) error {
	return k.in.Delete(ctx, revocationKind, id)
}

func (k keptRevocations) All(ctx context.Context, each func(value []byte) error) error {
	for value, err := range k.in.All(ctx, revocationKind) {
		if err != nil {
			return err
		}
		if err := each(value); err != nil {
			return err
		}
	}
	return nil
}
