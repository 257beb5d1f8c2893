// Package pulse tells any number of waiting readers that something has changed.
//
// A reader takes the channel with C, then reads the state, then waits on the channel: a change between the two is not lost.
package pulse

import "sync"

// Pulse is a broadcast of "changed". The zero value is ready. Safe for concurrent use; must not be copied.
type Pulse struct {
	mu sync.Mutex
	ch chan struct{}
}

// C returns a channel that the next Fire closes.
func (p *Pulse) C() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ch == nil {
		p.ch = make(chan struct{})
	}
	return p.ch
}

// Fire wakes everyone who holds a channel of C. It never blocks.
func (p *Pulse) Fire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ch != nil {
		close(p.ch)
		p.ch = nil
	}
}
