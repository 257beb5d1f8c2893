package app

import (
	"fmt"

	"github.com/credence-mesh/credence/policy"
)

// publishInternal makes conf what internal tokens are made and verified by, before a Set that asks for them is in force.
func (a *app) publishInternal(conf *policy.Mesh) error {
	if err := a.minter.Publish(conf); err != nil {
		return err
	}
	verifier, err := a.minter.Snapshot(conf)
	if err != nil {
		return fmt.Errorf("internal tokens: %w", err)
	}
	// A nil *txntoken.Verifier must not become an interface that is not nil.
	if a.internal = nil; verifier != nil {
		a.internal = verifier
	}
	return nil
}
