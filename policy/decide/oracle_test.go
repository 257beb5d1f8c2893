package decide_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// naive decides by reading the rules one after the other, straight from the words of the design.
type naive struct {
	policies map[policy.Name]policy.Policy
}

type verdict struct {
	allowed bool
	reason  decide.Reason
	level   policy.LevelKind
	// rules that may be named: policy and rule.
	rules []string
	// missing is how many scopes a refusal for scopes may name.
	missing int
}

func (n naive) decide(a policy.Access, f *decide.Facts) verdict {
	switch {
	case a.Denied != "":
		return verdict{reason: decide.TargetDenied}
	case len(a.Levels) == 0:
		return verdict{reason: decide.NoPolicy}
	}
	for _, l := range a.Levels {
		for _, name := range l.Policies {
			if len(n.policies[name].MissingIssuers) > 0 {
				return verdict{reason: decide.IssuerMissing, level: l.Kind}
			}
			if len(n.policies[name].MissingCredentials) > 0 {
				return verdict{reason: decide.CredentialsMissing, level: l.Kind}
			}
		}
	}
	for _, l := range a.Levels {
		if hits := n.matching(l, policy.Deny, f); len(hits) > 0 {
			return verdict{reason: decide.DeniedByRule, level: l.Kind, rules: hits}
		}
	}
	var hits []string
	for _, l := range a.Levels {
		if hits = n.matching(l, policy.Allow, f); len(hits) == 0 {
			return n.why(l, f)
		}
	}
	return verdict{allowed: true, reason: decide.Allowed, level: a.Levels[len(a.Levels)-1].Kind, rules: hits}
}

func (n naive) matching(l policy.Level, action policy.Action, f *decide.Facts) []string {
	var hits []string
	for _, name := range l.Policies {
		p := n.policies[name]
		for _, r := range p.Rules {
			if r.Action == action && !r.Audit && peerHolds(r, f) && userHolds(p, r, f) && wholeHolds(p, r, f) {
				hits = append(hits, name.String()+"/"+r.Name)
			}
		}
	}
	return hits
}

// wholeHolds tries the condition with what every path of every operation calls its variables.
func wholeHolds(p policy.Policy, r policy.Rule, f *decide.Facts) bool {
	if r.Condition == "" {
		return operationHolds(r, f)
	}
	if len(r.To) == 0 {
		return conditionHolds(p, r, f, nil)
	}
	for _, op := range r.To {
		paths := op.Paths
		if len(paths) == 0 {
			paths = []policy.PathPattern{{Prefix: true}}
		}
		for _, pattern := range paths {
			one := r
			one.To = []policy.Operation{op}
			one.To[0].Paths = []policy.PathPattern{pattern}
			if !operationHolds(one, f) {
				continue
			}
			params := map[string]string{}
			for i, name := range pattern.Variables {
				if name != "" {
					params[name] = f.Segments[i]
				}
			}
			if conditionHolds(p, r, f, params) {
				return true
			}
		}
	}
	return false
}

// celled are conditions, and what they mean: true, false, or an error, which is false to an allow rule and true to a deny rule.
var celled = map[string]func(u *decide.User, f *decide.Facts, params map[string]string) (holds, ok bool){
	`request.method == "GET"`: func(_ *decide.User, f *decide.Facts, _ map[string]string) (bool, bool) {
		return f.Method == "GET", true
	},
	`has(user.subject) && "admin" in user.roles`: func(u *decide.User, _ *decide.Facts, _ map[string]string) (bool, bool) {
		return u != nil && slices.Contains(u.Roles, "admin"), true
	},
	`user.claims.n == 1`: func(u *decide.User, _ *decide.Facts, _ map[string]string) (bool, bool) { return u != nil, u != nil },
	`request.params.x == "a"`: func(_ *decide.User, _ *decide.Facts, params map[string]string) (bool, bool) {
		x, ok := params["x"]
		return x == "a", ok
	},
	`request.headers["x-color"] == ["blue"]`: func(_ *decide.User, f *decide.Facts, _ map[string]string) (bool, bool) {
		var all []string
		for _, h := range f.Headers {
			if h.Name == "x-color" {
				all = append(all, h.Value)
			}
		}
		return len(all) == 1 && all[0] == "blue", len(all) > 0
	},
	`this is none`: func(*decide.User, *decide.Facts, map[string]string) (bool, bool) { return false, false },
}

