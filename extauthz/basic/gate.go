package basic

import (
	"context"
	"crypto/sha256"
	"sync/atomic"
	"time"
)

// queuePerSlot is how many may wait for each hash that runs.
const queuePerSlot = 16

// gate bounds how many hash at once and how many wait for that, in the order in which they came.
type gate struct {
	slots   chan struct{}
	waiting atomic.Int64
}

func newGate(slots int) *gate { return &gate{slots: make(chan struct{}, slots)} }

// enter waits for a slot. full: too many wait already.
func (g *gate) enter(ctx context.Context) (full bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if int(g.waiting.Add(1)) > (queuePerSlot+1)*cap(g.slots) {
		g.waiting.Add(-1)
		return true, nil
	}
	select {
	case g.slots <- struct{}{}:
		return false, nil
	case <-ctx.Done():
		g.waiting.Add(-1)
		return false, ctx.Err()
	}
}

// enterFree takes a slot that nobody waits for.
func (g *gate) enterFree() bool {
	select {
	case g.slots <- struct{}{}:
		g.waiting.Add(1)
		return true
	default:
		return false
	}
}

func (g *gate) leave() {
	<-g.slots
	g.waiting.Add(-1)
}

const (
	// guesses that a name has at first, and the time in which one more comes back.
	guesses    = 10
	guessEvery = 6 * time.Second
	// maxNames bounds names that nobody has, each with its bucket.
	maxNames = 16 << 10
)

// bucket is what is left of a name's guesses.
type bucket struct {
	left  float64
	at    time.Time
	known bool
}

func (b *bucket) refill(now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.left = min(guesses, b.left+float64(d)/float64(guessEvery))
	}
	b.at = now
}

// limiter counts hashes whose password was not right, by name. Names that nobody has are limited as others are, or the limit would tell them
// apart. Only they are forgotten early: many of them must not give a known name its guesses back.
type limiter map[[sha256.Size]byte]*bucket

func (l limiter) take(name [sha256.Size]byte, known bool, now time.Time) bool {
	b := l[name]
	if b == nil {
		if len(l) >= maxNames {
			l.shrink(now)
		}
		b = &bucket{left: guesses, at: now}
		l[name] = b
	}
	b.known = b.known || known
	b.refill(now)
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// give takes back a take that was no guess.
func (l limiter) give(name [sha256.Size]byte) {
	if b := l[name]; b != nil {
		b.left = min(guesses, b.left+1)
	}
}

func (l limiter) shrink(now time.Time) {
	for name, b := range l {
		if b.refill(now); b.left >= guesses {
			delete(l, name)
		}
	}
	for name, b := range l {
		if len(l) < maxNames-maxNames/4 { // not one at a time: each costs a look at all
			return
		}
		if !b.known {
			delete(l, name)
		}
	}
}
