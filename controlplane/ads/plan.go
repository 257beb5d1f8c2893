package ads

import (
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/anypb"
)

// plan collects the responses of one call of session.next.
type plan struct {
	s         *session
	now       time.Time
	until     time.Time
	responses []response
	// held: a type's changes wait for its own response in flight.
	held bool
}

// complete: a state-of-the-world response of these types means the absence of what it leaves out.
func complete(url string) bool { return url == ClusterType || url == ListenerType }

// wait reports whether a response of the types is in flight and may still be waited for.
func (p *plan) wait(urls ...string) bool {
	waiting := false
	for _, url := range urls {
		t := p.s.types[url].pending(p.s.gate)
		if t.After(p.now) {
			waiting = true
			p.at(t)
		}
	}
	return waiting
}

// inFlight reports whether requests may still run that took their route before it changed: one that waits for its Check looks its
// cluster up only afterwards, and gets 503 where that is gone.
func (p *plan) inFlight() bool {
	if p.s.calm.IsZero() {
		p.s.calm = p.now
	}
	due := p.s.calm.Add(p.s.grace)
	if !due.After(p.now) {
		return false
	}
	p.at(due)
	return true
}

func (p *plan) at(t time.Time) {
	if p.until.IsZero() || t.Before(p.until) {
		p.until = t
	}
}

// change sends what is new of a type, and what is owed. Removals are left to remove, except those of listeners: Envoy applies them
// before the additions of the same response, so that one listener may take the address of another.
func (p *plan) change(url string) {
	u, ok := p.s.types[url]
	if !ok || !u.started {
		return
	}
	set := p.s.view.set(url)
	must := len(u.owed) > 0 || u.answer
	if !must && u.planned == set.version {
		return
	}
	quiet := p.quiet(u, set)
	if quiet && !must {
		return
	}
	changed := p.changed(u, set, quiet)
	var removed []string
	for _, name := range sortedKeys(u.owed) {
		if set.get(name) == nil {
			removed = append(removed, name)
		}
	}
	if url == ListenerType && !quiet {
		removed = union(removed, u.vanished(set))
	}
	if len(changed) == 0 && len(removed) == 0 && !u.answer {
		return
	}
	if !must && p.wait(url) {
		// One response at a time: a slow client gets the latest state, not every state.
		p.held = true
		return
	}
	if url == ClusterType {
		p.s.force(changed)
	}
	p.send(u, part{changed: changed, removed: removed, quiet: quiet})
	clear(u.owed)
	u.answer = false
}

// quiet reports whether the content is what the client refused. If it is not any more, all that it was told is forgotten: what it
// took of the refused response is not known.
func (p *plan) quiet(u *subscription, set *set) bool {
	if !u.refused {
		return false
	}
	if u.content(set) == u.parked {
		return true
	}
	u.refused, u.parked = false, ""
	for name, e := range u.entries {
		switch {
		case set.get(name) != nil:
			u.owed[name] = struct{}{}
		case e.version != e.acked:
			e.version, e.body = unsure, nil
			u.entries[name] = e
		}
	}
	return false
}

func (p *plan) changed(u *subscription, set *set, quiet bool) []*Resource {
	var changed []*Resource
	for _, r := range u.wanted(set) {
		e, known := u.entries[r.Name]
		_, owed := u.owed[r.Name]
		if owed || (!quiet && (!known || e.version != r.Version)) {
			changed = append(changed, r)
		}
	}
	return changed
}

