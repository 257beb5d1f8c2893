package ads

import (
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/anypb"
)

// wildcard is the name that subscribes to everything of a type.
const wildcard = "*"

// unsure is the version of a resource of which the client may have anything or nothing: it is neither that of any body nor of none.
const unsure = "?"

// subscription is the state of one type on one stream: what the client asked for, what it was told, what it acknowledged.
type subscription struct {
	url string
	// started: the first request of the type was seen.
	started bool
	// everything: the wildcard is on, by name or because the first request of a cluster or listener subscription named nothing.
	everything bool
	// named: some request named something; from then on an empty state-of-the-world list means nothing.
	named bool
	names map[string]struct{}
	// entries hold what the client was told, by name.
	entries map[string]entry
	// owed names are answered even when the client already has them.
	owed map[string]struct{}
	// answer: a response is owed even if it is empty.
	answer bool
	// claimed is the version that a reconnecting state-of-the-world client says it has. reconnected: the client said that it has
	// something; resumed: that is still to be compared with the view.
	claimed     string
	resumed     bool
	reconnected bool
	flights     []flight
	// refused: a response was refused, and what the client now runs is not known. Nothing but owed answers is sent as long as the
	// content is that of parked.
	refused bool
	parked  string
	// planned is the version of the View's set for which nothing is left to send.
	planned string
}

// entry is what a client was told of one resource.
type entry struct {
	// version last told; empty: that it does not exist.
	version string
	// acked is the version last acknowledged.
	acked string
	// body of version; only the clusters of state-of-the-world streams keep it, to repeat one whose removal has to wait.
	body *anypb.Any
	// held: the client had a body at some time. Envoy acknowledges the removal of a route configuration and goes on using it until
	// it unsubscribes.
	held bool
}

// flight is a response that was neither acknowledged nor refused yet.
type flight struct {
	nonce string
	// content is the version of all that was wanted when it was sent; view that of the whole type.
	content string
	view    string
	sent    time.Time
	told    []told
}

type told struct{ name, version string }

func newSubscription(url string) *subscription {
	return &subscription{url: url, names: map[string]struct{}{}, entries: map[string]entry{}, owed: map[string]struct{}{}}
}

// wildcardByDefault: an empty first request of these types means everything.
func wildcardByDefault(url string) bool { return url == ClusterType || url == ListenerType }

// delta applies the subscription part of a delta request. Nonces have no say in it.
func (u *subscription) delta(r request) {
	first := !u.started
	u.started = true
	if first {
		u.resumed = len(r.initial) > 0
		u.reconnected = u.resumed
		for name, version := range r.initial {
			u.entries[name] = entry{version: version, acked: version, held: true}
		}
		if len(r.subscribe) == 0 && wildcardByDefault(u.url) {
			u.everything, u.answer = true, !u.resumed
		}
	}
	for _, name := range r.unsubscribe {
		u.drop(name)
	}
	for _, name := range r.subscribe {
		u.add(name, first)
	}
	if first && !u.everything {
		maps.DeleteFunc(u.entries, func(name string, _ entry) bool { return !u.wants(name) })
	}
	if first || len(r.subscribe)+len(r.unsubscribe) > 0 {
		u.planned = ""
	}
}

func (u *subscription) drop(name string) {
	if name == wildcard {
		u.everything = false
		maps.DeleteFunc(u.entries, func(name string, _ entry) bool { return !u.wants(name) })
		return
	}
	delete(u.names, name)
	if u.everything {
		// The client forgot it, but the wildcard still covers it.
		u.owed[name] = struct{}{}
		return
	}
	delete(u.entries, name)
	delete(u.owed, name)
}

func (u *subscription) add(name string, first bool) {
	if name == wildcard {
		u.everything = true
		u.answer = !first || !u.resumed
		if !first {
			// A repeated subscription is answered with all of it.
			for name := range u.entries {
				u.owed[name] = struct{}{}
			}
		}
		return
	}
	u.names[name] = struct{}{}
	if _, has := u.entries[name]; !first || !has {
		u.owed[name] = struct{}{}
	}
}

