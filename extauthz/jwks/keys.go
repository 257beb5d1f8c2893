package jwks

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/credence-mesh/credence/policy"
)

// Options of Keys. The zero value works.
type Options struct {
	// Development gives the JWK Set of the development issuer that runs in this process at issuerURL, false: none does. Nil: none.
	Development func(issuerURL string) (jwks []byte, ok bool)
	// Transport fetches URLs. Nil: an own one.
	Transport http.RoundTripper
	// MaxStale is how long a URL's keys are kept after the last good fetch. 0: 24 h.
	MaxStale time.Duration
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Log of changes and failures. Nil: slog.Default.
	Log *slog.Logger
}

// Keys holds the Sources of all issuers. Publish and Run may run at the same time.
type Keys struct {
	opts Options

	mu      sync.Mutex
	sources map[policy.Name]*Source
	// changed tells Run that sources were swapped.
	changed chan struct{}
}

// New makes Keys without issuers. It starts nothing.
func New(o Options) *Keys {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.MaxStale == 0 {
		o.MaxStale = 24 * time.Hour
	}
	return &Keys{opts: o, sources: map[policy.Name]*Source{}, changed: make(chan struct{}, 1)}
}

// Source is the keys of one issuer from one place. Safe for concurrent use.
type Source struct {
	name       policy.Name
	issuer     string
	algorithms []string
	from       policy.KeySource
	current    atomic.Pointer[loaded]
	failure    atomic.Pointer[string]
	now        func() time.Time
}

// loaded is one good document.
type loaded struct {
	set *Set
	raw []byte
	at  time.Time
	// until is when it is too old to be trusted; zero: never.
	until time.Time
}

// Set is the newest good set; nil: none is known, or the last good one is older than MaxStale. It never blocks.
func (s *Source) Set() *Set {
	if s == nil {
		return nil
	}
	l := s.current.Load()
	if l == nil || (!l.until.IsZero() && s.now().After(l.until)) {
		return nil
	}
	return l.set
}

// Publish makes issuers the ones whose keys are held and returns their Sources. An issuer whose key source and algorithms did not
// change keeps its Source and keys. Inline, file and development keys are read before it returns; URLs by Run.
func (k *Keys) Publish(issuers []policy.Issuer) map[policy.Name]*Source {
	k.mu.Lock()
	defer k.mu.Unlock()
	next, out := map[policy.Name]*Source{}, map[policy.Name]*Source{}
	for _, i := range issuers {
		s := k.sources[i.Name]
		if s == nil || s.from != i.Keys || s.issuer != i.URL() || !slices.Equal(s.algorithms, i.Algorithms) {
			s = &Source{name: i.Name, issuer: i.URL(), algorithms: slices.Clone(i.Algorithms), from: i.Keys, now: k.opts.Now}
			k.loadLocal(s)
		} else if s.from.Development {
			k.loadLocal(s)
		}
		next[i.Name], out[i.Name] = s, s
	}
	k.sources = next
	select {
	case k.changed <- struct{}{}:
	default:
	}
	return out
}

// Status is what is known of one issuer's keys.
type Status struct {
	Issuer policy.Name
	// Keys that can verify; 0: tokens of the issuer can't be verified.
	Keys int
	// Updated is when the keys were last read well; zero: never.
	Updated time.Time
	// Failure of the last read, empty after a good one.
	Failure string
	// Skipped keys of the document, with the reason.
	Skipped []string
}

// Status of all issuers, by name.
func (k *Keys) Status() []Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]Status, 0, len(k.sources))
	for _, s := range k.sources {
		st := Status{Issuer: s.name}
		if l := s.current.Load(); l != nil {
			st.Updated = l.at
		}
		if set := s.Set(); set != nil {
			st.Keys, st.Skipped = set.Len(), set.Skipped()
		}
		if f := s.failure.Load(); f != nil {
			st.Failure = *f
		}
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b Status) int { return strings.Compare(a.Issuer.String(), b.Issuer.String()) })
	return out
}

// Run keeps files and URLs fresh until ctx ends, and returns nil then. It must run once.
func (k *Keys) Run(ctx context.Context) error {
	client := newClient(k.opts.Transport)
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	running := map[*Source]context.CancelFunc{}
	defer wg.Wait()
	defer func() {
		for _, cancel := range running {
			cancel()
		}
	}()
	for {
		want := k.watched()
		for s, cancel := range running {
			if !want[s] {
				cancel()
				delete(running, s)
			}
		}
		for s := range want {
			if running[s] == nil {
				sub, cancel := context.WithCancel(ctx)
				running[s] = cancel
				wg.Go(func() { k.watch(sub, client, s) })
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-k.changed:
		}
	}
}

// watched are the Sources that need Run.
func (k *Keys) watched() map[*Source]bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := map[*Source]bool{}
	for _, s := range k.sources {
		if s.from.File != "" || s.from.URL != "" {
			out[s] = true
		}
	}
	return out
}
