package route_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/route"
)

func name(s string) policy.Name { return policy.Name{Namespace: "default", Name: s} }

func access(policies ...string) policy.Access {
	l := policy.Level{Kind: policy.RouteLevel}
	for _, p := range policies {
		l.Policies = append(l.Policies, name(p))
	}
	return policy.Access{Levels: []policy.Level{l}}
}

// exact and prefix are routes with an access of their own.
func exact(id, path string) policy.Route {
	return policy.Route{ID: policy.RouteID(id), Match: policy.RouteMatch{PathKind: policy.PathExact, Path: path}, Access: access(id)}
}

func prefix(id, path string) policy.Route {
	return policy.Route{ID: policy.RouteID(id), Match: policy.RouteMatch{PathKind: policy.PathPrefix, Path: path}, Access: access(id)}
}

func with(r policy.Route, change func(*policy.Route)) policy.Route {
	change(&r)
	return r
}

func vhost(host string, routes ...policy.Route) policy.VirtualHost {
	return policy.VirtualHost{Host: host, Routes: routes}
}

func section(name, hostname string, hosts ...policy.VirtualHost) policy.Section {
	return policy.Section{Name: name, Hostname: hostname, VirtualHosts: hosts}
}

func listener(port uint16, sections ...policy.Section) policy.Listener {
	return policy.Listener{Address: "127.0.0.1", Port: port, Protocol: policy.HTTP, Sections: sections}
}

func table(listeners ...policy.Listener) *route.Table {
	return route.New(&policy.Gateway{Name: name("edge"), Listeners: listeners})
}

// get is a request "METHOD host/path?query", with headers "name: value".
func get(text string, headers ...string) *route.Request {
	method, rest, _ := strings.Cut(text, " ")
	target, query, _ := strings.Cut(rest, "?")
	host, path, _ := strings.Cut(target, "/")
	return &route.Request{Method: method, Host: host, Path: "/" + path, Query: query, Header: func(name string) (values []string, joined bool) {
		for _, h := range headers {
			if key, value, _ := strings.Cut(h, ": "); key == name {
				values = append(values, value)
			}
		}
		return values, false
	}}
}

type answer struct {
	ID      policy.RouteID
	Outcome route.Outcome
}

func find(t *route.Table, r *route.Request) answer {
	found, outcome := t.Find(r)
	if found == nil {
		return answer{"", outcome}
	}
	return answer{found.ID, outcome}
}

func TestHostIsTheMostSpecific(t *testing.T) {
	tb := table(listener(80,
		section("any", "", vhost("*", prefix("any", "/")), vhost("*.test", prefix("test", "/"))),
		section("a", "*.a.test", vhost("*.a.test", prefix("wild", "/")), vhost("x.a.test", prefix("exact", "/x"))),
		section("empty", "b.test"),
	))
	for _, c := range []struct {
		host string
		want answer
	}{
		{"x.a.test", answer{"", route.NoRoute}},
		{"y.a.test", answer{"wild", route.Found}},
		{"z.y.a.test", answer{"wild", route.Found}},
		{"a.test", answer{"test", route.Found}},
		{"b.test", answer{"", route.NoRoute}},
		{"c.b.test", answer{"test", route.Found}},
		{"test", answer{"any", route.Found}},
		{"other", answer{"any", route.Found}},
		{"[::1]", answer{"any", route.Found}},
		{"xa.test", answer{"test", route.Found}},
	} {
		if got := find(tb, get("GET "+c.host+"/")); got != c.want {
			t.Errorf("%s: %v, want %v", c.host, got, c.want)
		}
	}
	if got := find(tb, get("GET x.a.test/x/y")); got != (answer{"exact", route.Found}) {
		t.Errorf("x.a.test/x/y: %v", got)
	}
}

func TestPaths(t *testing.T) {
	tb := table(listener(80, section("a", "", vhost("*",
		exact("exact", "/a"), prefix("at", "/a@b"), exact("slash", "/s/"), prefix("space", "/a b"), prefix("kept", "/a%2Fb"),
		with(exact("regex", ""), func(r *policy.Route) { r.Match.PathKind, r.Match.Path = policy.PathRegex, "/r|/r/x.*" }),
		prefix("prefix", "/a"), prefix("escaped", "/%C3%A9"),
	))))
	for _, c := range []struct {
		path string
		want answer
	}{
		{"a", answer{"exact", route.Found}},
		{"a/", answer{"prefix", route.Found}},
		{"a/b", answer{"prefix", route.Found}},
		{"ab", answer{"", route.NoRoute}},
		{"a@b/c", answer{"at", route.Found}},
		{"a@bc", answer{"", route.NoRoute}},
		{"s/", answer{"slash", route.Found}},
		{"s", answer{"", route.NoRoute}},
		{"a%20b", answer{"space", route.Found}},
		{"a%2fb/c", answer{"kept", route.Found}},
		{"a+b", answer{"", route.NoRoute}},
		{"r", answer{"regex", route.Found}},
		{"r/xy", answer{"regex", route.Found}},
		{"rr", answer{"", route.NoRoute}},
		{"x/r", answer{"", route.NoRoute}},
		{"%c3%a9", answer{"escaped", route.Found}},
		{"", answer{"", route.NoRoute}},
	} {
		if got := find(tb, get("GET h.test/"+c.path)); got != c.want {
			t.Errorf("/%s: %v, want %v", c.path, got, c.want)
		}
	}
}