// world applies the subscription part of a state-of-the-world request: names is the whole list each time, so that even a request
// with an old nonce is right about it.
func (u *subscription) world(r request) {
	first := !u.started
	u.started = true
	if first {
		u.claimed, u.resumed = r.version, r.version != ""
		u.reconnected = u.resumed
	}
	was := u.everything
	u.named = u.named || len(r.subscribe) > 0
	u.everything = slices.Contains(r.subscribe, wildcard) || (!u.named && wildcardByDefault(u.url))
	names := make(map[string]struct{}, len(r.subscribe))
	for _, name := range r.subscribe {
		if name == wildcard {
			continue
		}
		names[name] = struct{}{}
		if _, has := u.names[name]; !has {
			u.owed[name] = struct{}{}
			u.planned = ""
		}
	}
	u.names = names
	if u.everything && !was {
		u.answer, u.planned = true, ""
	}
	if !u.everything {
		maps.DeleteFunc(u.entries, func(name string, _ entry) bool { return !u.wants(name) })
		maps.DeleteFunc(u.owed, func(name string, _ struct{}) bool { return !u.wants(name) })
	}
}

func (u *subscription) wants(name string) bool {
	_, ok := u.names[name]
	return ok || u.everything
}

// wanted are the resources of s that the client subscribed to, sorted by name.
func (u *subscription) wanted(s *set) []*Resource {
	if u.everything {
		return s.all()
	}
	found := make([]*Resource, 0, len(u.names))
	for _, name := range slices.Sorted(maps.Keys(u.names)) {
		if r := s.get(name); r != nil {
			found = append(found, r)
		}
	}
	return found
}

// content is the version of what the client should have of s.
func (u *subscription) content(s *set) string {
	if u.everything {
		return s.version
	}
	return contentVersion(u.wanted(s))
}

// take ends the flight with the nonce. A state-of-the-world client answers only for the newest response, which holds all that the
// older ones held.
func (u *subscription) take(nonce string, delta bool) (flight, bool) {
	if nonce == "" {
		return flight{}, false
	}
	i := slices.IndexFunc(u.flights, func(f flight) bool { return f.nonce == nonce })
	if i < 0 || (!delta && i != len(u.flights)-1) {
		return flight{}, false
	}
	f := u.flights[i]
	if delta {
		u.flights = slices.Delete(u.flights, i, i+1)
	} else {
		u.flights = nil
	}
	return f, true
}

// ack notes that the client runs what f told.
func (u *subscription) ack(f flight) {
	for _, t := range f.told {
		e, ok := u.entries[t.name]
		if !ok {
			continue
		}
		e.acked = t.version
		u.entries[t.name] = e
		if _, byName := u.names[t.name]; t.version == "" && e.version == "" && !byName {
			delete(u.entries, t.name)
		}
	}
}

// refuse notes that the client did not take all of f, and returns the names, sorted, that it had not acknowledged before: one of
// them is to blame.
func (u *subscription) refuse(f flight) []string {
	u.refused, u.parked, u.planned = true, f.content, ""
	var changed, all []string
	for _, t := range f.told {
		all = append(all, t.name)
		if e := u.entries[t.name]; e.acked != t.version {
			changed = append(changed, t.name)
		}
	}
	slices.Sort(all)
	slices.Sort(changed)
	if len(changed) == 0 {
		return all
	}
	return changed
}

// pending is until when a response in flight holds back what must follow it; zero: nothing does.
func (u *subscription) pending(gate time.Duration) time.Time {
	if u == nil || len(u.flights) == 0 {
		return time.Time{}
	}
	return u.flights[len(u.flights)-1].sent.Add(gate)
}

// settled: the client acknowledged everything of s that concerns it, and may have nothing else.
func (u *subscription) settled(s *set) bool {
	if len(u.flights) > 0 || u.refused || len(u.owed) > 0 || u.answer {
		return false
	}
	for i := range s.resources {
		r := &s.resources[i]
		if !u.wants(r.Name) {
			// A route configuration in the view is named by one of its listeners: the subscription is still to come.
			if u.url == RouteType {
				return false
			}
			continue
		}
		if e := u.entries[r.Name]; e.version != r.Version || e.acked != r.Version {
			return false
		}
	}
	for name, e := range u.entries {
		if s.get(name) != nil {
			continue
		}
		if e.version != "" || e.acked != "" {
			return false
		}
		if _, byName := u.names[name]; byName && e.held && u.url == RouteType {
			return false
		}
	}
	return true
}
