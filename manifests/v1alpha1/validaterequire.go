package v1alpha1

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	maxAgeLimit  = 365 * 24 * time.Hour
	maxCondition = 4096
	maxListed    = 16
	maxNames     = 4096
)

// furtherRequire checks what a rule asks for beside scopes, claims and principal.
func (c *checker) furtherRequire(at, action string, r *RuleRequirement) {
	c.names(at+".roles", r.Roles)
	c.names(at+".groups", r.Groups)
	for i, acr := range r.ACR {
		if !scopeToken.MatchString(acr) {
			c.fail(index(at+".acr", i), "invalid-value", fmt.Sprintf("%q is not one authentication context", acr), "acr values have no spaces and no quotes (RFC 9470 3)")
		} else if slices.Contains(r.ACR[:i], acr) {
			c.fail(index(at+".acr", i), "duplicate-value", acr+" is given twice", "")
		}
	}
	c.duration(at+".maxAge", r.MaxAge, time.Second, maxAgeLimit)
	if r.MaxAge != nil && action == ActionDeny {
		c.fail(at+".maxAge", "unsupported-value", "a deny rule with maxAge would deny those who have just signed in", "write it in the allow rule: it holds for nobody else")
	}
	if len(r.Condition) > maxCondition {
		c.fail(at+".condition", "out-of-range", fmt.Sprintf("the condition has %d bytes, at most %d are taken", len(r.Condition), maxCondition), "divide it into several rules")
	}
}

func (c *checker) names(at string, n *NameRequirement) {
	if n == nil {
		return
	}
	if len(n.AllOf)+len(n.AnyOf) == 0 {
		c.fail(at, "empty-value", "nothing is required", "add allOf or anyOf")
	}
	for i, s := range n.AllOf {
		c.required(index(at+".allOf", i), s)
	}
	for i, s := range n.AnyOf {
		c.required(index(at+".anyOf", i), s)
	}
}

// onlyCondition tells whether nothing but a condition is required, which may be about the request alone.
func (r *RuleRequirement) onlyCondition() bool {
	return r.Condition != "" && r.Scopes == nil && len(r.Claims) == 0 && r.Principal == "" && r.Roles == nil && r.Groups == nil &&
		len(r.ACR) == 0 && r.MaxAge == nil
}

// empty tells whether nothing is required.
func (r *RuleRequirement) empty() bool {
	return r.Condition == "" && r.Scopes == nil && len(r.Claims) == 0 && r.Principal == "" && r.Roles == nil && r.Groups == nil &&
		len(r.ACR) == 0 && r.MaxAge == nil
}

// RuleHeader tells whether rules may compare the header of that name, in lower case: not what holds a credential, which no rule sees, nor
// what proxies make of a request.
func RuleHeader(name string) bool {
	if !methodToken.MatchString(name) || strings.HasPrefix(name, "x-credence-") || strings.HasPrefix(name, "x-envoy-") {
		return false
	}
	return !slices.Contains([]string{"authorization", "proxy-authorization", "dpop", "txn-token", "host", "connection", "transfer-encoding", "content-length"}, name)
}

func (c *checker) headers(at string, headers []HeaderRequirement) {
	for i := range headers {
		h, p := &headers[i], index(at, i)
		if c.required(p+".name", h.Name) && !RuleHeader(strings.ToLower(h.Name)) {
			c.fail(p+".name", "unsupported-value", fmt.Sprintf("rules can't compare the header %q", h.Name), "credentials and what proxies set are seen by no rule; hosts has a field of its own")
		}
		if h.Present == (len(h.AnyOf) > 0) {
			c.fail(p, "one-of", "a header has one of anyOf, or is present", "set exactly one of anyOf and present: true")
		}
		for j, v := range h.AnyOf {
			if v != strings.Trim(v, " \t") || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				c.fail(index(p+".anyOf", j), "invalid-value", fmt.Sprintf("no header has the value %q", v), "values have no blanks at their ends and no control characters")
			}
		}
	}
}

// listing checks where roles or groups are.
func (c *checker) listing(at string, l *Listing) {
	if l == nil {
		return
	}
	if len(l.From) == 0 {
		c.fail(at+".from", "required", "at least one claim is needed", "for example [/realm_access/roles]")
	}
	if len(l.From) > maxListed {
		c.fail(at+".from", "out-of-range", fmt.Sprintf("%d claims, at most %d are taken", len(l.From), maxListed), "")
	}
	for i, p := range l.From {
		if c.required(index(at+".from", i), p) {
			c.pointer(index(at+".from", i), &ClaimRequirement{Pointer: p})
		}
	}
	if len(l.Names) > maxNames {
		c.fail(at+".names", "out-of-range", fmt.Sprintf("%d names, at most %d are taken", len(l.Names), maxNames), "")
	}
	for name, ours := range l.Names {
		if name == "" || ours == "" {
			c.fail(at+".names", "empty-value", "a name is empty", "")
		}
	}
}

// variableProblem says what is wrong with the variables of a path pattern; empty: nothing.
func variableProblem(body string) (problem, hint string) {
	seen := map[string]bool{}
	for s := range strings.SplitSeq(body, "/") {
		if !strings.ContainsAny(s, "{}") {
			continue
		}
		name, opened := strings.CutPrefix(s, "{")
		name, closed := strings.CutSuffix(name, "}")
		switch {
		case !opened || !closed || !variable.MatchString(name):
			return `has a segment "` + s + `" that is neither text nor a variable`, `a variable is a whole segment, "/a/{id}", of letters, digits and "_"`
		case seen[name]:
			return "has the variable {" + name + "} twice", "give each its own name"
		}
		seen[name] = true
	}
	return "", ""
}
