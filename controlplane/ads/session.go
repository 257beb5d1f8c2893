package ads

import (
	"fmt"
	"maps"
	"slices"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/proto"
)

// Limits of one stream.
const (
	maxTypes   = 32
	maxFlights = 1000
)

// request is a discovery request of either protocol; subscribe is the whole list in a state-of-the-world one.
type request struct {
	typeURL     string
	nonce       string
	failure     string
	failed      bool
	subscribe   []string
	unsubscribe []string
	initial     map[string]string
	version     string
}

// response is a discovery response of either protocol; only delta has removed.
type response struct {
	typeURL   string
	nonce     string
	version   string
	resources []*Resource
	removed   []string
	// content and view: see flight. told is what the client knows once it took the response.
	content string
	view    string
	told    []told
}

// outcome is what a request said about a response.
type outcome struct {
	acked    bool
	refused  bool
	typeURL  string
	view     string
	content  string
	names    []string
	failure  string
	versions map[string]string
}

// session is the state machine of one stream: requests and views go in, responses come out. Not safe for concurrent use.
type session struct {
	delta    bool
	gate     time.Duration
	grace    time.Duration
	maxBytes int
	prefix   string
	counter  uint64

	view       *View
	generation uint64
	// calm is since when nothing refers to what is left to remove; zero: something may, or nothing is left.
	calm  time.Time
	types map[string]*subscription
	// past is what earlier streams of the proxy left behind.
	past past
	// warming are the endpoints of clusters that were sent to a reconnecting client before it asked for endpoints.
	warming map[string]struct{}
}

// past is what a proxy's earlier streams leave to the next.
type past struct {
	// refused, by type: the content that was refused and the versions that are to blame.
	refused map[string]refusal
	// unsettled: clusters or endpoints were in flight when the last stream ended, so a cluster may be warming.
	unsettled bool
}

type refusal struct {
	content  string
	versions map[string]string
}

// request applies r and says what it acknowledges or refuses.
func (s *session) request(r request) outcome {
	u, ok := s.types[r.typeURL]
	if !ok {
		u = newSubscription(r.typeURL)
		s.types[r.typeURL] = u
	}
	o := s.answer(u, r)
	set := s.view.set(u.url)
	first, quiet := !u.started, u.refused && u.content(set) == u.parked
	if s.delta {
		u.delta(r)
	} else {
		u.world(r)
	}
	if quiet {
		// Another subscription is no reason to repeat what was refused.
		u.parked = u.content(set)
	}
	if first && u.url == EndpointType {
		for name := range s.warming {
			if u.wants(name) {
				u.owed[name] = struct{}{}
			}
		}
		s.warming = nil
	}
	return o
}

// answer takes the response that r is about out of flight.
func (s *session) answer(u *subscription, r request) outcome {
	f, ok := u.take(r.nonce, s.delta)
	if !ok {
		return outcome{}
	}
	o := outcome{typeURL: u.url, view: f.view, content: f.content}
	if !r.failed {
		o.acked = true
		u.ack(f)
		return o
	}
	o.refused, o.failure = true, r.failure
	o.names = u.refuse(f)
	o.versions = map[string]string{}
	for _, t := range f.told {
		if slices.Contains(o.names, t.name) {
			o.versions[t.name] = t.version
		}
	}
	return o
}

// resume continues where an earlier stream of the same process ended, once there is a view to compare with.
func (s *session) resume(u *subscription) {
	if !u.resumed {
		return
	}
	u.resumed = false
	set := s.view.set(u.url)
	if u.url == EndpointType && s.past.unsettled {
		u.claimed = ""
		for name := range u.names {
			u.owed[name] = struct{}{}
		}
	}
	if past, ok := s.past.refused[u.url]; ok {
		u.refused, u.parked = true, past.content
		for name, version := range past.versions {
			if _, has := u.entries[name]; !has && u.wants(name) {
				// Envoy may run a part of what it refused without listing it.
				u.entries[name] = entry{version: unsure, held: true}
			}
			if r := set.get(name); r != nil && r.Version == version {
				delete(u.owed, name)
			}
		}
	}
	if !s.delta {
		s.reconcile(u, set)
	}
}