func TestMethodHeadersAndQuery(t *testing.T) {
	value := func(n, v string) []policy.NameValue { return []policy.NameValue{{Name: n, Value: v}} }
	tb := table(listener(80, section("a", "", vhost("*",
		with(prefix("method", "/"), func(r *policy.Route) { r.Match.Method = "POST" }),
		with(prefix("header", "/"), func(r *policy.Route) { r.Match.Headers = value("x-v", "1") }),
		with(prefix("headers", "/"), func(r *policy.Route) { r.Match.HeaderRegex = value("x-w", "a.|b") }),
		with(prefix("host", "/"), func(r *policy.Route) { r.Match.Headers = value("host", "h.test:80") }),
		with(prefix("query", "/"), func(r *policy.Route) { r.Match.Query = value("q", "a b&") }),
		with(prefix("queries", "/"), func(r *policy.Route) { r.Match.QueryRegex = value("q", "[0-9]+") }),
	))))
	for _, c := range []struct {
		text    string
		headers []string
		want    policy.RouteID
	}{
		{"POST h/", nil, "method"},
		{"post h/", nil, ""},
		{"GET h/", []string{"x-v: 1"}, "header"},
		{"GET h/", []string{"x-v: 1 "}, ""},
		{"GET h/", []string{"x-w: a\xc3"}, "headers"},
		{"GET h/", []string{"x-w: aa"}, "headers"},
		{"GET h/", []string{"x-w: cb"}, ""},
		{"GET h/", []string{"host: h.test:80"}, "host"},
		{"GET h/?q=a+b%26", nil, "query"},
		{"GET h/?q=a%20b%26&q=1", nil, "query"},
		{"GET h/?q=x&q=a+b%26", nil, ""},
		{"GET h/?Q=a+b%26", nil, ""},
		{"GET h/?x&q=12", nil, "queries"},
		{"GET h/?q=12a", nil, ""},
		{"GET h/?q", nil, ""},
		{"GET h/?%71=12", nil, ""},
	} {
		if got := find(tb, get(c.text, c.headers...)); got.ID != c.want {
			t.Errorf("%s %q: %v, want %q", c.text, c.headers, got, c.want)
		}
	}
}

