//go:build e2e

package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const corsRules = `matches: [{path: {type: PathPrefix, value: PATH}METHOD}]
filters: [{type: CORS, cors: CORS}]`

func corsRule(name, method, cors, access string) string {
	if method != "" {
		method = ", method: " + method
	}
	return rule(name, strings.NewReplacer("PATH", "/"+name, "METHOD", method, "CORS}", cors+"}").Replace(corsRules), access)
}

// corsRow is one request and what a browser must see of the answer.
type corsRow struct {
	name, method, path string
	// origin, asked (Access-Control-Request-Method) and headers (Access-Control-Request-Headers); empty: not sent.
	origin, asked, headers string
	token                  bool
	status                 int
	// checks is how many proxies asked, arrived whether the application was reached.
	checks  int
	arrived bool
	// want are headers of the answer; "" for one that must not be there.
	want map[string]string
}

const (
	allowOrigin  = "Access-Control-Allow-Origin"
	allowMethods = "Access-Control-Allow-Methods"
	allowHeaders = "Access-Control-Allow-Headers"
	allowCreds   = "Access-Control-Allow-Credentials"
	expose       = "Access-Control-Expose-Headers"
	maxAge       = "Access-Control-Max-Age"
)

// manyOrigins are as many and as long as they may be: their expression must not be too large for Envoy.
func manyOrigins() []string {
	out := make([]string, 64)
	for i := range out {
		out[i] = fmt.Sprintf(`"https://*.%s.o%02d.test:8443"`, strings.Repeat("a-b.", 56)+"c", i)
	}
	return out
}