func conditionHolds(p policy.Policy, r policy.Rule, f *decide.Facts, params map[string]string) bool {
	u := f.User
	if u != nil && !accepted(p, u) {
		u = nil
	}
	holds, ok := celled[r.Condition](u, f, params)
	if !ok {
		return r.Action == policy.Deny
	}
	return holds
}

func headersHold(op policy.Operation, deny bool, f *decide.Facts) bool {
	for _, want := range op.Headers {
		var lines, parts []string
		for _, h := range f.Headers {
			if h.Name == want.Name {
				lines = append(lines, h.Value)
				for _, p := range strings.Split(h.Value, ",") {
					parts = append(parts, strings.TrimSpace(p))
				}
			}
		}
		in := func(all []string) bool {
			return slices.ContainsFunc(all, func(v string) bool { return slices.Contains(want.AnyOf, v) })
		}
		there := want.Present && len(lines) > 0 || in(lines) || deny && in(parts)
		if !there || !deny && len(lines) != 1 {
			return false
		}
	}
	return true
}

func operationHolds(r policy.Rule, f *decide.Facts) bool {
	if len(r.To) == 0 {
		return true
	}
	path := "/" + strings.Join(f.Segments, "/")
	if f.Slash {
		path += "/"
	}
	for _, op := range r.To {
		if !headersHold(op, r.Action == policy.Deny, f) {
			continue
		}
		methods := len(op.Methods) == 0 || slices.Contains(op.Methods, f.Method)
		hosts := len(op.Hosts) == 0 || slices.ContainsFunc(op.Hosts, func(h string) bool {
			if strings.HasPrefix(h, "*.") {
				return strings.HasSuffix(f.Host, h[1:]) && f.Host != h[1:]
			}
			return f.Host == h
		})
		paths := len(op.Paths) == 0 || slices.ContainsFunc(op.Paths, func(p policy.PathPattern) bool {
			if len(p.Variables) > len(f.Segments) {
				return false
			}
			segments := slices.Clone(p.Segments)
			for i, name := range p.Variables {
				if name != "" && i < len(f.Segments) {
					segments[i] = f.Segments[i]
				}
			}
			pattern := "/" + strings.Join(segments, "/")
			if p.Prefix {
				return pattern == "/" || path == pattern || strings.HasPrefix(path, pattern+"/")
			}
			if p.Slash {
				pattern += "/"
			}
			return path == pattern
		})
		if methods && hosts && paths {
			return true
		}
	}
	return false
}

func peerHolds(r policy.Rule, f *decide.Facts) bool {
	return len(r.From) == 0 || slices.ContainsFunc(r.From, func(p policy.Peer) bool {
		return f.Peer == p.ID || p.Prefix && strings.HasPrefix(f.Peer, p.ID+"/")
	})
}

// userHolds takes what a rule says of how the caller has proved who it is as a list of ways, of which one must be gone.
func userHolds(p policy.Policy, r policy.Rule, f *decide.Facts) bool {
	byUser := f.User != nil && accepted(p, f.User) && (len(r.Credentials) == 0 || slices.Contains(r.Credentials, f.User.Credential))
	if !r.NeedsUser {
		byPeer, byNothing := r.NeedsPeer && f.Peer != "", !r.NeedsPeer
		if f.User != nil && len(r.Credentials) > 0 {
			return byUser
		}
		byPeer = byPeer && !stolen(r, f)
		return byPeer || byNothing
	}
	return byUser && (!r.NeedsPeer || f.Peer != "") && principalHolds(r, f.User) && missing(r, f.User) == 0 && claimsHold(r, f.User) &&
		namesHold(r.AllRoles, r.AnyRoles, f.User.Roles) && namesHold(r.AllGroups, r.AnyGroups, f.User.Groups) && signInHolds(r, f)
}

// stolen: an internal token in the hands of a workload that may call by itself.
func stolen(r policy.Rule, f *decide.Facts) bool {
	return r.NeedsPeer && !r.NeedsUser && len(r.Credentials) == 0 && f.User != nil && f.User.Credential == policy.InternalToken
}

