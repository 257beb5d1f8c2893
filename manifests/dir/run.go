package dir

import (
	"context"
	"crypto/sha256"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/credence-mesh/credence/manifests"
)

// Run reads the directory, then watches it until ctx ends, and then returns nil. It calls publish with the first Snapshot and with
// every changed one, one call at a time; a slow publish delays the next read.
func (s *Source) Run(ctx context.Context, publish func(Snapshot)) error {
	r := &run{Source: s, publish: publish, pacer: newPacer(s.opts.Quiet), watcher: newWatcher(s.opts.Log)}
	defer func() { r.watcher.close() }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		took := r.step(ctx)
		if ctx.Err() != nil {
			return nil
		}
		for again := true; again; {
			timer.Reset(r.pacer.wait(time.Now(), max(s.opts.Poll, 20*took)))
			select {
			case <-ctx.Done():
				return nil
			case <-timer.C:
				again = false
			case ev, ok := <-r.watcher.events():
				r.event(ev, ok)
			case err, ok := <-r.watcher.errors():
				r.lost(err, ok)
			}
		}
	}
}

// run is one Run's state. Its goroutine alone touches it.
type run struct {
	*Source
	publish func(Snapshot)
	pacer   *pacer
	watcher *watcher

	prev      *tree                  // the last read
	calm      map[string]calm        // by file: since when it has not changed
	last      *Snapshot              // the last one published, without saveError
	saved     [sha256.Size]byte      // what the last-good file says
	saveError []manifests.Diagnostic // why it does not say what is in force
}

// calm is a file's stamp and when it was first seen so.
type calm struct {
	stamp stamp
	since time.Time
}

// step reads once, lets take effect what may, and returns how long the read took.
func (r *run) step(ctx context.Context) time.Duration {
	start := time.Now()
	r.watcher.begin()
	t := (&reader{root: r.root, known: r.ledger.known, watch: r.watcher}).read(ctx)
	blind, moved := r.watcher.end()
	end := time.Now()
	if ctx.Err() != nil {
		return 0
	}
	r.calmed(t, start, end)
	ph := r.pacer.read(start, end, t.same(r.prev), blind || moved)
	if r.prev == nil {
		ph = partial // the start waits for nothing, and deletes nothing that the last-good file holds
	} else if r.drain() {
		ph = nothing
	}
	if moved {
		r.pacer.urgent = true
	}
	r.prev = t
	if ph == nothing {
		if r.saveError != nil && r.last != nil {
			r.offer(*r.last) // the last-good file could not be written: again
		}
		return end.Sub(start)
	}
	r.mu.Lock()
	snap, ok := r.ledger.apply(t, ph, r.still(start))
	r.mu.Unlock()
	r.pacer.done(ph)
	if ok {
		r.offer(snap)
	}
	return end.Sub(start)
}

// drain takes in the notifications that came during a read and reports whether there were any.
func (r *run) drain() bool {
	any := false
	for {
		select {
		case ev, ok := <-r.watcher.events():
			any = r.event(ev, ok) || any
		case err, ok := <-r.watcher.errors():
			r.lost(err, ok)
			any = true
		default:
			return any
		}
	}
}

// event takes in one notification and reports whether it matters.
func (r *run) event(ev fsnotify.Event, ok bool) bool {
	if !ok {
		r.watcher.fsw = nil
		return false
	}
	yes, appeared := r.watcher.relevant(ev)
	if yes {
		r.pacer.notify(time.Now(), !r.watcher.failed, appeared)
	}
	return yes
}

// lost takes in an error of the notifications, such as an overflow: something changed, and it is not known what.
func (r *run) lost(err error, ok bool) {
	if !ok {
		r.watcher.fsw = nil
		return
	}
	r.opts.Log.Warn("file notifications were lost: the directory is read again", "error", err)
	r.pacer.notify(time.Now(), false, false)
}

// calmed notes since when each file holds still.
func (r *run) calmed(t *tree, start, end time.Time) {
	next := make(map[string]calm, len(t.files))
	for _, f := range t.files {
		c, ok := r.calm[f.rel]
		switch {
		case r.prev == nil:
			c = calm{f.stamp, start.Add(-r.pacer.settle)} // the start believes what it sees
		case !ok || c.stamp != f.stamp:
			c = calm{f.stamp, end}
		}
		next[f.rel] = c
	}
	r.calm = next
}

func (r *run) still(start time.Time) func(file) bool {
	return func(f file) bool { return start.Sub(r.calm[f.rel].since) >= r.pacer.settle }
}

// offer saves what is in force, and publishes a Snapshot that differs from the last one.
func (r *run) offer(s Snapshot) {
	saveError := r.save()
	if r.last != nil && s.equal(r.last) && slices.Equal(saveError, r.saveError) {
		return
	}
	r.last, r.saveError = &s, saveError
	out := s
	out.Diagnostics = manifests.Sort(slices.Concat(s.Diagnostics, saveError))
	r.publish(out)
}

// save writes the last-good file if it must say something new.
func (r *run) save() []manifests.Diagnostic {
	if r.opts.StateDir == "" {
		return nil
	}
	data, err := r.ledger.memory().encode()
	sum := sha256.Sum256(data)
	if err == nil && sum != r.saved {
		err = replace(filepath.Join(r.opts.StateDir, lastGoodName), data)
	}
	if err == nil {
		r.saved = sum
		return nil
	}
	if r.saveError == nil {
		r.opts.Log.Error("last-good objects could not be saved", "error", err)
	}
	return []manifests.Diagnostic{{
		Severity: manifests.Error, Code: "last-good-not-saved", Pos: manifests.Position{File: r.opts.StateDir},
		Message: "a restart would not know what is in force now: " + reason(err).Error(), Hint: "make the state directory writable",
	}}
}

// equal compares what a consumer acts on, which editors' swap files, being skipped, are not. Objects are compared by identity: a file's decoding is kept while its content is the same.
func (s Snapshot) equal(o *Snapshot) bool {
	return s.OK == o.OK && slices.Equal(s.Objects, o.Objects) && slices.Equal(s.Diagnostics, o.Diagnostics) &&
		slices.Equal(s.Pinned, o.Pinned) && slices.Equal(s.Missing, o.Missing)
}
