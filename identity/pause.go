package identity

import (
	"math/rand/v2"
	"time"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// Pauses between questions to a Workload API that does not answer: doubled from the first to the longest, each with jitter.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
)

type strategy struct{}

var _ workloadapi.BackoffStrategy = strategy{}

// NewBackoff begins with the first pause.
func (strategy) NewBackoff() workloadapi.Backoff { return &pauses{next: firstPause} }

type pauses struct{ next time.Duration }

// Next is half of the pause and up to as much again by chance, so that services do not ask in step.
func (p *pauses) Next() time.Duration {
	d := p.next
	p.next = min(2*p.next, longestPause)
	return d/2 + rand.N(d/2) //nolint:gosec // no secret
}

// Reset begins again.
func (p *pauses) Reset() { p.next = firstPause }