func namesHold(allOf, anyOf, have []string) bool {
	for _, n := range allOf {
		if !slices.Contains(have, n) {
			return false
		}
	}
	return len(anyOf) == 0 || slices.ContainsFunc(anyOf, func(n string) bool { return slices.Contains(have, n) })
}

func signInHolds(r policy.Rule, f *decide.Facts) bool {
	if len(r.ACR) > 0 && !slices.Contains(r.ACR, f.User.ACR) {
		return false
	}
	return r.MaxAge == 0 || !f.User.AuthTime.IsZero() && !f.User.AuthTime.Before(f.Now.Add(-r.MaxAge))
}

func accepted(p policy.Policy, u *decide.User) bool {
	keys := []policy.Name{}
	for _, k := range p.APIKeys {
		keys = append(keys, k.Credentials)
	}
	lists := map[policy.CredentialKind][]policy.Name{
		policy.BearerToken: p.Issuers, policy.Basic: p.Basic, policy.APIKey: keys, policy.ClientCertificate: p.ClientCertificates,
	}
	return slices.Contains(lists[u.Credential], u.Issuer) || u.Credential == policy.InternalToken && p.InternalTokens
}

func acceptsAny(p policy.Policy) bool {
	return len(p.Issuers)+len(p.Basic)+len(p.APIKeys)+len(p.ClientCertificates) > 0 || p.InternalTokens
}

func principalHolds(r policy.Rule, u *decide.User) bool {
	return r.Principal == policy.AnyPrincipal || (r.Principal == policy.ServicePrincipal) == u.Service
}

func missing(r policy.Rule, u *decide.User) int {
	n := 0
	for _, s := range r.AllScopes {
		if !slices.Contains(u.Scopes, s) {
			n++
		}
	}
	if len(r.AnyScopes) > 0 && !slices.ContainsFunc(r.AnyScopes, func(s string) bool { return slices.Contains(u.Scopes, s) }) {
		n++
	}
	return n
}

func claimsHold(r policy.Rule, u *decide.User) bool {
	for _, c := range r.Claims {
		v, ok := u.Claims[c.Path[0]]
		if len(c.Path) == 2 {
			m, isMap := v.(map[string]any)
			v, ok = m[c.Path[1]]
			ok = ok && isMap
		}
		if !ok {
			return false
		}
		list, isList := v.([]any)
		if !isList {
			list = []any{v}
		}
		if !slices.ContainsFunc(list, func(e any) bool {
			switch e := e.(type) {
			case string:
				return slices.Contains(c.AnyOf, e)
			case decide.Number:
				// All numbers here are one, in whatever way they are written.
				return slices.ContainsFunc(c.AnyOf, func(v string) bool { return strings.HasPrefix(v, "1") })
			case bool:
				return slices.Contains(c.AnyOf, map[bool]string{true: "true", false: "false"}[e])
			}
			return false
		}) {
			return false
		}
	}
	return true
}

// why compares every allow rule and keeps the reasons that the nearest ones give.
func (n naive) why(l policy.Level, f *decide.Facts) verdict {
	best, v := 1<<30, verdict{reason: decide.NoRuleMatches, level: l.Kind}
	for _, name := range l.Policies {
		p := n.policies[name]
		for _, r := range p.Rules {
			if r.Action != policy.Allow || r.Audit || r.NeedsUser && !acceptsAny(p) {
				continue
			}
			if !operationHolds(r, f) {
				bare := r
				bare.To = nil
				for _, op := range r.To {
					op.Headers = nil
					bare.To = append(bare.To, op)
				}
				if !operationHolds(bare, f) {
					continue
				}
			}
			rank, reason, lacks := n.distance(p, r, f)
			if rank < best {
				best, v = rank, verdict{reason: reason, level: l.Kind, missing: lacks}
			}
			if rank == best {
				v.rules = append(v.rules, name.String()+"/"+r.Name)
			}
		}
	}
	return v
}

