package jwks

import (
	"container/list"
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"
)

// Bounds of what tokens with an unknown kid may cause, per issuer.
const (
	// refillTime and burst of the bucket that fetches for unknown kids are taken from.
	refillTime = 10 * time.Second
	burst      = 3
	// unknownFor is how long a kid that the issuer did not have is refused without a look; at most maxUnknown are remembered.
	unknownFor = 30 * time.Second
	maxUnknown = 1024
	// maxWait of one request, and margin of its own time that it keeps for its answer.
	maxWait = 400 * time.Millisecond
	margin  = 50 * time.Millisecond
	// maxWaiting requests at a time.
	maxWaiting = 64
)

// Answers of Refresh beside nil.
var (
	// ErrUnknownKey: the issuer has no such key, as far as can be told without asking too often.
	ErrUnknownKey = errors.New("the issuer has no such key")
	// ErrPending: it could not be told in time whether the issuer has the key.
	ErrPending = errors.New("whether the issuer has such a key could not be told in time")
)

// demand is what requests ask of one source. The zero value is not usable.
type demand struct {
	mu sync.Mutex
	// wake tells the goroutine that owns the source's fetches.
	wake chan struct{}
	// owned tells that there is one.
	owned bool
	// flight is the fetch that runs or was asked for; nil: none.
	flight  *flight
	waiting int
	bucket  bucket
	unknown unknownKids
}

// flight is one fetch that requests wait for.
type flight struct {
	begun bool
	done  chan struct{}
	// err is valid after done.
	err error
}

func newDemand(now time.Time) demand {
	return demand{wake: make(chan struct{}, 1), bucket: bucket{tokens: burst, at: now}}
}

// Refresh has the issuer asked for a key that Set does not hold, as far as the limits allow, and waits for the answer for a part of what
// is left of ctx. Nil: Set holds the key now. Otherwise ErrUnknownKey or ErrPending. Only an unknown kid may lead here, never a
// signature that does not verify: that would let everybody have the issuer asked at will.
func (s *Source) Refresh(ctx context.Context, kid, alg string) error {
	if s == nil || kid == "" || !s.remote() {
		return ErrUnknownKey
	}
	f, first, answer := s.join(kid, alg)
	switch answer {
	case answerNone:
	case answerFound:
		return nil
	default:
		s.counts.unknown[answer].Add(1)
		return answer.err()
	}
	answer = s.wait(ctx, f)
	if answer == answerNone {
		answer = s.landed(f, first, kid, alg)
	}
	s.counts.unknown[answer].Add(1)
	return answer.err()
}

// join finds the fetch to wait for, or the answer that needs none. fresh tells that the fetch begins after this call.
func (s *Source) join(kid, alg string) (f *flight, fresh bool, a answer) {
	now := s.now()
	d := &s.demand
	d.mu.Lock()
	defer d.mu.Unlock()
	// Looked at under the lock: a fetch that has just ended must not be followed by another one.
	if _, ok := s.Set().Lookup(kid, alg); ok {
		return nil, false, answerFound
	}
	if d.unknown.has(kidOf(kid, alg), now) {
		return nil, false, answerKnownUnknown
	}
	if d.waiting >= maxWaiting || !d.owned {
		return nil, false, answerCrowded
	}
	if !d.ask(now) {
		if s.health.failure.Load() != nil {
			return nil, false, answerFailed
		}
		return nil, false, answerLimited
	}
	d.waiting++
	return d.flight, !d.flight.begun, answerNone
}

// ask has a fetch made unless one runs; false: not now. The lock is held.
func (d *demand) ask(now time.Time) bool {
	if d.flight != nil {
		return true
	}
	if !d.bucket.take(now) {
		return false
	}
	d.flight = &flight{done: make(chan struct{})}
	select {
	case d.wake <- struct{}{}:
	default:
	}
	return true
}

// Wanted tells that a token came while there are no keys: the issuer is asked before its time, as often as for unknown kids at most, so that
// its return does not wait for the back-off. It does not block.
func (s *Source) Wanted() {
	if s == nil || !s.remote() {
		return
	}
	d := &s.demand
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.owned {
		d.ask(s.now())
	}
}

