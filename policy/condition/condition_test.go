package condition_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/policy/condition"
)

// number is a JSON number that an int64 or a float64 holds; any other is an error.
type number struct{ v any }

func (n number) Exact() (any, error) {
	if n.v == nil {
		return nil, errors.New("too large")
	}
	return n.v, nil
}

func compiler(t testing.TB) *condition.Compiler {
	t.Helper()
	c, err := condition.NewCompiler()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func input() *condition.Input {
	return &condition.Input{
		Method: "GET", Scheme: "https", Host: "shop.test", Query: "a=1&a=2&b=%20x+y", IP: "10.1.2.3",
		Segments: []string{"orders", "7"}, Params: map[string]string{"id": "7"},
		Headers: func(yield func(string, string) bool) {
			_ = yield("x-tenant", "blue") && yield("x-role", "a") && yield("x-role", "b")
		},
		Time: time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC), Peer: "spiffe://example.org/ns/shop/wl/web",
		User: &condition.User{
			Subject: "alice", Issuer: "https://idp.test", Client: "spa", Credential: "bearer", Scopes: []string{"orders:read"},
			Roles: []string{"admin"}, Groups: []string{"eu"}, AuthTime: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC),
			Claims: map[string]any{
				"tier": number{int64(3)}, "big": number{int64(9007199254740993)}, "half": number{0.5}, "huge": number{}, "none": nil, "yes": true,
				"nested": map[string]any{"list": []any{"x", number{int64(1)}}}, "department": "sales",
			},
		},
	}
}

