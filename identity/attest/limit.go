package attest

import (
	"context"
	"errors"
	"sync"
)

// The socket of the Workload API is open to every user of the machine. These bounds keep one of them from taking what all need.
const (
	// maxPerUser connections at a time; each holds three descriptors.
	maxPerUser = 512
)

var errTooMany = errors.New("too many connections of this user")

// users counts what each user has open. The zero value is ready.
type users struct {
	mu   sync.Mutex
	open map[uint32]int
}

// enter is false where uid has maxPerUser open already.
func (u *users) enter(uid uint32) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.open[uid] >= maxPerUser {
		return false
	}
	if u.open == nil {
		u.open = map[uint32]int{}
	}
	u.open[uid]++
	return true
}

func (u *users) leave(uid uint32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.open[uid]--; u.open[uid] <= 0 {
		delete(u.open, uid)
	}
}

// turns lets one goroutine at a time work for a user: a gigabyte to hash takes a second of a core. The zero value is ready.
type turns struct {
	mu   sync.Mutex
	busy map[uint32]chan struct{}
}

// take waits for the turn of uid; the caller gives it back by calling done.
func (t *turns) take(ctx context.Context, uid uint32) (done func(), err error) {
	for {
		t.mu.Lock()
		running, busy := t.busy[uid]
		if !busy {
			if t.busy == nil {
				t.busy = map[uint32]chan struct{}{}
			}
			mine := make(chan struct{})
			t.busy[uid] = mine
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				defer t.mu.Unlock()
				delete(t.busy, uid)
				close(mine)
			}, nil
		}
		t.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
