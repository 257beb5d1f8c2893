package app

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/extauthz/apikey"
	"github.com/credence-mesh/credence/extauthz/basic"
	"github.com/credence-mesh/credence/extauthz/clientcert"
	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/extauthz/txntoken"
	"github.com/credence-mesh/credence/policy"
)

// verifiers verify every kind of credential, and make internal tokens.
type verifiers struct {
	tokens    *bearers
	passwords *basic.Verifier
	apiKeys   *apikey.Verifier
	clients   *clientcert.Verifier
	// tokenKeys and minter are nil where no internal token is made or verified.
	tokenKeys *txntoken.Keys
	minter    *txntoken.Minter
	// internal tokens of the Set that is in force; touched by publish and snapshot alone.
	internal extauthz.Verifier
}

// newVerifiers verifies by keys; it starts nothing. The keys of internal tokens are in state; nil: there are none.
func newVerifiers(keys *jwks.Keys, state *stateDir, log *slog.Logger, metrics prometheus.Registerer) (*verifiers, error) {
	v := &verifiers{passwords: basic.New(basic.Options{Log: log}), apiKeys: apikey.New(apikey.Options{}), clients: clientcert.New(clientcert.Options{})}
	if err := metrics.Register(v.passwords); err != nil {
		return nil, err
	}
	var err error
	if v.tokens, err = newBearers(keys, log, metrics); err != nil || state == nil {
		return v, err
	}
	if v.tokenKeys, err = txntoken.OpenKeys(txntoken.KeysOptions{Dir: state.path, Log: log}); err != nil {
		return nil, err
	}
	v.minter = txntoken.NewMinter(txntoken.MinterOptions{Keys: v.tokenKeys})
	return v, nil
}

// publish makes set the one by which credentials are verified, before requests are judged by it. Calls must not overlap.
func (v *verifiers) publish(set *policy.Set) error {
	// What can fail comes before what cannot.
	if err := v.publishInternal(&set.Mesh); err != nil {
		return err
	}
	v.tokens.Publish(set.Issuers)
	v.passwords.Publish(set.Credentials)
	v.apiKeys.Publish(set.Credentials)
	v.clients.Publish(set.Credentials)
	return nil
}

func (v *verifiers) publishInternal(mesh *policy.Mesh) error {
	if v.minter == nil {
		return nil
	}
	if err := v.minter.Publish(mesh); err != nil {
		return err
	}
	verifier, err := v.minter.Snapshot(mesh)
	if err != nil {
		return fmt.Errorf("internal tokens: %w", err)
	}
	// A nil *txntoken.Verifier must not become an interface that is not nil.
	if v.internal = nil; verifier != nil {
		v.internal = verifier
	}
	return nil
}

// snapshot verifies by what was published last.
func (v *verifiers) snapshot() extauthz.Verifiers {
	return extauthz.Verifiers{
		Tokens: v.tokens.Snapshot(), Basic: v.passwords.Snapshot(), APIKeys: v.apiKeys.Snapshot(), Certificates: v.clients.Snapshot(), Internal: v.internal,
	}
}

// Run watches files and rotates keys until ctx ends.
func (v *verifiers) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return v.passwords.Run(ctx) })
	if v.tokenKeys != nil {
		g.Go(func() error { return v.tokenKeys.Run(ctx) })
	}
	return g.Wait()
}