func TestHolds(t *testing.T) {
	c := compiler(t)
	for source, want := range map[string]string{
		`request.method == "GET" && request.scheme == "https" && request.host == "shop.test"`: "true",
		`request.path == "/orders/7" && request.segments[1] == request.params.id`:             "true",
		`request.params["id"] == "7"`:                                                                                      "true",
		`request.query["a"] == ["1", "2"] && request.query.b == [" x y"]`:                                                  "true",
		`request.headers["x-tenant"] == ["blue"] && "b" in request.headers["x-role"]`:                                      "true",
		`request.headers["x-none"] == ["blue"]`:                                                                            "error",
		`"x-none" in request.headers`:                                                                                      "false",
		`cidr("10.0.0.0/8").containsIP(request.ip)`:                                                                        "true",
		`request.time.getHours() >= 9 && request.time.getDayOfWeek() == 1`:                                                 "true",
		`request.time - user.auth_time < duration("1h")`:                                                                   "true",
		`user.subject == "alice" && user.client == "spa" && !user.service && user.credential == "bearer"`:                  "true",
		`"admin" in user.roles && user.groups.exists(g, g.startsWith("e")) && sets.contains(user.scopes, ["orders:read"])`: "true",
		`user.claims.tier == 3 && user.claims.tier >= 3 && user.claims.tier < 3.5`:                                         "true",
		`user.claims.big == 9007199254740993`:                                                                              "true",
		`user.claims.big == 9007199254740992`:                                                                              "false",
		`user.claims.half == 0.5`:                                                                                          "true",
		`user.claims.huge > 1`:                                                                                             "error",
		`user.claims.none == null && user.claims.yes == true`:                                                              "true",
		`user.claims.nested.list[0] == "x" && user.claims.nested.list[1] == 1`:                                             "true",
		`user.claims.missing == "x"`:                                                                                       "error",
		`has(user.claims.missing) && user.claims.missing == "x"`:                                                           "false",
		`user.claims.tier == "3"`:                                                                                          "false",
		`user.claims.nested == "x"`:                                                                                        "false",
		`user.acr == ""`:                                                                                                   "error",
		`has(user.acr)`:                                                                                                    "false",
		`token.claims.department == user.claims.department && !has(token.id)`:                                              "true",
		`peer.id == "spiffe://example.org/ns/shop/wl/web" && peer.trust_domain == "example.org" && peer.namespace == "shop" && peer.path == "/ns/shop/wl/web"`: "true",
	} {
		p, err := c.Compile(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		got := "error"
		if holds, err := p.Holds(input()); err == nil {
			got = fmt.Sprint(holds)
		}
		if got != want {
			t.Errorf("%s is %s, want %s", source, got, want)
		}
	}
}

// TestNobody: without a user and a peer their fields are not there, and has() says so.
func TestNobody(t *testing.T) {
	c := compiler(t)
	for source, want := range map[string]string{
		`user.subject == ""`: "error", `user.service == false`: "error", `"a" in user.roles`: "error", `user.claims == {}`: "error",
		`has(user.subject)`: "false", `has(user.roles)`: "false", `has(user.claims)`: "false", `has(token.id)`: "false", `has(peer.id)`: "false",
		`peer.namespace == ""`: "error", `!has(user.subject) || user.subject == "x"`: "true", `request.headers == {}`: "true",
	} {
		p, err := c.Compile(source)
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		got := "error"
		if holds, err := p.Holds(&condition.Input{}); err == nil {
			got = fmt.Sprint(holds)
		}
		if got != want {
			t.Errorf("%s is %s, want %s", source, got, want)
		}
	}
}

// TestQueryOfTwoMeanings: what servers read in different ways is an error, neither true nor false.
func TestQueryOfTwoMeanings(t *testing.T) {
	p, err := compiler(t).Compile(`!("role" in request.query)`)
	if err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{"a=1;role=admin", "role%", "a=%zz"} {
		if holds, err := p.Holds(&condition.Input{Query: query}); err == nil {
			t.Errorf("%q: %t", query, holds)
		}
	}
}

func TestProblems(t *testing.T) {
	c := compiler(t)
	for _, tt := range []struct{ name, source, place, says string }{
		{"syntax", "request.method ==", "1:18", "mismatched input"},
		{"unknown field", "request.method == 'GET' &&\n  request.metod == 'GET'", "2:10", "undefined field 'metod'"},
		{"unknown variable", "jwt.sub == 'x'", "1:1", "undeclared reference to 'jwt'"},
		{"types", "request.method == 1", "1:16", "no matching overload"},
		{"not bool", "request.method", "1:1", "not bool"},
		{"dyn is not bool", "user.claims.admin", "1:1", "not bool"},
		{"header in capitals", `true && "x" in request.headers["X-A"]`, "1:32", `no header is called "X-A"`},
		{"regex", `request.path.matches("(")`, "1:22", "invalid matches argument"},
		{"nested too deep", `user.roles.all(a, user.roles.all(b, user.roles.all(c, a + b == c)))`, "1:51", "nesting"},
		{"literal of a type", `user{subject: "root"}.subject == "root"`, "1:1", ""},
		{"too long", strings.Repeat("true && ", 600) + "true", "1:1", "at most 4096"},
		{"too deep", strings.Repeat("(", 300) + "true" + strings.Repeat(")", 300), "", ""},
		{"empty", "  ", "1:1", "empty"},
		{"not UTF-8", "\xff", "1:1", "UTF-8"},
		{"a regex of the request", `request.path.matches(request.host)`, "1:29", "written in the condition"},
		{"unbounded", `request.segments.exists(s, user.groups.exists(g, g == "x" + s))`, "1:1", "cost too much"},
	} {
		_, err := c.Compile(tt.source)
		var p condition.Problems
		if !errors.As(err, &p) || len(p) == 0 {
			if tt.name == "literal of a type" { // it is typed, and fails when it is evaluated
				continue
			}
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if place := fmt.Sprintf("%d:%d", p[0].Line, p[0].Column); tt.place != "" && place != tt.place || !strings.Contains(p[0].Message, tt.says) {
			t.Errorf("%s: at %s: %s", tt.name, place, p[0].Message)
		}
	}
}

// TestMadeUpUser: an expression can't make a user of its own.
func TestMadeUpUser(t *testing.T) {
	p, err := compiler(t).Compile(`user{subject: "root"}.subject == "root"`)
	if err != nil {
		return
	}
	if holds, err := p.Holds(&condition.Input{}); err == nil {
		t.Errorf("it holds: %t", holds)
	}
}

// TestCostLimit: an evaluation that a caller blows up ends with an error.
func TestCostLimit(t *testing.T) {
	p, err := compiler(t).Compile(`user.claims.list.all(a, user.claims.list.exists(b, a == b))`)
	if err != nil {
		t.Fatal(err)
	}
	list := make([]any, 2000)
	for i := range list {
		list[i] = fmt.Sprint("entry ", i)
	}
	started := time.Now()
	if holds, err := p.Holds(&condition.Input{User: &condition.User{Claims: map[string]any{"list": list}}}); err == nil {
		t.Errorf("4,000,000 comparisons: %t", holds)
	}
	t.Logf("ended after %s", time.Since(started))
}

func TestUses(t *testing.T) {
	c := compiler(t)
	for source, want := range map[string]condition.Uses{
		`request.method == "GET"`: {},
		`user.subject == "a"`:     {User: true},
		`user.claims.a.b == token.claims["c"] && "d" in user.claims && has(user.claims)`: {User: true, AsksForUser: true, Claims: []string{"a", "c", "d"}},
		`user.claims.exists(c, c == "x") && user.claims.a == 1`:                          {User: true, Claims: []string{"a"}, AllClaims: true},
		`token.expires > request.time`:                                                   {User: true},
		`has(user.subject) && user.subject == request.params.owner`:                      {User: true, AsksForUser: true, Params: []string{"owner"}, ReadsParams: true},
		`request.params["b"] == request.params.a`:                                        {Params: []string{"a", "b"}, ReadsParams: true},
		`request.segments.size() > 2`:                                                    {},
		`request.params.size() > 2`:                                                      {ReadsParams: true},
	} {
		p, err := c.Compile(source)
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		if d := cmp.Diff(want, p.Uses()); d != "" {
			t.Errorf("%s: %s", source, d)
		}
	}
}

func TestConcurrent(t *testing.T) {
	p, err := compiler(t).Compile(`user.roles.exists(r, r == "admin") && request.headers["x-tenant"] == ["blue"]`)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				if holds, err := p.Holds(input()); err != nil || !holds {
					t.Errorf("%t, %v", holds, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// FuzzCompile: whatever is written, compiling and evaluating end, and a problem is inside of the source.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{`user.subject == "a"`, "request.headers['X']", "[1,2].map(a, a)", "\n\n==", "\"\\u00e9\" == user.x"} {
		f.Add(s)
	}
	c, err := condition.NewCompiler()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, source string) {
		p, err := c.Compile(source)
		if err == nil {
			_, _ = p.Holds(input())
			_, _ = p.Holds(&condition.Input{})
			return
		}
		var problems condition.Problems
		if !errors.As(err, &problems) {
			t.Fatalf("%v", err)
		}
		for _, at := range problems {
			if at.Offset < 0 || at.Line < 1 || at.Column < 1 || at.Line > strings.Count(source, "\n")+1 {
				t.Errorf("%q: %+v", source, at)
			}
		}
	})
}

func BenchmarkHolds(b *testing.B) {
	c := compiler(b)
	for _, source := range []string{`request.method == "GET"`, `user.subject == request.params.id`, `user.claims.tier >= 3 && "admin" in user.roles`, `request.headers["x-tenant"] == ["blue"]`} {
		p, err := c.Compile(source)
		if err != nil {
			b.Fatal(err)
		}
		in := input()
		b.Run(source, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Holds(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Whoever sends the request chooses how many segments and headers there are: a loop over them must not put them together each time.
func TestLoopsReadHeadersOnce(t *testing.T) {
	for _, source := range []string{
		`request.segments.exists(s, s in request.headers)`, `request.segments.all(s, !(request.path in request.headers))`,
		`"x-a" in request.headers || "x-b" in request.headers`,
	} {
		p, err := compiler(t).Compile(source)
		if err != nil {
			t.Fatal(err)
		}
		in, times := input(), 0
		in.Segments, in.Headers = strings.Split(strings.Repeat("a/", 1000), "/"), func(func(string, string) bool) { times++ }
		for n := range 2 {
			if _, err := p.Holds(in); err != nil && !strings.Contains(err.Error(), "cost") {
				t.Fatal(err)
			}
			if times != n+1 {
				t.Errorf("%s: the headers were read %d times in %d evaluations", source, times, n+1)
			}
		}
	}
}

// Loops over what the client chooses end at the limit of cost, and allocate for each step, not for all that there is at each.
func TestLoopsAllocateNothingPerStep(t *testing.T) {
	for _, source := range []string{
		`request.segments.exists(s, s in request.query)`, `request.segments.exists(s, request.path == s)`, `request.segments.exists(s, request.segments[0] != "a")`,
		`request.segments.exists(s, "x" in user.groups)`,
	} {
		p, err := compiler(t).Compile(source)
		if err != nil {
			t.Fatal(err)
		}
		in := input()
		in.Segments, in.Query = strings.Split(strings.Repeat("a/", 2000), "/"), strings.Repeat("b&", 2000)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = p.Holds(in) // true, false or over the limit of cost
		runtime.ReadMemStats(&after)
		if bytes := after.TotalAlloc - before.TotalAlloc; bytes > bytesOfALoop {
			t.Errorf("%s allocates %d bytes", source, bytes)
		}
	}
}

// A regular expression that comes with the request costs what its sender likes.
func TestRegularExpressionsAreLiteral(t *testing.T) {
	for _, source := range []string{
		`request.path.matches(request.headers["re"][0])`, `request.path.matches("a" + request.host)`, `matches(request.path, request.host)`,
		`user.groups.exists(g, request.path.matches(g))`, `"a".matches(user.claims.pattern)`,
	} {
		_, err := compiler(t).Compile(source)
		var problems condition.Problems
		if !errors.As(err, &problems) || !strings.Contains(problems[0].Message, "regular expression") {
			t.Errorf("%s: %v", source, err)
		}
	}
	if _, err := compiler(t).Compile(`request.path.matches("^/a/[0-9]+$")`); err != nil {
		t.Error(err)
	}
}
