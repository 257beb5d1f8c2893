package dir

import "time"

// phase says how much of a read may take effect.
type phase int

const (
	_       phase = iota
	nothing       // not yet: still moving
	partial       // it has been moving for long: edits of those files that hold still, no deletions
	edits         // at rest: edits, unless they go together with deletions
	whole         // at rest for the whole quiet period and read twice alike: deletions too
)

// pacer decides when a read of the directory is to be believed. Times are handed in; the zero value of its instants means never.
type pacer struct {
	settle, quiet, patience time.Duration

	changed time.Time // the last sign of a change
	since   time.Time // the first sign of a change that has not wholly taken effect
	prevEnd time.Time // end of the last read
	noticed time.Time // the last notification that accounts for whatever the next read finds changed
	begun   time.Time // start of the last read
	urgent  bool      // look at once: a directory appeared that is not yet watched
	pending phase     // nothing (at rest and in force), edits or whole: what is left to take effect
}

func newPacer(quiet time.Duration) *pacer {
	// Half the quiet period is for a writer that writes in pieces; patience is for one that never stops.
	return &pacer{settle: quiet / 2, quiet: quiet, patience: 5 * quiet, pending: nothing}
}

// notify takes in a notification. complete: every directory is watched, so it accounts for what the next read finds changed.
func (p *pacer) notify(now time.Time, complete, urgent bool) {
	p.touch(now)
	if complete {
		p.noticed = now
	}
	p.urgent = p.urgent || urgent
}

func (p *pacer) touch(now time.Time) {
	if p.pending == nothing {
		p.since = now
	}
	p.changed, p.pending = now, edits
}

// read takes in a read that began at start and ended at end. same: alike to the one before. blind: some directory was not
// watched before this read, so silence says nothing about it. It returns what may take effect.
func (p *pacer) read(start, end time.Time, same, blind bool) phase {
	again := same && p.prevEnd.After(p.changed) // this is the second look since the last sign of a change
	if blind || !same && !p.noticed.After(p.begun) {
		p.touch(end)
	}
	p.begun, p.prevEnd, p.urgent = start, end, false
	switch age := start.Sub(p.changed); {
	case p.pending == nothing:
		return nothing
	case age >= p.quiet && again:
		return whole
	case age >= p.settle:
		return edits
	case start.Sub(p.since) >= p.patience:
		return partial
	}
	return nothing
}

// done says that a phase took effect.
func (p *pacer) done(ph phase) {
	switch ph {
	case whole:
		p.pending = nothing
	case edits:
		p.pending = whole
	case partial, nothing:
	}
}

// wait is how long from now until the next read is due.
func (p *pacer) wait(now time.Time, poll time.Duration) time.Duration {
	due := p.prevEnd.Add(poll)
	switch {
	case p.urgent:
		return 0
	case p.pending == edits:
		due = p.changed.Add(p.settle)
	case p.pending == whole:
		due = later(p.changed.Add(p.quiet), p.prevEnd.Add(p.settle))
	}
	if p.pending != nothing {
		if churn := later(p.since.Add(p.patience), p.prevEnd.Add(2*p.settle)); churn.Before(due) {
			due = churn
		}
	}
	return max(0, due.Sub(now))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