// TestReadingsThatDiffer: where another control plane's proxy, or an older Envoy, would take another route with other access, nobody
// can tell which rules hold.
func TestReadingsThatDiffer(t *testing.T) {
	same := func(r policy.Route) policy.Route { r.Access = access("same"); return r }
	header := func(id, v string) policy.Route {
		return with(prefix(id, "/h"), func(r *policy.Route) { r.Match.Headers = []policy.NameValue{{Name: "x-v", Value: v}} })
	}
	for _, c := range []struct {
		what   string
		routes []policy.Route
		req    *route.Request
		want   answer
	}{
		{"as written", []policy.Route{exact("at", "/a@b"), prefix("all", "/")}, get("GET h/a@b"), answer{"at", route.Found}},
		{"another spelling", []policy.Route{exact("at", "/a@b"), prefix("all", "/")}, get("GET h/a%40b"), answer{"", route.Ambiguous}},
		{"with the same access", []policy.Route{same(exact("at", "/a@b")), same(prefix("all", "/"))}, get("GET h/a%40b"), answer{"at", route.Found}},
		{"and no other route", []policy.Route{exact("at", "/a@b")}, get("GET h/a%40b"), answer{"at", route.Found}},
		{"one value", []policy.Route{header("one", "1"), prefix("all", "/")}, get("GET h/h", "x-v: 1"), answer{"one", route.Found}},
		{"two values", []policy.Route{header("one", "1"), prefix("all", "/")}, get("GET h/h", "x-v: 1", "x-v: 2"), answer{"", route.Ambiguous}},
		{"two values, no route for the first", []policy.Route{header("one", "1,2"), prefix("all", "/")}, get("GET h/h", "x-v: 1", "x-v: 2"), answer{"", route.Ambiguous}},
		{"two values, none matters", []policy.Route{header("one", "3"), prefix("all", "/")}, get("GET h/h", "x-v: 1", "x-v: 2"), answer{"all", route.Found}},
	} {
		if got := find(table(listener(80, section("a", "", vhost("*", c.routes...)))), c.req); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

// TestReadingsMix: each of two things that read two ways may be read in either way.
func TestReadingsMix(t *testing.T) {
	at := exact("at", "/a@b")
	one := with(prefix("one", "/"), func(r *policy.Route) { r.Match.Headers = []policy.NameValue{{Name: "x-v", Value: "1"}} })
	one.Access = at.Access
	tb := table(listener(80, section("a", "", vhost("*", at, one, prefix("all", "/")))))
	if got := find(tb, get("GET h/a%40b", "x-v: 1", "x-v: 2")); got != (answer{"", route.Ambiguous}) {
		t.Errorf("byte by byte and joined it is the third: %v", got)
	}
}

// TestHeadersThatSomebodyJoined: which commas part two values cannot be told, so every run of parts may have been one.
func TestHeadersThatSomebodyJoined(t *testing.T) {
	value := func(id string, v policy.NameValue) policy.Route {
		return with(prefix(id, "/"), func(r *policy.Route) { r.Match.Headers = []policy.NameValue{v} })
	}
	regex := func(id string, v policy.NameValue) policy.Route {
		return with(prefix(id, "/"), func(r *policy.Route) { r.Match.HeaderRegex = []policy.NameValue{v} })
	}
	tb := table(listener(80, section("a", "", vhost("*",
		value("two", policy.NameValue{Name: "x-two", Value: "a,b"}), value("one", policy.NameValue{Name: "x-one", Value: "a"}),
		regex("run", policy.NameValue{Name: "x-run", Value: "a.*b"}), regex("dot", policy.NameValue{Name: "x-dot", Value: ".*x.*|y"}),
		regex("any", policy.NameValue{Name: "x-any", Value: ".*"}), prefix("all", "/")))))
	ambiguous := answer{"", route.Ambiguous}
	for _, c := range []struct {
		name, value string
		want        answer
	}{
		{"x-two", "a,b", ambiguous},
		{"x-two", "a,b,c", ambiguous},
		{"x-two", "c,a,b", ambiguous},
		{"x-two", "a", answer{"all", route.Found}},
		{"x-two", "a,c,b", answer{"all", route.Found}},
		{"x-two", "ca,b", answer{"all", route.Found}},
		{"x-one", "a", answer{"one", route.Found}},
		{"x-one", "a,b", ambiguous},
		{"x-one", "b", answer{"all", route.Found}},
		{"x-run", "ab", answer{"run", route.Found}},
		{"x-run", "a,b", ambiguous},
		{"x-run", "c,a,b,c", ambiguous},
		{"x-run", "c,b", answer{"all", route.Found}},
		{"x-dot", "x", answer{"dot", route.Found}},
		{"x-dot", "x,y", answer{"dot", route.Found}},
		{"x-dot", "x,z", answer{"dot", route.Found}},
		{"x-dot", "y,y", ambiguous},
		{"x-any", "a,b,c", answer{"any", route.Found}},
		{"x-any", strings.Repeat(",", 60000), ambiguous},
		{"x-dot", strings.Repeat("z", 60000), ambiguous},
	} {
		r := get("GET h/")
		r.Header = func(name string) ([]string, bool) {
			if name != c.name {
				return nil, false
			}
			return []string{c.value}, true
		}
		if got := find(tb, r); got != c.want {
			t.Errorf("%s: %.40s: %v, want %v", c.name, c.value, got, c.want)
		}
	}
}

// TestSectionsOfHTTPS: SNI leads a connection to a section, and a client may ask there for a host of another one.
func TestSectionsOfHTTPS(t *testing.T) {
	https := func(sections ...policy.Section) policy.Listener {
		l := listener(443, sections...)
		l.Protocol = policy.HTTPS
		return l
	}
	wide := section("wide", "*.test", vhost("*.test", prefix("wide", "/"), exact("never", "/x")))
	elsewhere := section("wide", "*.test", vhost("a.test", prefix("a", "/")))
	some := section("wide", "*.test", vhost("*.test", exact("some", "/some")))
	b := section("b", "b.test", vhost("b.test", prefix("b", "/")))
	same := section("b", "b.test", vhost("b.test", with(prefix("b", "/"), func(r *policy.Route) { r.Access = access("wide") })))
	in := func(r *route.Request, section string) *route.Request { r.Section = section; return r }
	for _, c := range []struct {
		what  string
		table *route.Table
		req   *route.Request
		want  answer
	}{
		{"a wider section has a route too", table(https(wide, b)), get("GET b.test/"), answer{"", route.Ambiguous}},
		{"of the same access", table(https(wide, same)), get("GET b.test/"), answer{"b", route.Found}},
		{"and the section is named", table(https(wide, b)), in(get("GET b.test/"), "b"), answer{"b", route.Found}},
		{"and the other one is named", table(https(wide, b)), in(get("GET b.test/"), "wide"), answer{"", route.NoHost}},
		{"a host of the wider one", table(https(wide, b)), get("GET c.test/"), answer{"wide", route.Found}},
		{"none for this host", table(https(elsewhere, b)), get("GET b.test/"), answer{"b", route.Found}},
		{"none for this path", table(https(some, b)), get("GET b.test/"), answer{"b", route.Found}},
		{"one for this path", table(https(some, b)), get("GET b.test/some"), answer{"", route.Ambiguous}},
		{"in clear text there is no SNI", table(listener(80, wide, b)), get("GET b.test/"), answer{"b", route.Found}},
	} {
		if got := find(c.table, c.req); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

// TestListenersMustAgree: a Check does not say by which listener a request came in.
func TestListenersMustAgree(t *testing.T) {
	shop := vhost("shop.test", prefix("clear", "/"))
	tls := vhost("shop.test", prefix("tls", "/"))
	tls.Routes[0].Access = shop.Routes[0].Access
	redirect := vhost("shop.test", prefix("redirect", "/"))
	some := vhost("shop.test", exact("some", "/some"))
	admin := section("admin", "admin.test", vhost("admin.test", prefix("admin", "/")))
	in := func(r *route.Request, section string) *route.Request { r.Section = section; return r }
	for _, c := range []struct {
		what  string
		table *route.Table
		req   *route.Request
		want  answer
	}{
		{"same access", table(listener(80, section("http", "", shop)), listener(443, section("https", "", tls))), get("GET shop.test/"), answer{"clear", route.Found}},
		{"other access", table(listener(80, section("http", "", redirect)), listener(443, section("https", "", tls))), get("GET shop.test/"), answer{"", route.Ambiguous}},
		{"other access, but named", table(listener(80, section("http", "", redirect)), listener(443, section("https", "", tls))), in(get("GET shop.test/"), "https"), answer{"tls", route.Found}},
		{"a route on one alone", table(listener(80, section("http", "", some)), listener(443, section("https", "", tls))), get("GET shop.test/x"), answer{"", route.Ambiguous}},
		{"on none", table(listener(80, section("http", "", some)), listener(443, section("https", "", some))), get("GET shop.test/x"), answer{"", route.NoRoute}},
		{"the host on one alone", table(listener(80, section("http", "", shop)), listener(81, admin)), get("GET shop.test/"), answer{"clear", route.Found}},
		{"the host on the other", table(listener(80, section("http", "", shop)), listener(81, admin)), get("GET admin.test/"), answer{"admin", route.Found}},
		{"another host at the named one", table(listener(80, section("http", "", shop)), listener(81, admin)), in(get("GET shop.test/"), "admin"), answer{"", route.NoHost}},
		{"a listener that is not there", table(listener(80, section("http", "", shop))), in(get("GET shop.test/"), "https"), answer{"", route.NoSection}},
		{"no host", table(listener(81, admin)), get("GET shop.test/"), answer{"", route.NoHost}},
		{"no listener", table(), get("GET shop.test/"), answer{"", route.NoHost}},
		{"no table", nil, get("GET shop.test/"), answer{"", route.NoHost}},
	} {
		if got := find(c.table, c.req); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

// TestMatchesThatAreNone: a Set that compile has not made must not let requests fall to a wider route.
func TestMatchesThatAreNone(t *testing.T) {
	for what, broken := range map[string]policy.RouteMatch{
		"kind":  {Path: "/b"},
		"path":  {PathKind: policy.PathRegex, Path: "/b("},
		"group": {PathKind: policy.PathRegex, Path: "/b)|(/c"},
		"value": {PathKind: policy.PathExact, Path: "/b", HeaderRegex: []policy.NameValue{{Name: "x", Value: "["}}},
		"query": {PathKind: policy.PathExact, Path: "/b", QueryRegex: []policy.NameValue{{Name: "x", Value: "[z-a]"}}},
	} {
		tb := table(listener(80, section("a", "", vhost("*", exact("a", "/a"), policy.Route{ID: "broken", Match: broken}, prefix("all", "/")))))
		got := []answer{find(tb, get("GET h/a")), find(tb, get("GET h/b")), find(tb, get("GET h/c"))}
		want := []answer{{"a", route.Found}, {"", route.Ambiguous}, {"", route.Ambiguous}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	var routes []policy.Route
	for i := range 200 {
		routes = append(routes, prefix(fmt.Sprint("r", i), fmt.Sprintf("/service-%d", i)))
	}
	tb := table(listener(80, section("a", "", vhost("*.a.test", routes...))))
	r := get("GET shop.a.test/service-199/x?y=1")
	for b.Loop() {
		if _, outcome := tb.Find(r); outcome != route.Found {
			b.Fatal(outcome)
		}
	}
}
