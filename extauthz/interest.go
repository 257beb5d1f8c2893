package extauthz

import (
	"slices"
	"strings"

	"github.com/credence-mesh/credence/extauthz/txntoken"
	"github.com/credence-mesh/credence/policy/decide"
)

// interest says what of a request some route of the Set looks at, beside what all of them do. It is immutable.
type interest struct {
	// everything: all headers.
	everything bool
	// address: the one of the caller.
	address bool
	// names of headers in lower case, sorted, and the set of their lengths: most headers are told by that.
	names   []string
	lengths uint64
	// text is what a decoder notes in the request: the names with commas around, "*" for everything, "@" for the address.
	text string
}

// interestKey of context_extensions holds interest.text in requests that a lean decoder has decoded. What a proxy sends under it is dropped.
const interestKey = "\x00interest"

// nothingMore is the interest in what every Check looks at.
var nothingMore = newInterest(nil, false, false)

func newInterest(names []string, everything, address bool) *interest {
	slices.Sort(names)
	in := &interest{everything: everything, address: address, names: slices.Compact(names)}
	in.text = ","
	for _, n := range in.names {
		in.lengths |= 1 << min(len(n), 63)
		in.text += n + ","
	}
	if everything {
		in.text += "*,"
	}
	if address {
		in.text += "@,"
	}
	return in
}

// interestOf is what the routes of next read, and of old, whose requests may be on their way; nil: there was none.
func interestOf(next *decide.Index, old *state, address bool) *interest {
	var names []string
	everything := false
	add := func(r *decide.Route) {
		a := r.Accepts()
		everything = everything || r.ReadsHeaders()
		for i := range a.HeaderKeys {
			names = append(names, a.HeaderKeys[i].Name)
		}
		if a.Internal {
			names = append(names, txntoken.Header)
		}
		names = append(names, claimHeaders(r)...)
	}
	for r := range next.Routes() {
		add(r)
	}
	if old != nil {
		for r := range old.index.Routes() {
			add(r)
		}
		for _, r := range old.retired {
			add(r.route)
		}
	}
	return newInterest(names, everything, address || everything || old != nil && old.mints)
}

// claimHeaders are those that a gateway's route has for claims. A sidecar's are its own affair: what comes there may be the gateway's word.
func claimHeaders(r *decide.Route) []string {
	up := r.Upstream()
	if up == nil || !r.Proxy().IsGateway() {
		return nil
	}
	names := make([]string, len(up.Headers))
	for i := range up.Headers {
		names[i] = up.Headers[i].Name
	}
	return names
}

// and is what in and other want together.
func (in *interest) and(other *interest) *interest {
	if other == nil {
		return in
	}
	return newInterest(slices.Concat(in.names, other.names), in.everything || other.everything, in.address || other.address)
}

// wants tells whether a header is looked at.
func (in *interest) wants(key string) bool {
	if in.everything {
		return true
	}
	if in.lengths&(1<<min(len(key), 63)) == 0 {
		return false
	}
	for _, n := range in.names {
		if strings.EqualFold(n, key) {
			return true
		}
	}
	return false
}

// covered tells whether a request that was decoded with that note has all that in wants. Without a note it was decoded as a whole.
func (in *interest) covered(note string) bool {
	if note == "" || note == in.text {
		return true
	}
	has := func(name string) bool { return strings.Contains(note, ","+name+",") }
	if in.address && !has("@") || in.everything && !has("*") {
		return false
	}
	return has("*") || !slices.ContainsFunc(in.names, func(n string) bool { return !has(n) })
}
