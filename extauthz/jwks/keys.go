package jwks

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/credence-mesh/credence/policy"
)

// Options of Keys. The zero value works.
type Options struct {
	// Development gives the JWK Set of the development issuer that runs in this process at issuerURL, or says why none does. Nil: none.
	Development func(issuerURL string) (jwks []byte, err error)
	// Dir keeps the last good document of each issuer of the network, so that a start without the issuer has keys. It is made where it is
	// absent, mode 0700. Empty: nothing is kept.
	Dir string
	// MaxStale is how long a URL's keys are kept after the last good fetch, for issuers that don't say so themselves. 0: 24 h.
	MaxStale time.Duration
	// Transport fetches URLs instead of an own one, and is then what guards the network. Nil: own ones, one per issuer.
	Transport http.RoundTripper
	// Resolver of host names, for own transports. Nil: net.DefaultResolver.
	Resolver *net.Resolver
	// Proxy of a request, for own transports. Nil: http.ProxyFromEnvironment.
	Proxy func(*http.Request) (*url.URL, error)
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
	if o.Proxy == nil {
		o.Proxy = http.ProxyFromEnvironment
	}
	return &Keys{opts: o, sources: map[policy.Name]*Source{}, changed: make(chan struct{}, 1)}
}

// Publish makes issuers the ones whose keys are held and returns their Sources. An issuer of which nothing changed that its keys depend on
// keeps its Source; one whose keys come from the same place as before keeps its keys. Inline, file and development keys, and those
// that the disk has, are read before it returns; nothing is fetched: Run does that. Issuers with Introspection have keys only where its
// answers are signed.
func (k *Keys) Publish(issuers []policy.Issuer) map[policy.Name]*Source {
	k.mu.Lock()
	defer k.mu.Unlock()
	next, out := map[policy.Name]*Source{}, map[policy.Name]*Source{}
	for _, i := range issuers {
		if i.Introspection != nil && !i.Introspection.JWT {
			continue // nothing of it is signed
		}
		s := k.sources[i.Name]
		if s == nil || !s.same(i) {
			s = k.replace(s, i)
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

// Source is that of the issuer, as published last; nil: it has none.
func (k *Keys) Source(name policy.Name) *Source {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sources[name]
}

// replace makes the Source of i; old is what its name had before, or nil.
func (k *Keys) replace(old *Source, i policy.Issuer) *Source {
	c := &counts{}
	if old != nil {
		c = old.counts
	}
	s := k.newSource(i, c)
	if !s.remote() {
		k.loadLocal(s)
		return s
	}
	if old != nil && old.identity == s.identity {
		if l := old.current.Load(); l != nil {
			if err := k.accept(s, *l); err != nil {
				k.fail(s, err)
			}
			return s
		}
	}
	k.restore(s)
	return s
}

// Run keeps files and URLs fresh until ctx ends, and returns nil then. It must run once. Each issuer's keys are fetched by a goroutine of
// their own, so that no issuer waits for another.
func (k *Keys) Run(ctx context.Context) error {
	k.prune()
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
				wg.Go(func() { k.watch(sub, s) })
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
		if s.from.File != "" || s.remote() {
			out[s] = true
		}
	}
	return out
}

// watch owns the refreshing of one source until ctx ends.
func (k *Keys) watch(ctx context.Context, s *Source) {
	if s.remote() {
		k.newFetcher(s).run(ctx)
		return
	}
	tick := time.NewTicker(filePoll)
	defer tick.Stop()
	for {
		k.loadFile(s)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
