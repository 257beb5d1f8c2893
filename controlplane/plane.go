package controlplane

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/credence-mesh/credence/controlplane/ads"
	"github.com/credence-mesh/credence/policy"
)

// Errors of Publish.
var (
	// ErrStaleGeneration: the generation is not newer than the one published last.
	ErrStaleGeneration = errors.New("generation is not newer than the published one")
	// ErrTranslate is the class of errors of single proxies; all others were published.
	ErrTranslate = errors.New("proxy keeps its old configuration")
)

// Options of a Plane. Translate and Callers are required.
type Options struct {
	// Translate makes and checks the configuration of one proxy. It is called concurrently and must not keep what it returns.
	Translate func(set *policy.Set, proxy policy.ProxyID) ([]ads.Resource, error)
	// Callers knows which proxy a stream belongs to.
	Callers ads.Callers
	// Log, Metrics, Now, Gate, Acknowledged and Rejected: see ads.Options.
	Log          *slog.Logger
	Metrics      prometheus.Registerer
	Now          func() time.Time
	Gate         time.Duration
	Acknowledged func(proxy policy.ProxyID, generation uint64)
	Rejected     func(ads.Rejection)
}

// Plane publishes Sets to proxies. Safe for concurrent use.
type Plane struct {
	translate func(*policy.Set, policy.ProxyID) ([]ads.Resource, error)
	server    *ads.Server

	// publish lets one Publish work at a time.
	publish sync.Mutex

	mu         sync.Mutex
	generation uint64
	// failures, by proxy: why it keeps an old view, or has none.
	failures map[policy.ProxyID]string
	// proxies of the last Set.
	proxies map[policy.ProxyID]struct{}
}

// New makes a Plane that has published nothing: all proxies wait.
func New(o Options) *Plane {
	return &Plane{
		translate: o.Translate,
		server: ads.New(ads.Options{
			Callers: o.Callers, Log: o.Log, Metrics: o.Metrics, Now: o.Now, Gate: o.Gate,
			Acknowledged: o.Acknowledged, Rejected: o.Rejected,
		}),
		failures: map[policy.ProxyID]string{},
		proxies:  map[policy.ProxyID]struct{}{},
	}
}

// Register adds the discovery service to r.
func (p *Plane) Register(r grpc.ServiceRegistrar) { p.server.Register(r) }

// Proxies of a Set, sorted: one per gateway and one per workload.
func Proxies(set *policy.Set) []policy.ProxyID {
	ids := make([]policy.ProxyID, 0, len(set.Gateways)+len(set.Workloads))
	for i := range set.Gateways {
		ids = append(ids, policy.GatewayID(set.Gateways[i].Name))
	}
	for i := range set.Workloads {
		ids = append(ids, policy.SidecarID(set.Workloads[i].Name))
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// built is the outcome of one proxy.
type built struct {
	id   policy.ProxyID
	view *ads.View
	err  error
}

// Publish translates set for every proxy and then offers all views under the generation, which must rise with each call. Proxies
// that are not in set any more are forgotten. A proxy whose configuration can't be made keeps its old view and its old generation;
// the error then wraps ErrTranslate and names each such proxy. The call does not wait for proxies.
func (p *Plane) Publish(set *policy.Set, generation uint64) error {
	p.publish.Lock()
	defer p.publish.Unlock()
	p.mu.Lock()
	published := p.generation
	p.mu.Unlock()
	if generation <= published {
		return fmt.Errorf("publish generation %d: %w (%d)", generation, ErrStaleGeneration, published)
	}
	all, err := p.build(set)
	if err != nil {
		return err
	}
	return p.swap(all, generation)
}

// build makes the views of all proxies, in the order in which they are to be offered.
func (p *Plane) build(set *policy.Set) ([]built, error) {
	ids := Proxies(set)
	all := make([]built, len(ids))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, id := range ids {
		group.Go(func() error {
			view, err := p.view(set, id)
			all[i] = built{id: id, view: view, err: err}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("translate: %w", err)
	}
	return all, nil
}

func (p *Plane) view(set *policy.Set, id policy.ProxyID) (*ads.View, error) {
	resources, err := p.translate(set, id)
	if err != nil {
		return nil, fmt.Errorf("translate %s: %w: %w", id, ErrTranslate, err)
	}
	view, err := ads.NewView(resources)
	if err != nil {
		return nil, fmt.Errorf("translate %s: %w: %w", id, ErrTranslate, err)
	}
	return view, nil
}

// swap offers the views. Staging (one proxy first, the rest when it acknowledged) belongs between the elements of all.
func (p *Plane) swap(all []built, generation uint64) error {
	failures := map[policy.ProxyID]string{}
	proxies := make(map[policy.ProxyID]struct{}, len(all))
	var errs []error
	for _, b := range all {
		proxies[b.id] = struct{}{}
		if b.err != nil {
			failures[b.id] = b.err.Error()
			errs = append(errs, b.err)
			continue
		}
		p.server.SetView(b.id, generation, b.view)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.proxies {
		if _, ok := proxies[id]; !ok {
			p.server.Remove(id)
		}
	}
	p.generation, p.failures, p.proxies = generation, failures, proxies
	return errors.Join(errs...)
}

// ProxyStatus is what `credence status` shows of one proxy.
type ProxyStatus struct {
	ads.ProxyStatus
	// Published is the generation published last; Generation is older when Error is set.
	Published uint64 `json:"published"`
	// Error says why the proxy keeps an older configuration, or has none.
	Error string `json:"error,omitempty"`
}

// Status of the proxies of the last Set and of all that are connected, sorted by ID.
func (p *Plane) Status() []ProxyStatus {
	known := p.server.Status()
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := make(map[policy.ProxyID]struct{}, len(known))
	all := make([]ProxyStatus, 0, len(known))
	for _, s := range known {
		seen[s.Proxy] = struct{}{}
		all = append(all, ProxyStatus{ProxyStatus: s, Published: p.generation, Error: p.failures[s.Proxy]})
	}
	for id := range p.proxies {
		if _, ok := seen[id]; !ok {
			all = append(all, ProxyStatus{ProxyStatus: ads.ProxyStatus{Proxy: id}, Published: p.generation, Error: p.failures[id]})
		}
	}
	slices.SortFunc(all, func(a, b ProxyStatus) int { return cmp.Compare(a.Proxy, b.Proxy) })
	return all
}
