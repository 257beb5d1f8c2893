package decide_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

const (
	web   = "spiffe://mesh.test/ns/default/wl/web"
	batch = "spiffe://mesh.test/ns/default/wl/batch"
)

var dev = policy.Name{Namespace: "default", Name: "dev"}

func name(s string) policy.Name { return policy.Name{Namespace: "default", Name: s} }

func prefix(segments ...string) []policy.Operation {
	return []policy.Operation{{Paths: []policy.PathPattern{{Segments: segments, Prefix: true}}}}
}

// route compiles one port with the given levels; each level has the policies that follow it.
func route(t *testing.T, access policy.Access, policies ...policy.Policy) *decide.Route {
	t.Helper()
	set := &policy.Set{Policies: policies, Workloads: []policy.Workload{{
		Name:  name("orders"),
		Ports: []policy.Port{{Name: "http", Route: "r1", Access: access}},
	}}}
	r, ok := decide.NewIndex(set).Route("r1")
	if !ok {
		t.Fatal("route r1 is not in the index")
	}
	return r
}

func levels(names ...string) policy.Access {
	kinds := []policy.LevelKind{policy.MeshLevel, policy.GatewayLevel, policy.RouteLevel}
	var a policy.Access
	for i, n := range names {
		a.Levels = append(a.Levels, policy.Level{Kind: kinds[i], Policies: []policy.Name{name(n)}})
	}
	return a
}

func user(scopes ...string) *decide.User {
	return &decide.User{Credential: policy.BearerToken, Issuer: dev, IssuerURL: "https://dev.test", Subject: "alice", Scopes: scopes}
}

func service() *decide.User {
	return &decide.User{Credential: policy.BearerToken, Issuer: dev, IssuerURL: "https://dev.test", Subject: "alice", Client: "alice", Service: true}
}

func get(peer string, u *decide.User, segments ...string) *decide.Facts {
	return &decide.Facts{Peer: peer, User: u, Method: "GET", Host: "orders", Segments: segments}
}

func TestZeroDecisionDenies(t *testing.T) {
	var d decide.Decision
	if d.Allowed() || d.Reason.Class() != decide.Forbidden {
		t.Error("the zero Decision does not deny")
	}
	var none *decide.Route
	if none.Decide(&decide.Facts{}).Allowed() || route(t, levels()).Decide(nil).Allowed() {
		t.Error("a decision without route or facts allows")
	}
}

