package decide

import (
	"slices"
	"strings"

	"github.com/credence-mesh/credence/policy"
)

// dimension is one thing by which rules are told apart without looking at each. Order matters: what the operation is, then who calls,
// then who the user is; an explanation follows the first and ignores the last.
type dimension int

const (
	byPath dimension = iota
	byHost
	byMethod
	byPeer
	byScope
	byClaim
	undivided
)

// fewRules are looked at one by one: that is cheaper than any map.
const fewRules = 8

// bucket holds rules, divided along one dimension. What a lookup yields is a superset of what matches: every candidate is compared in
// full afterwards, so the index can make a decision slow or fast but never wrong.
type bucket struct {
	// all rules at or below, ascending: indexes into level.rules.
	all []int32
	dim dimension
	// path with byPath.
	path *trie
	// exact by whole value; under by what follows "*." (hosts) or by prefix (peers).
	exact, under map[string]*bucket
	claims       []claimValues
	// rest are the rules that do not care about dim, divided further.
	rest *bucket
}

type claimValues struct {
	path   []string
	values map[string]*bucket
}

// trie of path segments.
type trie struct {
	children map[string]*trie
	// any is where one segment of whatever text leads.
	any         *trie
	exactIDs    []int32
	prefixIDs   []int32
	exact, tree *bucket
}

type key struct {
	// under: see bucket.under. For paths: prefix.
	under bool
	value string
	path  []string
	// variables of a path: see policy.PathPattern.
	variables []string
}

// keysOf are the values along d of which a matching request has one; none: the rule does not care.
func keysOf(c *compiled, d dimension) []key {
	switch d {
	case byPath:
		return operationKeys(c, func(op *policy.Operation) []key {
			var keys []key
			for _, p := range op.Paths {
				keys = append(keys, key{path: p.Segments, variables: p.Variables, under: p.Prefix})
			}
			return keys
		})
	case byHost:
		return operationKeys(c, func(op *policy.Operation) []key {
			var keys []key
			for _, h := range op.Hosts {
				suffix, under := strings.CutPrefix(h, "*.")
				if !under && strings.HasPrefix(h, "*") {
					return nil // no whole labels to look up
				}
				keys = append(keys, key{value: suffix, under: under})
			}
			return keys
		})
	case byMethod:
		return operationKeys(c, func(op *policy.Operation) []key { return exactKeys(op.Methods) })
	case byPeer:
		var keys []key
		for _, p := range c.rule.From {
			keys = append(keys, key{value: p.ID})
			if p.Prefix {
				keys = append(keys, key{value: p.ID, under: true})
			}
		}
		return keys
	case byScope:
		if len(c.rule.AllScopes) > 0 {
			return exactKeys(c.rule.AllScopes[len(c.rule.AllScopes)-1:])
		}
		return exactKeys(c.rule.AnyScopes)
	case byClaim:
		if len(c.rule.Claims) == 0 {
			return nil
		}
		var keys []key
		for _, v := range c.rule.Claims[0].AnyOf {
			for _, k := range claimKeys(v) {
				keys = append(keys, key{value: k, path: c.rule.Claims[0].Path})
			}
		}
		return keys
	case undivided:
		return nil
	}
	return nil
}

// operationKeys joins the keys of every operation; one that does not care makes the rule not care.
func operationKeys(c *compiled, of func(*policy.Operation) []key) []key {
	var keys []key
	for i := range c.rule.To {
		k := of(&c.rule.To[i])
		if len(k) == 0 {
			return nil
		}
		keys = append(keys, k...)
	}
	return keys
}

func exactKeys(values []string) []key {
	var keys []key
	for _, v := range values {
		keys = append(keys, key{value: v})
	}
	return keys
}

// divide builds the bucket of ids along d and what follows d.
func divide(rules []compiled, ids []int32, d dimension) *bucket {
	if len(ids) == 0 {
		return nil
	}
	if len(ids) <= fewRules || d >= undivided {
		return &bucket{all: ids, dim: undivided}
	}
	var rest []int32
	split := &splitter{rules: rules, dim: d}
	for _, id := range ids {
		keys := keysOf(&rules[id], d)
		if len(keys) == 0 {
			rest = append(rest, id)
			continue
		}
		for _, k := range keys {
			split.add(k, id)
		}
	}
	if len(rest) == len(ids) {
		return divide(rules, ids, d+1)
	}
	b := split.bucket()
	b.all, b.dim, b.rest = ids, d, divide(rules, rest, d+1)
	return b
}

// splitter collects the rules per key.
type splitter struct {
	rules        []compiled
	dim          dimension
	root         *trie
	exact, under map[string][]int32
	claims       []claimIDs
}

type claimIDs struct {
	path   []string
	values map[string][]int32
}

func (s *splitter) add(k key, id int32) {
	switch s.dim {
	case byPath:
		if s.root == nil {
			s.root = &trie{}
		}
		s.root.add(k, id)
	case byClaim:
		i := slices.IndexFunc(s.claims, func(c claimIDs) bool { return slices.Equal(c.path, k.path) })
		if i < 0 {
			i = len(s.claims)
			s.claims = append(s.claims, claimIDs{path: k.path, values: map[string][]int32{}})
		}
		s.claims[i].values[k.value] = appendOnce(s.claims[i].values[k.value], id)
	case byHost, byMethod, byPeer, byScope, undivided:
		m := &s.exact
		if k.under {
			m = &s.under
		}
		if *m == nil {
			*m = map[string][]int32{}
		}
		(*m)[k.value] = appendOnce((*m)[k.value], id)
	}
}

func appendOnce(ids []int32, id int32) []int32 {
	if n := len(ids); n > 0 && ids[n-1] == id {
		return ids
	}
	return append(ids, id)
}

func (s *splitter) bucket() *bucket {
	b := &bucket{exact: s.divideAll(s.exact), under: s.divideAll(s.under), path: s.root}
	s.root.divide(s.rules)
	for _, c := range s.claims {
		b.claims = append(b.claims, claimValues{path: c.path, values: s.divideAll(c.values)})
	}
	return b
}

func (s *splitter) divideAll(m map[string][]int32) map[string]*bucket {
	if m == nil {
		return nil
	}
	out := make(map[string]*bucket, len(m))
	for k, ids := range m {
		out[k] = divide(s.rules, ids, s.dim+1)
	}
	return out
}

func (t *trie) add(k key, id int32) {
	for i, segment := range k.path {
		if i < len(k.variables) && k.variables[i] != "" {
			if t.any == nil {
				t.any = &trie{}
			}
			t = t.any
			continue
		}
		next := t.children[segment]
		if next == nil {
			if t.children == nil {
				t.children = map[string]*trie{}
			}
			next = &trie{}
			t.children[segment] = next
		}
		t = next
	}
	if k.under {
		t.prefixIDs = appendOnce(t.prefixIDs, id)
	} else {
		t.exactIDs = appendOnce(t.exactIDs, id)
	}
}

func (t *trie) divide(rules []compiled) {
	if t == nil {
		return
	}
	t.exact, t.tree = divide(rules, t.exactIDs, byPath+1), divide(rules, t.prefixIDs, byPath+1)
	t.exactIDs, t.prefixIDs = nil, nil
	for _, child := range t.children {
		child.divide(rules)
	}
	t.any.divide(rules)
}