func corsRows() []corsRow {
	const app, evil = "https://app.test", "https://evil.test"
	none := map[string]string{allowOrigin: "", allowMethods: "", allowHeaders: "", allowCreds: "", expose: "", maxAge: ""}
	pre := func(name, path, origin string, status, checks int, want map[string]string) corsRow {
		return corsRow{name: name, method: "OPTIONS", path: path, origin: origin, asked: "PUT", headers: "authorization", status: status, checks: checks, want: want}
	}
	good := map[string]string{
		allowOrigin: app, allowMethods: "GET, PUT", allowHeaders: "authorization, x-a", allowCreds: "true", maxAge: "600",
	}
	rows := []corsRow{
		pre("preflight is answered without a Check", "/named", app, 200, 0, good),
		pre("preflight of another origin is an ordinary request", "/named", evil, 401, 1, none),
		{name: "OPTIONS without the method asked for is an ordinary request", method: "OPTIONS", path: "/named", origin: app, status: 401, checks: 1, want: map[string]string{allowOrigin: app}},
		{name: "OPTIONS without an origin is an ordinary request", method: "OPTIONS", path: "/named", asked: "PUT", status: 401, checks: 1, want: none},
		{name: "a denial carries the headers", method: "GET", path: "/named", origin: app, status: 401, checks: 1, want: map[string]string{
			allowOrigin: app, allowCreds: "true", expose: "x-b, www-authenticate", "Www-Authenticate": `Bearer realm="credence"`, "Vary": "origin",
		}},
		{name: "a denial of another origin carries none", method: "GET", path: "/named", origin: evil, status: 401, checks: 1, want: none},
		{name: "an answer has the policy's headers alone", method: "GET", path: "/named", origin: app, token: true, status: 200, checks: 2, arrived: true, want: map[string]string{
			allowOrigin: app, allowCreds: "true", expose: "x-b, www-authenticate", allowMethods: "", "X-B": "b",
		}},
		{name: "an answer to another origin has none, the application's neither", method: "GET", path: "/named", origin: evil, token: true, status: 200, checks: 2, arrived: true, want: none},
		{name: "without a filter the application's headers pass", method: "GET", path: "/plain", origin: evil, status: 200, checks: 2, arrived: true, want: map[string]string{allowOrigin: "*", expose: "x-app"}},
		{name: "without a filter a preflight is the application's", method: "OPTIONS", path: "/plain", origin: evil, asked: "PUT", status: 200, checks: 2, arrived: true, want: map[string]string{allowOrigin: "*"}},
		{name: "a rule for GET answers its preflight", method: "OPTIONS", path: "/get", origin: app, asked: "GET", status: 200, want: map[string]string{allowOrigin: app}},
		{name: "and no other method's", method: "OPTIONS", path: "/get", origin: app, asked: "PUT", status: 404, want: none},
		{name: "nor another origin's", method: "OPTIONS", path: "/get", origin: evil, asked: "GET", status: 404, want: none},
		{name: "nor a plain OPTIONS", method: "OPTIONS", path: "/get", origin: app, status: 404, want: none},
		{name: "any origin", method: "OPTIONS", path: "/any", origin: evil, asked: "GET", status: 200, want: map[string]string{allowOrigin: evil, allowCreds: "", maxAge: "5"}},
		{name: "any origin, null too", method: "GET", path: "/any", origin: "null", status: 200, checks: 2, arrived: true, want: map[string]string{allowOrigin: "null", expose: "*"}},
		{name: "any origin with credentials: no * goes out", method: "OPTIONS", path: "/creds", origin: evil, asked: "DELETE", headers: "x-q, x-r", status: 200, want: map[string]string{
			allowOrigin: evil, allowCreds: "true", allowMethods: "DELETE", allowHeaders: "x-q, x-r",
		}},
		{name: "any origin with credentials, no headers asked for", method: "OPTIONS", path: "/creds", origin: evil, asked: "DELETE", status: 200, want: map[string]string{allowOrigin: evil, allowHeaders: ""}},
		{name: "any origin with credentials: what is exposed", method: "GET", path: "/creds", origin: evil, status: 200, checks: 2, arrived: true, want: map[string]string{allowOrigin: evil, expose: "www-authenticate"}},
		{name: "null never with credentials", method: "GET", path: "/creds", origin: "null", status: 200, checks: 2, arrived: true, want: none},
		{name: "null never with credentials, preflight", method: "OPTIONS", path: "/creds", origin: "null", asked: "GET", status: 200, checks: 2, arrived: true, want: none},
		{name: "the origin * is no wildcard", method: "GET", path: "/named", origin: "*", status: 401, checks: 1, want: none},
		{name: "the origin * is no wildcard with credentials", method: "GET", path: "/creds", origin: "*", status: 200, checks: 2, arrived: true, want: none},
		{name: "a token without the scope: 403 has the headers", method: "GET", path: "/scope", origin: app, token: true, status: 403, checks: 1, want: map[string]string{
			allowOrigin: app, "Www-Authenticate": `Bearer realm="credence", error="insufficient_scope", scope="write", error_description="the token lacks a scope: write"`, expose: "www-authenticate",
		}},
		{name: "nobody can tell: 503 has the headers", method: "GET", path: "/unknown", origin: app, token: true, status: 503, checks: 1, want: map[string]string{allowOrigin: app}},
		{name: "the last of many origins", method: "OPTIONS", path: "/many", origin: "https://x." + strings.Repeat("a-b.", 56) + "c.o63.test:8443", asked: "POST", status: 200, want: map[string]string{allowMethods: ""}},
		{name: "a route that leads nowhere", method: "GET", path: "/nobody", origin: app, status: 500, checks: 1, want: map[string]string{allowOrigin: app, expose: "www-authenticate"}},
	}
	for origin, allowed := range map[string]bool{
		"http://localhost:3000": true, "http://localhost": false, "http://localhost:30000": false, "https://localhost:3000": false,
		"https://a.wild.test": true, "https://a.b.wild.test": true, "https://wild.test": false, "http://a.wild.test": false,
		"https://a.wild.test:8443": false, "https://a.port.test:8443": true, "https://a.port.test": false,
		"https://app.test.evil": false, "https://app.test.": false, "https://xapp.test": false, "https://appxtest": false, "https://app.test:444": false,
		"https://a.wild.test.evil": false, "https://evil.test/.wild.test": false, "https://a.wildxtest": false, "https://.wild.test": false,
		"https://app.test,https://evil.test": false, "https://evil.test, https://app.test": false, "https://app.test@evil.test": false,
		"http://any.where:81": true, "http://any.where": false, "http://[2001:db8::1]:81": true, "http://:81": false,
	} {
		r := corsRow{name: "origin " + origin, method: "OPTIONS", path: "/named", origin: origin, asked: "GET", status: 401, checks: 1, want: none}
		if allowed {
			r.status, r.checks, r.want = 200, 0, map[string]string{allowOrigin: origin}
		}
		rows = append(rows, r)
	}
	return rows
}