func TestDecide(t *testing.T) {
	rules := func(p string, rules ...policy.Rule) policy.Policy {
		return policy.Policy{Name: name(p), Issuers: []policy.Name{dev}, Rules: rules}
	}
	read := policy.Rule{Name: "read", Action: policy.Allow, NeedsUser: true, From: []policy.Peer{{ID: web}}, AllScopes: []string{"orders:read"}, To: prefix("orders")}
	public := policy.Rule{Name: "public", Action: policy.Allow, To: prefix("public")}
	all := policy.Rule{Name: "all", Action: policy.Allow}
	people := policy.Rule{Name: "people", Action: policy.Allow, AllScopes: []string{"a"}, Principal: policy.UserPrincipal}
	jobs := policy.Rule{Name: "jobs", Action: policy.Allow, Principal: policy.ServicePrincipal}
	tests := []struct {
		name     string
		access   policy.Access
		policies []policy.Policy
		facts    *decide.Facts
		want     decide.Reason
		rule     string
		missing  []string
	}{
		{name: "no policy at any level", access: levels(), facts: get(web, nil), want: decide.NoPolicy},
		{name: "the set says no", access: policy.Access{Denied: "invalid", Levels: levels("p").Levels}, policies: []policy.Policy{rules("p", all)}, facts: get(web, nil), want: decide.TargetDenied},
		{name: "a level names a policy that is not there", access: levels("gone"), facts: get(web, nil), want: decide.TargetDenied},
		{name: "a missing issuer cannot be told", access: levels("p"), policies: []policy.Policy{{Name: name("p"), MissingIssuers: []policy.Name{dev}, Rules: []policy.Rule{all}}}, facts: get(web, nil), want: decide.IssuerMissing},
		{name: "right user, right workload", access: levels("p"), policies: []policy.Policy{rules("p", read)}, facts: get(web, user("orders:read"), "orders"), want: decide.Allowed, rule: "read"},
		{name: "right user, wrong workload", access: levels("p"), policies: []policy.Policy{rules("p", read)}, facts: get(batch, user("orders:read"), "orders"), want: decide.PeerNotAllowed, rule: "read"},
		{name: "right user, no workload", access: levels("p"), policies: []policy.Policy{rules("p", read)}, facts: get("", user("orders:read"), "orders"), want: decide.PeerNotAllowed, rule: "read"},
		{name: "wrong user, right workload", access: levels("p"), policies: []policy.Policy{rules("p", read)}, facts: get(web, user("other"), "orders"), want: decide.InsufficientScope, rule: "read", missing: []string{"orders:read"}},
		{name: "both wrong", access: levels("p"), policies: []policy.Policy{rules("p", read)}, facts: get(batch, user("other"), "orders"), want: decide.PeerNotAllowed, rule: "read"},
		{name: "no user", access: levels("p"), policies: []policy.Policy{rules("p", read)}, facts: get(web, nil, "orders"), want: decide.TokenMissing, rule: "read"},
		{name: "no user, wrong workload: a token would not help", access: levels("p"), policies: []policy.Policy{rules("p", read)}, facts: get(batch, nil, "orders"), want: decide.PeerNotAllowed, rule: "read"},
		{name: "user of another issuer", access: levels("p"), policies: []policy.Policy{rules("p", read)}, facts: get(web, &decide.User{Credential: policy.BearerToken, Issuer: name("other"), Scopes: []string{"orders:read"}}, "orders"), want: decide.IssuerNotAccepted, rule: "read"},
		{name: "another path", access: levels("p"), policies: []policy.Policy{rules("p", read)}, facts: get(web, user("orders:read"), "ordersx"), want: decide.NoRuleMatches},
		{name: "anonymous rule without a user", access: levels("p"), policies: []policy.Policy{rules("p", read, public)}, facts: get("", nil, "public", "a"), want: decide.Allowed, rule: "public"},
		{name: "a child narrows", access: levels("mesh", "gw"), policies: []policy.Policy{rules("mesh", all), rules("gw", read)}, facts: get(web, nil, "orders"), want: decide.TokenMissing, rule: "read"},
		{name: "a child cannot widen", access: levels("mesh", "gw"), policies: []policy.Policy{rules("mesh", read), rules("gw", all)}, facts: get(web, user("x"), "orders"), want: decide.InsufficientScope, rule: "read", missing: []string{"orders:read"}},
		{name: "a child's deny beats a parent's allow", access: levels("mesh", "gw"), policies: []policy.Policy{rules("mesh", all), rules("gw", all, policy.Rule{Name: "no", Action: policy.Deny, From: []policy.Peer{{ID: batch}}})}, facts: get(batch, nil, "orders"), want: decide.DeniedByRule, rule: "no"},
		{name: "a child's deny comes before a parent's missing allow", access: levels("mesh", "gw"), policies: []policy.Policy{rules("mesh", read), rules("gw", policy.Rule{Name: "no", Action: policy.Deny})}, facts: get(web, nil, "orders"), want: decide.DeniedByRule, rule: "no"},
		{name: "audit deny decides nothing", access: levels("p"), policies: []policy.Policy{rules("p", all, policy.Rule{Name: "no", Action: policy.Deny, Audit: true})}, facts: get(web, nil), want: decide.Allowed, rule: "all"},
		{name: "audit allow decides nothing", access: levels("p"), policies: []policy.Policy{rules("p", policy.Rule{Name: "yes", Action: policy.Allow, Audit: true})}, facts: get(web, nil), want: decide.NoRuleMatches},
		{name: "the nearest rule names its scopes", access: levels("p"), policies: []policy.Policy{rules("p",
			policy.Rule{Name: "far", Action: policy.Allow, NeedsUser: true, AllScopes: []string{"a", "b", "c"}},
			policy.Rule{Name: "near", Action: policy.Allow, NeedsUser: true, AllScopes: []string{"a", "d"}})}, facts: get(web, user("a"), "orders"), want: decide.InsufficientScope, rule: "near", missing: []string{"d"}},
		{name: "of anyOf the first scope is named", access: levels("p"), policies: []policy.Policy{rules("p",
			policy.Rule{Name: "any", Action: policy.Allow, NeedsUser: true, AnyScopes: []string{"a", "b"}})}, facts: get(web, user("x"), "orders"), want: decide.InsufficientScope, rule: "any", missing: []string{"a"}},
		{name: "claims wrong", access: levels("p"), policies: []policy.Policy{rules("p",
			policy.Rule{Name: "blue", Action: policy.Allow, NeedsUser: true, Claims: []policy.Claim{{Path: []string{"color"}, AnyOf: []string{"blue"}}}})}, facts: get(web, user(), "orders"), want: decide.ClaimsMismatch, rule: "blue"},
		{name: "a service where a user is wanted", access: levels("p"), policies: []policy.Policy{rules("p", people)}, facts: get(web, service(), "orders"), want: decide.PrincipalNotAllowed, rule: "people"},
		{name: "a user where a user is wanted", access: levels("p"), policies: []policy.Policy{rules("p", people)}, facts: get(web, user("a"), "orders"), want: decide.Allowed, rule: "people"},
		{name: "a user where a service is wanted", access: levels("p"), policies: []policy.Policy{rules("p", jobs)}, facts: get(web, user(), "orders"), want: decide.PrincipalNotAllowed, rule: "jobs"},
		{name: "a service where a service is wanted", access: levels("p"), policies: []policy.Policy{rules("p", jobs)}, facts: get(web, service(), "orders"), want: decide.Allowed, rule: "jobs"},
		{name: "nobody where a service is wanted", access: levels("p"), policies: []policy.Policy{rules("p", jobs)}, facts: get(web, nil, "orders"), want: decide.TokenMissing, rule: "jobs"},
		{name: "a scope helps a user more than a rule for services", access: levels("p"), policies: []policy.Policy{rules("p", jobs, people)}, facts: get(web, user(), "orders"), want: decide.InsufficientScope, rule: "people", missing: []string{"a"}},
		{name: "services are denied", access: levels("p"), policies: []policy.Policy{rules("p", all, policy.Rule{Name: "no", Action: policy.Deny, Principal: policy.ServicePrincipal})}, facts: get(web, service(), "orders"), want: decide.DeniedByRule, rule: "no"},
		{name: "a deny rule for services is not for users", access: levels("p"), policies: []policy.Policy{rules("p", all, policy.Rule{Name: "no", Action: policy.Deny, Principal: policy.ServicePrincipal})}, facts: get(web, user(), "orders"), want: decide.Allowed, rule: "all"},
		{name: "a principal that is not known is nobody", access: levels("p"), policies: []policy.Policy{rules("p", policy.Rule{Name: "odd", Action: policy.Allow, Principal: 9})}, facts: get(web, user(), "orders"), want: decide.PrincipalNotAllowed, rule: "odd"},
		{name: "an allow rule that needs a user in a policy without issuers never matches", access: levels("p"), policies: []policy.Policy{{
			Name:  name("p"),
			Rules: []policy.Rule{{Name: "x", Action: policy.Allow, NeedsUser: true}},
		}}, facts: get(web, user(), "orders"), want: decide.NoRuleMatches},
		{name: "a peer prefix is whole segments", access: levels("p"), policies: []policy.Policy{rules("p",
			policy.Rule{Name: "ns", Action: policy.Allow, From: []policy.Peer{{ID: "spiffe://mesh.test/ns/def", Prefix: true}}})}, facts: get(web, nil, "orders"), want: decide.PeerNotAllowed, rule: "ns"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := route(t, tt.access, tt.policies...).Decide(tt.facts)
			if got.Reason != tt.want || got.Allowed() != (tt.want == decide.Allowed) || got.Rule != tt.rule {
				t.Errorf("got %v allowed=%v by %q, want %v by %q", got.Reason, got.Allowed(), got.Rule, tt.want, tt.rule)
			}
			if diff := cmp.Diff(tt.missing, got.MissingScopes); diff != "" {
				t.Errorf("missing scopes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAuditIsReported(t *testing.T) {
	p := policy.Policy{Name: name("p"), Rules: []policy.Rule{
		{Name: "all", Action: policy.Allow},
		{Name: "no", Action: policy.Deny, Audit: true},
		{Name: "other", Action: policy.Deny, Audit: true, From: []policy.Peer{{ID: batch}}},
	}}
	got := route(t, levels("p"), p).Decide(get(web, nil))
	if diff := cmp.Diff([]decide.AuditHit{{Policy: name("p"), Rule: "no", Action: policy.Deny}}, got.Audit); diff != "" || !got.Allowed() {
		t.Errorf("allowed %v, audit (-want +got):\n%s", got.Allowed(), diff)
	}
}

// A route id that two routes share with different access denies: nobody can tell which one a request is for.
func TestSharedRouteIDDenies(t *testing.T) {
	p := policy.Policy{Name: name("p"), Rules: []policy.Rule{{Name: "all", Action: policy.Allow}}}
	q := policy.Policy{Name: name("q")}
	set := &policy.Set{Policies: []policy.Policy{p, q}, Workloads: []policy.Workload{{Name: name("orders"), Ports: []policy.Port{
		{Name: "a", Route: "r1", Access: levels("p")}, {Name: "b", Route: "r1", Access: levels("q")},
	}}}}
	r, _ := decide.NewIndex(set).Route("r1")
	if got := r.Decide(get(web, nil)); got.Reason != decide.TargetDenied {
		t.Errorf("got %v, want target_denied", got.Reason)
	}
}

func TestRetiredRouteHasTodaysDenies(t *testing.T) {
	set := func(access policy.Access, policies ...policy.Policy) *policy.Set {
		return &policy.Set{Policies: policies, Workloads: []policy.Workload{{
			Name:  name("orders"),
			Ports: []policy.Port{{Name: "http", Route: policy.RouteID(policies[0].Name.Name), Access: access}},
		}}}
	}
	all, no := policy.Rule{Name: "all", Action: policy.Allow}, policy.Rule{Name: "no", Action: policy.Deny, From: []policy.Peer{{ID: batch}}}
	old, _ := decide.NewIndex(set(levels("p"), policy.Policy{Name: name("p"), Rules: []policy.Rule{all}})).Route("p")
	tests := []struct {
		name  string
		today *policy.Set
		peer  string
		want  decide.Reason
	}{
		{"the same policy, now with a deny", set(levels("q"), policy.Policy{Name: name("q"), Rules: []policy.Rule{all}}, policy.Policy{Name: name("p"), Rules: []policy.Rule{all, no}}), batch, decide.DeniedByRule},
		{"a policy that is in force on all of the proxy", set(levels("q"), policy.Policy{Name: name("q"), Rules: []policy.Rule{no}}), batch, decide.DeniedByRule},
		{"a policy that no longer allows", set(levels("q"), policy.Policy{Name: name("q")}, policy.Policy{Name: name("p")}), web, decide.Allowed},
		{"the policy is gone", set(levels("q"), policy.Policy{Name: name("q")}), web, decide.Allowed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			retired := decide.NewIndex(tt.today).Retire([]*decide.Route{old})
			if got := retired[0].Decide(get(tt.peer, nil)); got.Reason != tt.want {
				t.Errorf("got %v, want %v", got.Reason, tt.want)
			}
		})
	}
	if got := old.Decide(get(batch, nil)); !got.Allowed() {
		t.Errorf("retiring changed the route: %v", got.Reason)
	}
}

// bigRoute has n rules that differ in what the shape says.
func bigRoute(t testing.TB, shape string, n int) (*decide.Route, *decide.Facts) {
	p := policy.Policy{Name: name("p"), Issuers: []policy.Name{dev}}
	f := get(web, user("orders:read"), "api", "s"+fmt.Sprint(n/2), "items")
	f.User.Claims = map[string]any{"tenant": "t" + fmt.Sprint(n/2)}
	for i := range n {
		r := policy.Rule{Name: fmt.Sprint("r", i), Action: policy.Allow, NeedsUser: true, AllScopes: []string{"orders:read"}}
		switch shape {
		case "path":
			r.To = []policy.Operation{{Methods: []string{"GET", "POST"}, Paths: []policy.PathPattern{{Segments: []string{"api", fmt.Sprint("s", i)}, Prefix: true}}}}
			r.From = []policy.Peer{{ID: web}}
		case "peer":
			r.From = []policy.Peer{{ID: fmt.Sprintf("spiffe://mesh.test/ns/default/wl/w%d", i)}}
			f.Peer = fmt.Sprintf("spiffe://mesh.test/ns/default/wl/w%d", n/2)
		case "claim":
			r.To = prefix("api")
			r.Claims = []policy.Claim{{Path: []string{"tenant"}, AnyOf: []string{fmt.Sprint("t", i)}}}
		}
		p.Rules = append(p.Rules, r)
	}
	set := &policy.Set{Policies: []policy.Policy{p}, Workloads: []policy.Workload{{
		Name:  name("orders"),
		Ports: []policy.Port{{Name: "http", Route: "r1", Access: levels("p")}},
	}}}
	r, ok := decide.NewIndex(set).Route("r1")
	if !ok {
		t.Fatal("route r1 is not in the index")
	}
	return r, f
}

func TestAllowDoesNotAllocate(t *testing.T) {
	for _, shape := range []string{"path", "peer", "claim"} {
		r, f := bigRoute(t, shape, 1000)
		if !r.Decide(f).Allowed() {
			t.Fatalf("%s: %v", shape, r.Decide(f).Reason)
		}
		if n := testing.AllocsPerRun(100, func() { r.Decide(f) }); n != 0 {
			t.Errorf("%s: %v allocations on the allow path, want 0", shape, n)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, shape := range []string{"path", "peer", "claim"} {
		for _, n := range []int{10, 1000, 100000} {
			r, f := bigRoute(b, shape, n)
			denied := *f
			denied.User = user("other")
			denied.User.Claims = f.User.Claims
			for what, facts := range map[string]*decide.Facts{"allow": f, "deny": &denied} {
				b.Run(fmt.Sprintf("%s/%s/rules=%d", shape, what, n), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						r.Decide(facts)
					}
				})
			}
		}
	}
}

// A host that compares as a wildcard is found among many rules as among few.
func TestDenyOfAnyHostIsFoundAmongManyRules(t *testing.T) {
	for _, host := range []string{"*", "*x.test"} {
		name := policy.Name{Namespace: "a", Name: "p"}
		rules := []policy.Rule{{Name: "all", Action: policy.Allow}}
		for _, h := range append(strings.Split("a b c d e f g h i j", " "), host) {
			rules = append(rules, policy.Rule{Name: h, Action: policy.Deny, To: []policy.Operation{{Hosts: []string{h}}}})
		}
		access := policy.Access{Levels: []policy.Level{{Kind: policy.MeshLevel, Policies: []policy.Name{name}}}}
		route, _ := decide.NewIndex(&policy.Set{
			Policies:  []policy.Policy{{Name: name, Rules: rules}},
			Workloads: []policy.Workload{{Name: name, Ports: []policy.Port{{Name: "http", Route: "r", Access: access}}}},
		}).Route("r")
		if d := route.Decide(&decide.Facts{Host: "ax.test", Method: "GET"}); d.Allowed() || d.Rule != host {
			t.Errorf("%s: %+v", host, d)
		}
	}
}
