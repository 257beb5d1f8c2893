package decide

import (
	"slices"
	"strings"
	"time"

	"github.com/credence-mesh/credence/policy"
)

// authLeeway is how far an auth_time may be ahead of this clock.
const authLeeway = time.Minute

// hasNames tells whether have, sorted, has all of allOf, and one of anyOf unless that is empty.
func hasNames(have, allOf, anyOf []string) bool {
	holds := func(name string) bool {
		_, ok := slices.BinarySearch(have, name)
		return ok
	}
	for _, n := range allOf {
		if !holds(n) {
			return false
		}
	}
	return len(anyOf) == 0 || slices.ContainsFunc(anyOf, holds)
}

// missingNames of allOf; where no alternative of anyOf is there, the first of them stands for all.
func missingNames(have, allOf, anyOf []string) []string {
	var out []string
	for _, n := range allOf {
		if !slices.Contains(have, n) {
			out = append(out, n)
		}
	}
	if !hasNames(have, nil, anyOf) && !slices.Contains(out, anyOf[0]) {
		out = append(out, anyOf[0])
	}
	return out
}

func (c *compiled) hasRoles(u *User) bool { return hasNames(u.Roles, c.rule.AllRoles, c.rule.AnyRoles) }

func (c *compiled) hasGroups(u *User) bool {
	return hasNames(u.Groups, c.rule.AllGroups, c.rule.AnyGroups)
}

func (c *compiled) hasACR(u *User) bool {
	return len(c.rule.ACR) == 0 || u.ACR != "" && slices.Contains(c.rule.ACR, u.ACR)
}

// isFresh tells whether the user signed in no longer ago than MaxAge. A time that is not known, or is not yet, is none.
func (c *compiled) isFresh(u *User, now time.Time) bool {
	if c.rule.MaxAge == 0 {
		return true
	}
	age := now.Sub(u.AuthTime)
	return !u.AuthTime.IsZero() && !now.IsZero() && age <= c.rule.MaxAge && age >= -authLeeway
}

// signedIn tells whether the user's sign-in is as strong and as fresh as the rule wants.
func (c *compiled) signedIn(f *Facts) bool { return c.hasACR(f.User) && c.isFresh(f.User, f.Now) }

// matchesHeaders compares all of them. What a deny rule looks for is found in any line and in any of its parts, and under names that some
// server takes for the same; an allow rule believes
// only a header of one line, as a whole: what two readers could read in two ways allows nothing.
func matchesHeaders(want []policy.HeaderMatch, f *Facts, deny bool) bool {
	for i := range want {
		if !matchesHeader(&want[i], f, deny) {
			return false
		}
	}
	return true
}

func matchesHeader(want *policy.HeaderMatch, f *Facts, deny bool) bool {
	lines, found := 0, false
	for i := range f.Headers {
		h := &f.Headers[i]
		if h.Name != want.Name && (!deny || !passesFor(h.Name, want.Name)) {
			continue
		}
		lines++
		found = found || want.Present || slices.Contains(want.AnyOf, h.Value) || deny && hasPart(h.Value, want.AnyOf)
	}
	return found && (deny || lines == 1)
}

// passesFor tells whether some server reads one name as the other: to CGI and its heirs each odd character is a "-" (where the
// gateway's settings keep such names).
func passesFor(sent, name string) bool {
	if len(sent) != len(name) {
		return false
	}
	for i := range len(sent) {
		c := sent[i]
		if c != name[i] && (name[i] != '-' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9') {
			return false
		}
	}
	return true
}

// hasPart tells whether one of the values is a part of a list (RFC 9110 §5.6.1).
func hasPart(line string, values []string) bool {
	for part := range strings.SplitSeq(line, ",") {
		if slices.Contains(values, strings.Trim(part, " \t")) {
			return true
		}
	}
	return false
}