// reconcile compares what a reconnecting state-of-the-world client claims with the view.
func (s *session) reconcile(u *subscription, set *set) {
	content := u.content(set)
	if u.refused && u.parked == content {
		clear(u.owed)
		u.answer = false
		return
	}
	for name := range u.names {
		if set.get(name) == nil {
			u.entries[name] = entry{held: true}
		}
	}
	if u.claimed != content {
		return
	}
	for _, r := range u.wanted(set) {
		u.entries[r.Name] = entry{version: r.Version, acked: r.Version, body: s.keep(r), held: true}
	}
	clear(u.owed)
	u.answer = false
}

// next are the responses that are due now, in order, and when to ask again (zero: when something happens). They count as sent.
func (s *session) next(now time.Time) ([]response, time.Time) {
	if s.view == nil {
		return nil, time.Time{}
	}
	p := &plan{s: s, now: now}
	for _, u := range s.types {
		s.resume(u)
	}
	for url := range s.types {
		if !slices.Contains(Types(), url) {
			p.change(url)
		}
	}
	p.change(SecretType)
	p.remove(SecretType)
	p.change(ClusterType)
	p.change(EndpointType)
	if p.wait(ClusterType, EndpointType) {
		return p.responses, p.until
	}
	p.change(ListenerType)
	p.change(RouteType)
	if !p.removals() {
		s.calm = time.Time{}
		p.done()
		return p.responses, p.until
	}
	if p.wait(ClusterType, EndpointType, ListenerType, RouteType) {
		s.calm = time.Time{}
		return p.responses, p.until
	}
	if p.inFlight() {
		return p.responses, p.until
	}
	p.remove(RouteType)
	p.remove(EndpointType)
	p.remove(ClusterType)
	s.calm = time.Time{}
	p.done()
	return p.responses, p.until
}

// settled: the client acknowledged all of the view.
func (s *session) settled() bool {
	if s.view == nil {
		return false
	}
	for _, url := range Types() {
		set := s.view.set(url)
		u, ok := s.types[url]
		switch {
		case url == SecretType:
		case ok && u.started:
			if !u.settled(set) {
				return false
			}
		case url == ClusterType || url == ListenerType || len(set.resources) > 0:
			// Every proxy subscribes to clusters and listeners: until it did, nobody knows what it runs.
			return false
		}
	}
	return true
}

// leave is what the stream's end leaves to the next one.
func (s *session) leave() bool {
	for _, url := range []string{ClusterType, EndpointType} {
		if u, ok := s.types[url]; ok && len(u.flights) > 0 {
			return true
		}
	}
	return false
}

func (s *session) nonce() string {
	s.counter++
	return fmt.Sprintf("%s-%d", s.prefix, s.counter)
}

// force owes the client the endpoints of clusters that are sent: an EDS cluster that changed warms until they come, and Envoy does
// not ask again.
func (s *session) force(clusters []*Resource) {
	endpoints, ok := s.types[EndpointType]
	started := ok && endpoints.started
	if !started && !s.types[ClusterType].reconnected {
		return
	}
	set := s.view.set(EndpointType)
	for _, r := range clusters {
		var c clusterv3.Cluster
		if err := proto.Unmarshal(r.Body.GetValue(), &c); err != nil || c.GetType() != clusterv3.Cluster_EDS {
			continue
		}
		name := c.GetEdsClusterConfig().GetServiceName()
		if name == "" {
			name = c.GetName()
		}
		switch {
		case set.get(name) == nil:
		case !started:
			if s.warming == nil {
				s.warming = map[string]struct{}{}
			}
			s.warming[name] = struct{}{}
		case endpoints.wants(name):
			endpoints.owed[name] = struct{}{}
		}
	}
}

// overflow reports whether the client has let more responses go unanswered than any sane one does.
func (s *session) overflow() bool {
	for _, u := range s.types {
		if len(u.flights) > maxFlights {
			return true
		}
	}
	return len(s.types) > maxTypes
}

// sortedKeys of a set of names.
func sortedKeys(m map[string]struct{}) []string { return slices.Sorted(maps.Keys(m)) }