func (n naive) distance(p policy.Policy, r policy.Rule, f *decide.Facts) (int, decide.Reason, int) {
	if !operationHolds(r, f) {
		if peerHolds(r, f) && userHolds(p, r, f) {
			return 20000, decide.HeadersMismatch, 0
		}
		return 20001, decide.HeadersMismatch, 0
	}
	if !peerHolds(r, f) {
		if userHolds(p, r, f) {
			return 10000, decide.PeerNotAllowed, 0
		}
		return 10001, decide.PeerNotAllowed, 0
	}
	switch {
	case userHolds(p, r, f):
		return 1000, decide.ConditionFalse, 0
	case r.NeedsPeer && f.Peer == "" && (r.NeedsUser || f.User == nil || len(r.Credentials) == 0):
		return 5000, decide.PeerNotAllowed, 0
	case f.User == nil:
		return 0, decide.TokenMissing, 0
	case !accepted(p, f.User) && f.User.Credential == policy.BearerToken:
		return 4000, decide.IssuerNotAccepted, 0
	case !accepted(p, f.User), stolen(r, f), len(r.Credentials) > 0 && !slices.Contains(r.Credentials, f.User.Credential):
		return 4000, decide.CredentialNotAccepted, 0
	case !principalHolds(r, f.User):
		return 3000, decide.PrincipalNotAllowed, 0
	}
	wrong := decide.Undecided
	switch {
	case !claimsHold(r, f.User):
		wrong = decide.ClaimsMismatch
	case !namesHold(r.AllRoles, r.AnyRoles, f.User.Roles):
		wrong = decide.RolesMissing
	case !namesHold(r.AllGroups, r.AnyGroups, f.User.Groups):
		wrong = decide.GroupsMissing
	}
	switch {
	case wrong == decide.Undecided && missing(r, f.User) > 0:
		return missing(r, f.User), decide.InsufficientScope, missing(r, f.User)
	case wrong == decide.Undecided:
		return 1, decide.InsufficientAuthentication, 0
	case missing(r, f.User) == 0:
		return 1000, wrong, 0
	}
	return 2000 + missing(r, f.User), decide.InsufficientScope, missing(r, f.User)
}

var (
	words   = []string{"a", "b", "c", "admin"}
	hosts   = []string{"a.test", "x.a.test", "y.x.a.test", "b.test"}
	scopes  = []string{"read", "write", "admin"}
	values  = []string{"1.0", "1", "true", "blue"}
	methods = []string{"GET", "POST", "PUT"}
	ids     = []string{"spiffe://td/ns/a/wl/x", "spiffe://td/ns/a/wl/y", "spiffe://td/ns/b/wl/x", "spiffe://td/ns/a"}
	issuers = []policy.Name{{Namespace: "n", Name: "one"}, {Namespace: "n", Name: "two"}}
	proofs  = []policy.CredentialKind{policy.BearerToken, policy.BearerToken, policy.Basic, policy.APIKey, policy.ClientCertificate, policy.InternalToken}
)

func some[T any](t *rapid.T, from []T, most int) []T {
	return rapid.SliceOfN(rapid.SampledFrom(from), 0, most).Draw(t, "some")
}

func sorted(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}

// drawPolicy draws what a policy accepts.
func drawPolicy(t *rapid.T, name policy.Name) policy.Policy {
	p := policy.Policy{Name: name, Issuers: some(t, issuers, 2)}
	if rapid.IntRange(0, 2).Draw(t, "further") == 0 {
		p.Basic, p.ClientCertificates, p.InternalTokens = some(t, issuers, 1), some(t, issuers, 1), rapid.Bool().Draw(t, "internal")
		for _, n := range some(t, issuers, 1) {
			p.APIKeys = append(p.APIKeys, policy.APIKeyUse{Credentials: n, Header: "x-key"})
		}
	}
	switch rapid.IntRange(0, 60).Draw(t, "missing") {
	case 0:
		p.MissingIssuers = issuers[:1]
	case 1:
		p.MissingCredentials = issuers[:1]
	}
	return p
}