// TestCORS: the CORS filter by the words of Gateway API, through gateway and sidecar.
func TestCORS(t *testing.T) {
	t.Parallel()
	m := startApp(t, join(
		corsRule("named", "", `{allowOrigins: ["https://App.test:443", "http://localhost:3000", "https://*.wild.test", "https://*.port.test:8443", "http://*:81"], allowMethods: [GET, PUT], allowHeaders: [Authorization, X-A], exposeHeaders: [X-B], allowCredentials: true, maxAge: 600}`, "token"),
		corsRule("get", "GET", `{allowOrigins: ["https://app.test"]}`, "token"),
		corsRule("any", "", `{allowOrigins: ["*"], exposeHeaders: ["*"]}`, "public"),
		corsRule("creds", "", `{allowOrigins: ["*"], allowMethods: ["*"], allowHeaders: ["*"], exposeHeaders: ["*"], allowCredentials: true}`, "public"),
		strings.Replace(corsRule("scope", "", `{allowOrigins: ["https://app.test"]}`, "token"), "[read]", "[write]", 1),
		strings.Replace(corsRule("unknown", "", `{allowOrigins: ["https://app.test"]}`, "token"), "[dev]", "[gone]", 1),
		corsRule("many", "POST", "{allowOrigins: ["+strings.Join(manyOrigins(), ", ")+"]}", "public"),
		rule("plain", "matches: [{path: {type: PathPrefix, value: /plain}}]", "public"),
		strings.Replace(corsRule("nobody", "", `{allowOrigins: ["https://app.test"]}`, "public"), "backendRefs: [{group: credence.mesh, kind: Workload, name: app, port: APP}]", "name: nobody", 1),
	), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(allowOrigin, "*")
		w.Header().Set(expose, "x-app")
		w.Header().Set("X-B", "b")
	}))
	token := m.Token(audience, "read")
	for _, r := range corsRows() {
		t.Run(r.name, func(t *testing.T) {
			header := map[string]string{"Origin": r.origin, "Access-Control-Request-Method": r.asked, "Access-Control-Request-Headers": r.headers}
			if r.token {
				header["Authorization"] = "Bearer " + token
			}
			for name, value := range header {
				if value == "" {
					delete(header, name)
				}
			}
			before, log := m.arrived.Load(), len(m.Log())
			res, body := m.do(t, r.method, r.path, header, nil)
			if arrived := m.arrived.Load() > before; res.StatusCode != r.status || m.checks(log) != r.checks || arrived != r.arrived {
				t.Errorf("status %d after %d checks, arrived %t; want %d, %d, %t: %s", res.StatusCode, m.checks(log), arrived, r.status, r.checks, r.arrived, body)
			}
			for name, want := range r.want {
				if got := strings.Join(res.Header.Values(name), ","); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

// TestCORSEdit: a filter comes and goes with an edit, and the proxies take each.
func TestCORSEdit(t *testing.T) {
	t.Parallel()
	const public = "matches: [{path: {type: PathPrefix, value: /a}, method: GET}]"
	m := startApp(t, rule("a", public, "public"), http.NotFoundHandler())
	preflight := map[string]string{"Origin": "https://app.test", "Access-Control-Request-Method": "GET"}
	edit := func(filters string, status int) {
		t.Helper()
		m.Edit("routes.yaml", strings.ReplaceAll(rule("a", public+filters, "public"), "APP", fmt.Sprint(m.port)))
		m.Await("the filter", func() string {
			res, _ := m.do(t, http.MethodOptions, "/a", preflight, nil)
			if res.StatusCode != status {
				return res.Status
			}
			return ""
		})
	}
	for range 2 {
		edit("\nfilters: [{type: CORS, cors: {allowOrigins: [\"https://app.test\"]}}]", 200)
		edit("", 404)
	}
	if why := m.Status().NotReady; len(why) > 0 {
		t.Errorf("not ready: %v", why)
	}
	if strings.Contains(m.Log(), "refused configuration") {
		t.Error("a proxy has refused an edit")
	}
}
