package app

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/credence-mesh/credence/extauthz/revocation"
)

// openRevocations reads what has been revoked, before the first Check is answered.
func openRevocations(ctx context.Context, log *slog.Logger, metrics prometheus.Registerer) (*revocation.Set, error) {
	return revocation.Open(ctx, revocation.Options{Log: log, Metrics: metrics})
}
