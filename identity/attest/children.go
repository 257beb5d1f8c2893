package attest

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// Children are the processes that the product itself has started: proxies share one executable, so they are told apart as the very processes
// that were started. The zero value is ready. Safe for concurrent use; must not be copied.
type Children struct {
	mu   sync.Mutex
	byID map[string]child
}

type child struct {
	pidfd int
	key   key
}

// Add registers a child under id, in place of an earlier one. Call it between Start and Wait of the child: until it is waited for, its
// number can't become another process's.
func (c *Children) Add(pid int, id string) error {
	fd, err := openPidfd(pid)
	if err != nil {
		return fmt.Errorf("register the child %s (pid %d): %w", id, pid, err)
	}
	start, err := startTimeOf(pid)
	if err != nil || !pidfdAlive(fd) {
		closeFD(fd)
		return fmt.Errorf("register the child %s (pid %d): %w", id, pid, ErrGone)
	}
	// The held pidfd keeps the inode from being given to another.
	ch := child{pidfd: fd, key: keyOf(pidfsInode(fd), pid, start)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.byID[id]; ok {
		closeFD(old.pidfd)
	}
	if c.byID == nil {
		c.byID = map[string]child{}
	}
	c.byID[id] = ch
	return nil
}

// Remove forgets a child; an unknown id is no error.
func (c *Children) Remove(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch, ok := c.byID[id]; ok {
		closeFD(ch.pidfd)
		delete(c.byID, id)
	}
}

// Close forgets all children.
func (c *Children) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range c.byID {
		closeFD(ch.pidfd)
	}
	c.byID = nil
}

// Lookup returns the id of a process that is a registered child and alive.
func (c *Children) Lookup(p *Process) (id string, ok bool) {
	if p == nil || !p.Alive() {
		return "", false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, ch := range c.byID {
		if ch.key == p.key && pidfdAlive(ch.pidfd) {
			return id, true
		}
	}
	return "", false
}

func closeFD(fd int) {
	_ = unix.Close(fd)
}
