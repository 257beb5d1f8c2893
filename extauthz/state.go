package extauthz

import (
	"context"
	"slices"
	"time"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// retirement is how long the id of a vanished route stays answerable for a proxy that has not acknowledged a configuration without it.
const retirement = 60 * time.Second

// inFlight is how long a route that its proxy has not any more is still asked about by requests that took it before: ext_authz's
// timeout of 1 s, and as much again.
const inFlight = 2 * time.Second

// state is all that a Check depends on. It is immutable and loaded once per Check.
type state struct {
	index *decide.Index
	// trust is "spiffe://<trust domain>/".
	trust string
	// verifiers know the issuers and Credentials of the Set.
	verifiers Verifiers
	retired   map[policy.RouteID]retired
	// mints: the Set's mesh has internal tokens. spiffeIDs are the proxies' own.
	mints     bool
	spiffeIDs map[policy.ProxyID]string
	// claimHeaders are the headers that some route of a gateway has for claims; sorted.
	claimHeaders map[policy.ProxyID][]string
	// interest is what the routes look at.
	interest *interest
	// router finds routes where proxies send no ids; nil: they do.
	router *router
}

// retired is a route that the newest Set does not have any more.
type retired struct {
	// last are the rules that it had; route these and today's denies.
	last, route *decide.Route
	// verifiers know the issuers and Credentials of the last Set that had the route.
	verifiers Verifiers
	// since is the generation that it was first missing in.
	since uint64
	until time.Time
}

// route finds a route id, of the newest Set or retired not long ago, and what verifies its tokens. Only its own proxy may ask.
func (s *state) route(id policy.RouteID, proxy policy.ProxyID, now time.Time) (*decide.Route, Verifiers) {
	r, ok := s.index.Route(id)
	verifiers := s.verifiers
	if !ok {
		old, ok := s.retired[id]
		if !ok || !now.Before(old.until) {
			return nil, Verifiers{}
		}
		r, verifiers = old.route, old.verifiers.and(s.verifiers)
	}
	if r.Proxy() != proxy {
		return nil, Verifiers{}
	}
	return r, verifiers
}

// pathRules are those by which the path of a request is read: of its route, or where the path finds the route, of the gateway.
func (s *state) pathRules(r *decide.Route) policy.PathRules {
	if r != nil {
		return r.Paths()
	}
	if s.router != nil {
		return s.router.paths
	}
	return policy.PathRules{}
}

// both takes a token that was good when the rules of a retired route were, and still is: an issuer that has changed since must not meet
// old rules, and one that is trusted no longer must not be used.
type both struct{ last, now Verifier }

// and are verifiers of which both must agree. One that is missing verifies nothing.
func (v Verifiers) and(now Verifiers) Verifiers {
	join := func(last, now Verifier) Verifier {
		if last == nil || now == nil {
			return nil
		}
		return both{last, now}
	}
	out := Verifiers{
		Tokens: join(v.Tokens, now.Tokens), Basic: join(v.Basic, now.Basic),
		Certificates: join(v.Certificates, now.Certificates), Internal: join(v.Internal, now.Internal),
	}
	if v.APIKeys != nil && now.APIKeys != nil {
		out.APIKeys = bothKeys{both{v.APIKeys, now.APIKeys}, v.APIKeys, now.APIKeys}
	}
	return out
}

// bothKeys are two KeyVerifiers: what one of them knows is an API key.
type bothKeys struct {
	both
	last, now KeyVerifier
}

func (b bothKeys) Knows(raw string, accepted []policy.Name) bool {
	return b.now.Knows(raw, accepted) || b.last.Knows(raw, accepted)
}

func (b both) Verify(ctx context.Context, raw string, accepted []policy.Name) (*decide.User, error) {
	if _, err := b.now.Verify(ctx, raw, accepted); err != nil {
		return nil, err
	}
	return b.last.Verify(ctx, raw, accepted)
}

// Publish makes set the one that decides, from the next Check on; Checks that have begun end with the Set that they began with. It must be
// called before any proxy hears of the Set, and after the Snapshot of Options knows the Set's issuers. Route ids that set has not any
// more stay answerable, by the rules that they had last and by the deny rules of today, until two seconds after Acknowledged has been
// called for their proxy with this generation or a later one, or 60 s have passed. Generations grow. The Set is kept, not copied. Safe for concurrent use.
func (s *Server) Publish(set *policy.Set, generation uint64) {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	now, old := s.now(), s.state.Load()
	index := decide.NewIndex(set)
	in := interestOf(index, old, set.Mesh.InternalTokens != nil)
	s.interest.Store(in.and(s.interest.Load())) // what is read from now on is enough for both
	next := &state{
		interest: in,
		index:    index, trust: "spiffe://" + set.Mesh.TrustDomain + "/", verifiers: s.snapshot(),
		mints: set.Mesh.InternalTokens != nil, spiffeIDs: spiffeIDs(set), claimHeaders: map[policy.ProxyID][]string{},
	}
	for r := range index.Routes() {
		if names := claimHeaders(r); len(names) > 0 {
			all := append(next.claimHeaders[r.Proxy()], names...)
			slices.Sort(all)
			next.claimHeaders[r.Proxy()] = slices.Compact(all)
		}
	}
	switch {
	case s.byLookup != nil:
		// Ids that are found in the newest Set alone never vanish on the way.
		next.router = s.byLookup.router(set)
	case old != nil:
		next.retire(old, generation, now)
	}
	s.metrics.retired.Set(float64(len(next.retired)))
	s.metrics.audits.publish(index.AuditRules())
	s.state.Store(next)
	s.interest.Store(in)
}

// spiffeIDs are those of the proxies themselves: a sidecar is its workload.
func spiffeIDs(set *policy.Set) map[policy.ProxyID]string {
	ids := make(map[policy.ProxyID]string, len(set.Gateways)+len(set.Workloads))
	for i := range set.Gateways {
		ids[policy.GatewayID(set.Gateways[i].Name)] = set.Gateways[i].SPIFFEID
	}
	for i := range set.Workloads {
		ids[policy.SidecarID(set.Workloads[i].Name)] = set.Workloads[i].SPIFFEID
	}
	return ids
}

func (s *state) retire(old *state, generation uint64, now time.Time) {
	var entries []retired
	for r := range old.index.Routes() {
		if _, ok := s.index.Route(r.ID()); !ok {
			entries = append(entries, retired{last: r, verifiers: old.verifiers, since: generation, until: now.Add(retirement)})
		}
	}
	for id, r := range old.retired {
		if _, ok := s.index.Route(id); !ok && now.Before(r.until) {
			entries = append(entries, r)
		}
	}
	last := make([]*decide.Route, len(entries))
	for i := range entries {
		last[i] = entries[i].last
	}
	s.retired = make(map[policy.RouteID]retired, len(entries))
	for i, r := range s.index.Retire(last) {
		entries[i].route = r
		s.retired[r.ID()] = entries[i]
	}
}

// Acknowledged tells that proxy runs a configuration of this generation, or a later one, and nothing older: route ids of it that had
// vanished by then are forgotten once requests that are on their way have ended (two seconds). Safe for concurrent use.
func (s *Server) Acknowledged(proxy policy.ProxyID, generation uint64) {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	old := s.state.Load()
	if old == nil || len(old.retired) == 0 {
		return
	}
	now := s.now()
	next := new(*old)
	next.retired = make(map[policy.RouteID]retired, len(old.retired))
	for id, r := range old.retired {
		if end := now.Add(inFlight); r.last.Proxy() == proxy && r.since <= generation && end.Before(r.until) {
			r.until = end
		}
		if now.Before(r.until) {
			next.retired[id] = r
		}
	}
	s.metrics.retired.Set(float64(len(next.retired)))
	s.state.Store(next)
}