func drawRule(t *rapid.T, name string, hasUsers bool) policy.Rule {
	r := policy.Rule{Name: name, Action: policy.Allow, Audit: rapid.IntRange(0, 9).Draw(t, "audit") == 0}
	if rapid.IntRange(0, 7).Draw(t, "deny") == 0 {
		r.Action = policy.Deny
	}
	for _, id := range some(t, ids, 2) {
		r.From = append(r.From, policy.Peer{ID: id, Prefix: rapid.Bool().Draw(t, "prefix")})
	}
	for range rapid.IntRange(0, 2).Draw(t, "operations") {
		op := policy.Operation{Methods: some(t, methods, 2)}
		for range rapid.IntRange(0, 2).Draw(t, "paths") {
			p := policy.PathPattern{Segments: some(t, words, 3), Prefix: rapid.Bool().Draw(t, "prefix")}
			if rapid.IntRange(0, 2).Draw(t, "template") == 0 {
				p.Variables = make([]string, len(p.Segments))
				for i := range p.Segments {
					if rapid.Bool().Draw(t, "variable") {
						p.Segments[i], p.Variables[i] = "", string(rune('x'+i))
					}
				}
			}
			p.Slash = !p.Prefix && len(p.Segments) > 0 && rapid.IntRange(0, 4).Draw(t, "slash") == 0
			op.Paths = append(op.Paths, p)
		}
		op.Hosts = some(t, append([]string{"*.a.test", "*.test"}, hosts...), 2)
		if rapid.IntRange(0, 4).Draw(t, "headers") == 0 {
			h := policy.HeaderMatch{Name: rapid.SampledFrom([]string{"x-color", "x-size"}).Draw(t, "header")}
			if h.Present = rapid.Bool().Draw(t, "present"); !h.Present {
				h.AnyOf = []string{rapid.SampledFrom([]string{"blue", "red"}).Draw(t, "value")}
			}
			op.Headers = append(op.Headers, h)
		}
		r.To = append(r.To, op)
	}
	if rapid.Bool().Draw(t, "user") {
		r.AllScopes, r.AnyScopes = sorted(some(t, scopes, 2)), sorted(some(t, scopes, 2))
		for range rapid.IntRange(0, 1).Draw(t, "claims") {
			path := rapid.SampledFrom([][]string{{"color"}, {"deep", "color"}, {"n"}}).Draw(t, "path")
			r.Claims = append(r.Claims, policy.Claim{Path: path, AnyOf: append(some(t, values, 1), rapid.SampledFrom(values).Draw(t, "value"))})
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "names") == 0 {
		r.AllRoles, r.AnyRoles, r.AllGroups, r.AnyGroups = sorted(some(t, scopes, 1)), sorted(some(t, scopes, 2)), sorted(some(t, scopes, 1)), sorted(some(t, scopes, 1))
	}
	if rapid.IntRange(0, 4).Draw(t, "sign-in") == 0 {
		r.ACR, r.MaxAge = some(t, []string{"gold", "tin"}, 1), rapid.SampledFrom([]time.Duration{0, time.Minute, time.Hour}).Draw(t, "age")
	}
	if rapid.IntRange(0, 3).Draw(t, "condition") == 0 {
		r.Condition = rapid.SampledFrom(slices.Sorted(maps.Keys(celled))).Draw(t, "expression")
	}
	if rapid.IntRange(0, 2).Draw(t, "principal") == 0 {
		r.Principal = rapid.SampledFrom([]policy.Principal{policy.UserPrincipal, policy.ServicePrincipal}).Draw(t, "kind")
	}
	r.NeedsUser = len(r.AllScopes)+len(r.AnyScopes)+len(r.Claims) > 0 || r.Principal != policy.AnyPrincipal ||
		len(r.AllRoles)+len(r.AnyRoles)+len(r.AllGroups)+len(r.AnyGroups)+len(r.ACR) > 0 || r.MaxAge > 0 || r.Condition == `user.claims.n == 1` || hasUsers && r.Action == policy.Allow && rapid.Bool().Draw(t, "needs")
	if r.Action == policy.Allow && rapid.IntRange(0, 2).Draw(t, "proof") == 0 {
		r.Credentials, r.NeedsPeer = some(t, proofs, 2), rapid.Bool().Draw(t, "needs peer")
	}
	return r
}

func drawFacts(t *rapid.T) *decide.Facts {
	f := &decide.Facts{
		Peer:     rapid.SampledFrom(append([]string{""}, ids...)).Draw(t, "peer"),
		Method:   rapid.SampledFrom(methods).Draw(t, "method"),
		Host:     rapid.SampledFrom(hosts).Draw(t, "host"),
		Segments: some(t, words, 4),
		Now:      time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	for range rapid.IntRange(0, 2).Draw(t, "lines") {
		f.Headers = append(f.Headers, decide.Header{
			Name: rapid.SampledFrom([]string{"x-color", "x-size"}).Draw(t, "header"), Value: rapid.SampledFrom([]string{"blue", "red", "red, blue", ""}).Draw(t, "line"),
		})
	}
	f.Slash = len(f.Segments) > 0 && rapid.IntRange(0, 3).Draw(t, "slash") == 0
	if rapid.IntRange(0, 3).Draw(t, "user") > 0 {
		v := rapid.SampledFrom([]any{"blue", decide.Number("1"), decide.Number("10e-1"), true, nil, []any{"red", decide.Number("1.0")}, []any{}, "1.0"}).Draw(t, "claim")
		f.User = &decide.User{
			Credential: rapid.SampledFrom(proofs).Draw(t, "kind"),
			Issuer:     rapid.SampledFrom(issuers).Draw(t, "issuer"), Subject: "u", Service: rapid.Bool().Draw(t, "service"), Scopes: sorted(some(t, scopes, 3)),
			Roles: sorted(some(t, scopes, 2)), Groups: sorted(some(t, scopes, 2)), ACR: rapid.SampledFrom([]string{"", "gold", "tin"}).Draw(t, "acr"),
			Claims: map[string]any{"color": v, "n": decide.Number("1"), "deep": map[string]any{"color": v}},
		}
		if ago := rapid.SampledFrom([]time.Duration{0, time.Second, 30 * time.Minute, 2 * time.Hour}).Draw(t, "signed in"); ago > 0 {
			f.User.AuthTime = f.Now.Add(-ago)
		}
	}
	return f
}

// The index and a naive reading of the rules agree on every answer, its reason, its level, and a rule that really says so.
func TestIndexAgreesWithNaiveEvaluator(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := naive{policies: map[policy.Name]policy.Policy{}}
		set := &policy.Set{}
		var names []policy.Name
		for i := range rapid.IntRange(1, 4).Draw(t, "policies") {
			p := drawPolicy(t, policy.Name{Namespace: "n", Name: "p" + string(rune('0'+i))})
			for j := range rapid.IntRange(0, 15).Draw(t, "rules") {
				p.Rules = append(p.Rules, drawRule(t, "r"+string(rune('A'+j)), acceptsAny(p)))
			}
			set.Policies, n.policies[p.Name], names = append(set.Policies, p), p, append(names, p.Name)
		}
		var access policy.Access
		kinds := []policy.LevelKind{policy.MeshLevel, policy.GatewayLevel, policy.RouteLevel}
		for _, k := range kinds[:rapid.IntRange(0, 3).Draw(t, "levels")] {
			l := policy.Level{Kind: k}
			for _, name := range names {
				if rapid.Bool().Draw(t, "in") {
					l.Policies = append(l.Policies, name)
				}
			}
			if len(l.Policies) > 0 {
				access.Levels = append(access.Levels, l)
			}
		}
		set.Workloads = []policy.Workload{{Name: policy.Name{Namespace: "n", Name: "w"}, Ports: []policy.Port{{Name: "http", Route: "id", Access: access}}}}
		r, ok := decide.NewIndex(set).Route("id")
		if !ok {
			t.Fatal("the route is not found")
		}
		for range 20 {
			f := drawFacts(t)
			got, want := r.Decide(f), n.decide(access, f)
			if got.Allowed() != want.allowed || got.Reason != want.reason || got.Level != want.level {
				t.Fatalf("facts %+v: got %v %v at %v, want %v %v at %v", f, got.Allowed(), got.Reason, got.Level, want.allowed, want.reason, want.level)
			}
			if rule := got.Policy.String() + "/" + got.Rule; len(want.rules) > 0 && !slices.Contains(want.rules, rule) {
				t.Fatalf("facts %+v: rule %s, want one of %v", f, rule, want.rules)
			}
			if len(got.MissingScopes) > want.missing || (want.missing > 0) != (len(got.MissingScopes) > 0) {
				t.Fatalf("facts %+v: missing %v, want %d", f, got.MissingScopes, want.missing)
			}
		}
	})
}
