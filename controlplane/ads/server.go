package ads

import (
	"context"
	"log/slog"
	"sync"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/credence-mesh/credence/policy"
)

// Callers knows which proxy a stream belongs to.
type Callers interface {
	// Caller is the proxy that the transport of ctx attests; an error refuses the stream. It must not read anything that the
	// client merely claims.
	Caller(ctx context.Context) (policy.ProxyID, error)
}

// Defaults of Options.
const (
	DefaultGate       = 5 * time.Second
	DefaultGrace      = 2 * time.Second
	DefaultMaxMessage = 2 << 20
)

// Options of a Server. Callers is required.
type Options struct {
	Callers Callers
	// Log defaults to a discarding logger.
	Log *slog.Logger
	// Metrics may be nil.
	Metrics prometheus.Registerer
	// Now defaults to time.Now.
	Now func() time.Time
	// Gate is how long the next step of a change waits for the ACK of the one before; DefaultGate when 0.
	Gate time.Duration
	// Grace is how long removals wait after the ACK of all changes, for requests that are on their way: longer than ext_authz may take.
	// DefaultGrace when 0, none when negative.
	Grace time.Duration
	// MaxMessage is the size in bytes above which a delta response is split; DefaultMaxMessage when 0.
	MaxMessage int
	// Acknowledged is called when every open stream of a proxy runs generation completely: of each type the newest content was
	// acknowledged, or is what the proxy had already. Generations of one proxy rise, except that a proxy which reconnects reports
	// again. A proxy without a stream reports nothing. It must not block; nil is allowed.
	Acknowledged func(proxy policy.ProxyID, generation uint64)
	// Rejected is called for every refused response. It must not block; nil is allowed.
	Rejected func(Rejection)
}

// Server is the Aggregated Discovery Service. Safe for concurrent use.
type Server struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer

	o       Options
	metrics *metrics

	mu      sync.Mutex
	proxies map[policy.ProxyID]*proxy
	// report keeps the calls of Acknowledged in order.
	report sync.Mutex
}

var _ discoveryv3.AggregatedDiscoveryServiceServer = (*Server)(nil)

// New makes a Server without views: all streams wait.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Gate == 0 {
		o.Gate = DefaultGate
	}
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	if o.MaxMessage == 0 {
		o.MaxMessage = DefaultMaxMessage
	}
	return &Server{o: o, metrics: newMetrics(o.Metrics), proxies: map[policy.ProxyID]*proxy{}}
}

// Register adds the service to r.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(r, s)
}

// SetView offers v to the proxy. Streams of a proxy that has no view yet wait: an empty answer would delete what the proxy runs.
// generation names the state of the manifests that v was made of; it must not fall.
func (s *Server) SetView(id policy.ProxyID, generation uint64, v *View) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.proxy(id)
	p.view, p.generation = v, generation
	for st := range p.streams {
		st.notify()
	}
}

// Remove forgets the proxy and ends its streams. A proxy that connects again waits.
func (s *Server) Remove(id policy.ProxyID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.proxies[id]
	if !ok {
		return
	}
	delete(s.proxies, id)
	for st := range p.streams {
		close(st.removed)
	}
}

// Status of all proxies that have a view or a stream, sorted by ID.
func (s *Server) Status() []ProxyStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]ProxyStatus, 0, len(s.proxies))
	for _, p := range s.proxies {
		all = append(all, p.status())
	}
	sortStatus(all)
	return all
}

// proxy wants s.mu held.
func (s *Server) proxy(id policy.ProxyID) *proxy {
	p, ok := s.proxies[id]
	if !ok {
		p = newProxy(id)
		s.proxies[id] = p
	}
	return p
}

// open makes st known to its proxy.
func (s *Server) open(st *stream, version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.proxy(st.id)
	p.version = version
	p.streams[st] = &streamState{since: s.o.Now()}
	p.reported = 0
	st.proxy = p
	st.session.past = p.past.clone()
	s.metrics.streams.Inc()
}

// closed is the reverse of open.
func (s *Server) closed(st *stream) {
	p := st.proxy
	if p == nil {
		return
	}
	s.metrics.streams.Dec()
	s.mu.Lock()
	delete(p.streams, st)
	p.past.unsettled = st.session.leave()
	if len(p.streams) == 0 && p.view == nil && s.proxies[st.id] == p {
		delete(s.proxies, st.id)
	}
	s.mu.Unlock()
	// The stream that ended may have been the one that others waited for.
	s.acknowledge(p)
}

// latest is the newest view of the stream's proxy.
func (s *Server) latest(st *stream) (*View, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return st.proxy.view, st.proxy.generation
}

// sent records responses.
func (s *Server) sent(st *stream, responses []response) {
	if len(responses) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range responses {
		st.proxy.sent(r.typeURL, r.view)
		s.metrics.responses.WithLabelValues(typeLabel(r.typeURL)).Inc()
	}
}

// heard records what a request said of a response.
func (s *Server) heard(st *stream, o outcome) {
	switch {
	case o.acked:
		s.mu.Lock()
		st.proxy.acked(o)
		s.mu.Unlock()
	case o.refused:
		r := Rejection{Proxy: st.id, TypeURL: o.typeURL, Version: o.view, Names: o.names, Message: o.failure, At: s.o.Now()}
		s.mu.Lock()
		st.proxy.refused(o, r)
		s.mu.Unlock()
		s.metrics.rejections.WithLabelValues(typeLabel(o.typeURL)).Inc()
		s.o.Log.Warn("proxy refused configuration", slog.String("proxy", string(st.id)), slog.String("type", typeLabel(o.typeURL)),
			slog.Any("names", o.names), slog.String("message", o.failure))
		if s.o.Rejected != nil {
			s.o.Rejected(r)
		}
	}
}

// settled records that the stream runs generation and reports it if all streams of its proxy do.
func (s *Server) settled(st *stream, generation uint64) {
	s.mu.Lock()
	state, ok := st.proxy.streams[st]
	news := ok && state.acked < generation
	if news {
		state.acked = generation
	}
	s.mu.Unlock()
	if news {
		s.acknowledge(st.proxy)
	}
}

// acknowledge reports what all streams of p run, if that is news.
func (s *Server) acknowledge(p *proxy) {
	s.report.Lock()
	defer s.report.Unlock()
	s.mu.Lock()
	generation := p.acknowledged()
	news := generation > p.reported
	if news {
		p.reported = generation
	}
	s.mu.Unlock()
	if news && s.o.Acknowledged != nil {
		s.o.Acknowledged(p.id, generation)
	}
}