// wait returns answerNone where f has ended.
func (s *Source) wait(ctx context.Context, f *flight) answer {
	defer func() {
		s.demand.mu.Lock()
		s.demand.waiting--
		s.demand.mu.Unlock()
	}()
	budget := maxWait
	if end, ok := ctx.Deadline(); ok {
		budget = min(budget, time.Until(end)-margin)
	}
	if budget <= 0 {
		return answerLate
	}
	t := time.NewTimer(budget)
	defer t.Stop()
	select {
	case <-f.done:
		return answerNone
	case <-t.C:
	case <-ctx.Done():
	}
	return answerLate
}

// landed tells what f brought.
func (s *Source) landed(f *flight, fresh bool, kid, alg string) answer {
	if _, ok := s.Set().Lookup(kid, alg); ok {
		return answerFound
	}
	if f.err != nil {
		return answerFailed
	}
	// A fetch that had begun before may have been answered before the key was there: that says nothing about the next 30 s.
	if fresh {
		s.demand.mu.Lock()
		s.demand.unknown.add(kidOf(kid, alg), s.now())
		s.demand.mu.Unlock()
	}
	return answerUnknown
}

// own begins or ends the time in which somebody fetches for this source.
func (s *Source) own(owned bool) {
	s.demand.mu.Lock()
	s.demand.owned = owned
	s.demand.mu.Unlock()
	if !owned {
		s.landing(context.Canceled)
	}
}

// takeOff tells requests that a fetch runs, which they may wait for.
func (s *Source) takeOff() {
	d := &s.demand
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.flight == nil {
		d.flight = &flight{done: make(chan struct{})}
	}
	d.flight.begun = true
	select { // what was asked for until now is this fetch
	case <-d.wake:
	default:
	}
}

// landing tells them that it has ended.
func (s *Source) landing(err error) {
	d := &s.demand
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.flight != nil {
		d.flight.err = err
		close(d.flight.done)
		d.flight = nil
	}
}

// answer to a token with an unknown kid. Only answerNone is not one.
type answer int

const (
	answerNone answer = iota
	answerFound
	answerUnknown
	answerKnownUnknown
	answerLimited
	answerLate
	answerFailed
	answerCrowded
	answers
)

// String is the value of the metric's label.
func (a answer) String() string {
	return [...]string{"none", "found", "unknown", "known_unknown", "limited", "late", "failed", "crowded"}[a]
}

func (a answer) err() error {
	switch a {
	case answerFound:
		return nil
	case answerUnknown, answerKnownUnknown, answerLimited:
		return ErrUnknownKey
	default: // late, failed, crowded
		return ErrPending
	}
}

// bucket of fetches. It never blocks.
type bucket struct {
	tokens float64
	at     time.Time
}

func (b *bucket) take(now time.Time) bool {
	if passed := now.Sub(b.at); passed > 0 {
		b.tokens = min(burst, b.tokens+passed.Seconds()/refillTime.Seconds())
	}
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// unknownKids remembers the last maxUnknown of them for unknownFor. The zero value is empty.
type unknownKids struct {
	byKid map[kidHash]*list.Element
	// order is by age, the oldest in front.
	order list.List
}

// kidHash stands for a kid and an algorithm, in a bounded size.
type kidHash [sha256.Size]byte

type unknownKid struct {
	kid   kidHash
	until time.Time
}

func kidOf(kid, alg string) kidHash { return sha256.Sum256([]byte(alg + "\x00" + kid)) }

func (u *unknownKids) has(kid kidHash, now time.Time) bool {
	e, ok := u.byKid[kid]
	return ok && now.Before(e.Value.(unknownKid).until)
}

func (u *unknownKids) add(kid kidHash, now time.Time) {
	if u.byKid == nil {
		u.byKid = map[kidHash]*list.Element{}
	}
	if e, ok := u.byKid[kid]; ok {
		u.order.Remove(e)
	}
	u.byKid[kid] = u.order.PushBack(unknownKid{kid, now.Add(unknownFor)})
	for e := u.order.Front(); e != nil; e = u.order.Front() {
		old := e.Value.(unknownKid)
		if u.order.Len() <= maxUnknown && now.Before(old.until) {
			return
		}
		u.order.Remove(e)
		delete(u.byKid, old.kid)
	}
}
