package dir

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/credence-mesh/credence/manifests"
)

// Decoded is what one file says.
type Decoded struct {
	Objects     []*manifests.Object
	Diagnostics []manifests.Diagnostic
	// Parsed is false where the text as a whole can't be understood, so that it can't be told which objects it names.
	Parsed bool
	// Broken are objects that the file names and that can't be decoded.
	Broken []manifests.Key
}

// Options of a Source. Dir, Decode and Log must be set; Restore too where StateDir is.
type Options struct {
	// Dir is the directory of manifests, or a symbolic link to one. Positions begin with it as it is written here.
	Dir string
	// StateDir is an existing directory in which last-good objects are kept; empty keeps them in memory only. One process owns it.
	StateDir string
	// Decode decodes one file. It must be pure.
	Decode func(name string, data []byte) Decoded
	// Restore makes an object of its Canonical.
	Restore func(key manifests.Key, canonical []byte, pos manifests.Position) (*manifests.Object, error)
	// Quiet is how long the directory must be left alone before deletions take effect; edits need half of it. Default 200 ms.
	Quiet time.Duration
	// Poll is how often the directory is read where there are no notifications. Default 1 s; at least 20 times what a read takes.
	Poll time.Duration
	Log  *slog.Logger
}

// Snapshot is what is in force after a read. It is immutable.
type Snapshot struct {
	// Objects in force, sorted by Key. Some are older than the directory: see Pinned.
	Objects []*manifests.Object
	// Diagnostics of everything read, in their one order.
	Diagnostics []manifests.Diagnostic
	// Pinned objects are in force in their last good version, because what the directory says now can't be used. Sorted.
	Pinned []manifests.Key
	// Missing objects are named in the directory and invalid, and no version was ever good: whatever they target must be denied. Sorted.
	Missing []manifests.Key
	// Skipped names what is in the directory and was not read. Sorted.
	Skipped []string
	// OK is false where the directory is empty or can't be read. Then Objects are those that were in force before, all of them
	// pinned: at a start those of the last-good file, and none where there is none.
	OK bool
}

// Source reads a directory. Read and Run may be called at the same time, Run only once.
type Source struct {
	opts Options
	root string // absolute

	mu     sync.Mutex
	ledger *ledger
}

// New reads the last-good file and nothing else. A last-good file that is damaged or of a newer format is an error (ErrCorrupt,
// ErrNewer) and stays as it is.
func New(o Options) (*Source, error) {
	if o.Dir == "" || o.Decode == nil || o.Log == nil || o.StateDir != "" && o.Restore == nil {
		return nil, errors.New("directory source: Dir, Decode, Log and, with StateDir, Restore must be set")
	}
	if o.Quiet <= 0 {
		o.Quiet = 200 * time.Millisecond
	}
	if o.Poll <= 0 {
		o.Poll = time.Second
	}
	root, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("directory source: %w", err)
	}
	s := &Source{opts: o, root: root}
	s.ledger = &ledger{
		display: func(rel string) string { return filepath.Join(o.Dir, rel) },
		decode:  o.Decode,
		inForce: map[manifests.Key]held{}, missing: map[manifests.Key]bool{},
		read: map[string]map[manifests.Key]bool{}, contents: map[string]content{},
	}
	if o.StateDir == "" {
		return s, nil
	}
	if err := apart(root, o.StateDir); err != nil {
		return nil, err
	}
	m, err := load(o.StateDir)
	if err != nil {
		return nil, err
	}
	for _, obj := range m.Objects {
		s.restore(obj)
	}
	for _, n := range m.Read {
		s.ledger.noteRead(n.File, n.key())
	}
	return s, nil
}

// apart refuses a state directory whose files would be read as manifests.
func apart(root, stateDir string) error {
	state, err := filepath.Abs(stateDir)
	if err != nil {
		return fmt.Errorf("directory source: %w", err)
	}
	rel, err := filepath.Rel(root, state)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return nil //nolint:nilerr // no relative path: the two have nothing in common
	}
	if rel != "." && slices.ContainsFunc(strings.Split(rel, "/"), ignoredName) {
		return nil
	}
	return fmt.Errorf("the state directory %s is inside the directory of manifests %s and would be read as manifests; "+
		"put it elsewhere or give it a name that begins with a dot", stateDir, root)
}

func (s *Source) restore(o saved) {
	k := o.key()
	pos := manifests.Position{File: s.ledger.display(o.File), Line: o.Line, Column: o.Column}
	obj, err := s.opts.Restore(k, []byte(o.Canonical), pos)
	if err != nil {
		s.ledger.carried = append(s.ledger.carried, manifests.Diagnostic{
			Severity: manifests.Warning, Code: "last-good-unusable", Pos: pos, Object: k,
			Message: fmt.Sprintf("the last good version of %s is not accepted by this version of Credence: %v", k, err),
		})
		return
	}
	s.ledger.inForce[k] = held{obj, o.File}
}

// Read reads the whole directory once, as if it were at rest, and keeps nothing of it. The error is ctx's.
func (s *Source) Read(ctx context.Context) (Snapshot, error) {
	s.mu.Lock()
	l := s.ledger.clone()
	s.mu.Unlock()
	t := (&reader{root: s.root, known: l.known}).read(ctx)
	if err := ctx.Err(); err != nil {
		return Snapshot{}, err
	}
	snap, _ := l.apply(t, whole, nil)
	return snap, nil
}