// vanished are the names that the client has and the set has not, sorted.
func (u *subscription) vanished(set *set) []string {
	var names []string
	for name, e := range u.entries {
		if e.version != "" && set.get(name) == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// removals reports whether anything is left to remove.
func (p *plan) removals() bool {
	for _, url := range []string{ClusterType, EndpointType, RouteType} {
		if u, ok := p.s.types[url]; ok && u.planned != p.s.view.set(url).version && len(u.vanished(p.s.view.set(url))) > 0 {
			return true
		}
	}
	return false
}

// remove tells what is gone.
func (p *plan) remove(url string) {
	u, ok := p.s.types[url]
	if !ok || !u.started {
		return
	}
	set := p.s.view.set(url)
	if u.planned == set.version || p.quiet(u, set) {
		return
	}
	names := u.vanished(set)
	if len(names) == 0 {
		return
	}
	if !p.s.delta && !complete(url) {
		// State-of-the-world has no words for it: the client unsubscribes when nothing refers to the name any more.
		for _, name := range names {
			u.entries[name] = entry{held: true}
		}
		return
	}
	p.send(u, part{removed: names})
}

// done notes that nothing is left to send for the content of today.
func (p *plan) done() {
	if p.held {
		return
	}
	for url, u := range p.s.types {
		if u.started {
			u.planned = p.s.view.set(url).version
		}
	}
}

// part is what one step sends of a type. quiet: what the client refused stays out.
type part struct {
	changed []*Resource
	removed []string
	quiet   bool
}

// send makes the responses and records them as told.
func (p *plan) send(u *subscription, t part) {
	set := p.s.view.set(u.url)
	base := response{typeURL: u.url, content: u.content(set), view: set.version}
	if !p.s.delta {
		p.sendWorld(u, base, t)
		return
	}
	base.version = set.version
	for changed := t.changed; ; {
		r := base
		n := p.fit(changed)
		r.resources, changed = changed[:n], changed[n:]
		if len(changed) == 0 {
			r.removed = t.removed
		}
		r.tell(r.removed)
		p.record(u, r)
		if len(changed) == 0 {
			return
		}
	}
}

// sendWorld sends all that is wanted: a later acknowledgement then covers every earlier response. Clusters that are gone go along
// until it is their turn to be removed.
func (p *plan) sendWorld(u *subscription, r response, t part) {
	set := p.s.view.set(u.url)
	r.resources = u.wanted(set)
	if t.quiet && !complete(u.url) {
		r.resources = t.changed
	}
	if u.url == ClusterType {
		for _, name := range u.vanished(set) {
			if e := u.entries[name]; !slices.Contains(t.removed, name) && e.body != nil {
				r.resources = append(r.resources, &Resource{Name: name, TypeURL: u.url, Version: e.version, Body: e.body})
			}
		}
		slices.SortFunc(r.resources, byName)
	}
	r.tell(t.removed)
	if len(r.resources) == 0 && !complete(u.url) {
		// Nothing can be said of names that do not exist; they are remembered.
		p.note(u, r)
		return
	}
	r.version = contentVersion(r.resources)
	p.record(u, r)
}

// tell lists what the client knows once it took r.
func (r *response) tell(removed []string) {
	r.told = make([]told, 0, len(r.resources)+len(removed))
	for _, res := range r.resources {
		r.told = append(r.told, told{name: res.Name, version: res.Version})
	}
	for _, name := range removed {
		r.told = append(r.told, told{name: name})
	}
}

// fit is how many of the resources go into one message, at least one if there is any.
func (p *plan) fit(resources []*Resource) int {
	size := 0
	for i, r := range resources {
		size += len(r.Name) + len(r.Version) + len(r.TypeURL) + len(r.Body.GetValue()) + 32
		if i > 0 && size > p.s.maxBytes {
			return i
		}
	}
	return len(resources)
}

func (p *plan) record(u *subscription, r response) {
	r.nonce = p.s.nonce()
	p.note(u, r)
	u.flights = append(u.flights, flight{nonce: r.nonce, content: r.content, view: r.view, sent: p.now, told: r.told})
	p.responses = append(p.responses, r)
}

// note records what the client is told.
func (p *plan) note(u *subscription, r response) {
	u.planned = "" // until done: today's content may be replaced by that of before while this is in flight
	for _, t := range r.told {
		e := u.entries[t.name]
		e.version, e.body = t.version, nil
		e.held = e.held || t.version != ""
		u.entries[t.name] = e
	}
	for _, res := range r.resources {
		e := u.entries[res.Name]
		e.body = p.s.keep(res)
		u.entries[res.Name] = e
	}
}

// keep is the body that a session has to remember, if any.
func (s *session) keep(r *Resource) *anypb.Any {
	if s.delta || r.TypeURL != ClusterType {
		return nil
	}
	return r.Body
}

func byName(a, b *Resource) int {
	if a.Name < b.Name {
		return -1
	}
	return 1
}

func union(a, b []string) []string {
	all := map[string]struct{}{}
	for _, names := range [][]string{a, b} {
		for _, name := range names {
			all[name] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(all))
}
