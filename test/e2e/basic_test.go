//go:build e2e

package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/credence-mesh/credence/internal/testenv"
	"github.com/credence-mesh/credence/internal/testport"
)

// users of an htpasswd file behind a gateway: /user wants one, /optional takes one. The application answers with the headers that it got.
type passwordSite struct {
	*site
	env *testenv.Env
	// file is the htpasswd file.
	file string
}

func newPasswordSite(t *testing.T, htpasswd string) *passwordSite {
	t.Helper()
	s := newSite(t)
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, values := range r.Header {
			_, _ = fmt.Fprintf(w, "%s: %s\n", strings.ToLower(name), strings.Join(values, ","))
		}
		_, _ = io.WriteString(w, "served")
	}))
	t.Cleanup(echo.Close)
	ports := testport.Free(t, 2)
	s.workloads["echo"] = workload{port: echo.Listener.Addr().(*net.TCPAddr).Port, inbound: ports[0], outbound: ports[1], path: "/nowhere/echo"}
	p := &passwordSite{site: s, file: filepath.Join(t.TempDir(), "staff.htpasswd")}
	testenv.Replace(t, p.file, htpasswd)
	m := s.manifests(p.passwordRoute("user", "people", ""), p.passwordRoute("optional", "people", ", authentication: [anonymous]"))
	m["people.yaml"] = credentialsOf("people", p.file)
	p.env = testenv.Start(t, testenv.Options{Manifests: m})
	return p
}

func credentialsOf(name, file string) string {
	return fmt.Sprintf("apiVersion: credence.mesh/v1alpha1\nkind: Credentials\nmetadata: {name: %s}\nspec: {basic: {realm: Staff, htpasswd: {file: %q, scopes: [read]}}}\n", name, file)
}

func (p *passwordSite) passwordRoute(name, credentials, rule string) string {
	return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %[1]s}
spec:
  parentRefs: [{name: edge, sectionName: plain}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /%[1]s}}]
    backendRefs: [{group: credence.mesh, kind: Workload, name: echo, port: %[2]d}]
---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: %[1]s}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: %[1]s}]
  authentication: {basic: [%[3]s]}
  rules: [{name: who%[4]s}]
`, name, p.workloads["echo"].port, credentials, rule)
}

// ask has the status and the body of GET path, as curl -u does it; user "": without credentials.
func (p *passwordSite) ask(t *testing.T, path, user, password string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.frontAddr()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	resp, err := (&http.Client{Timeout: 15 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode, resp.Header, string(body)
}

func (p *passwordSite) expect(t *testing.T, want int, path, user, password string) {
	t.Helper()
	if status, _, body := p.ask(t, path, user, password); status != want || strings.HasSuffix(body, "served") != (want == 200) {
		t.Errorf("%s of %q: %d %q, want %d", path, user, status, body, want)
	}
}

// counter reads a counter of /metrics.
func (p *passwordSite) counter(t *testing.T, name string) int {
	t.Helper()
	reply, err := testenv.Get(t.Context(), testenv.Request{Addr: p.env.Endpoints().Admin, Host: p.env.Endpoints().Admin, Path: "/metrics"})
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(reply.Body) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(n)
		}
	}
	t.Fatalf("no %s in /metrics", name)
	return 0
}

func htpasswdLine(t *testing.T, user, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return user + ":$2y$" + strings.TrimPrefix(string(h), "$2a$") + "\r\n"
}

// Names and passwords of an htpasswd file on real Envoy; what is wrong is refused alike, also where nobody needs to be a user, and the
// service never sees the password.
func TestBasicPasswords(t *testing.T) {
	t.Parallel()
	p := newPasswordSite(t, "\ufeff# staff\r\n\r\n"+htpasswdLine(t, "alice", "correct horse")+htpasswdLine(t, "zoë", "grün:1"))
	for _, path := range []string{"/user", "/optional"} {
		p.expect(t, 200, path, "alice", "correct horse")
		p.expect(t, 200, path, "zoë", "grün:1")
		p.expect(t, 401, path, "alice", "wrong")
		p.expect(t, 401, path, "mallory", "correct horse")
		p.expect(t, 401, path, "zoë", "grün")
		p.expect(t, 401, path, "alice", "correct horse\x00")
	}
	p.expect(t, 401, "/user", "", "")
	p.expect(t, 200, "/optional", "", "")
	_, _, served := p.ask(t, "/user", "alice", "correct horse")
	if strings.Contains(served, "authorization") {
		t.Errorf("the service got the password:\n%s", served)
	}
	_, wrong, body1 := p.ask(t, "/user", "alice", "wrong")
	_, unknown, body2 := p.ask(t, "/user", "mallory", "wrong")
	for _, h := range []http.Header{wrong, unknown} {
		if got := h.Get("WWW-Authenticate"); got != `Basic realm="Staff", charset="UTF-8"` {
			t.Errorf("challenge %q", got)
		}
	}
	if len(body1) != len(body2) {
		t.Errorf("the answers tell names apart:\n%s\n%s", body1, body2)
	}
	for line := range strings.Lines(p.env.Log()) {
		if strings.Contains(line, "correct horse") || strings.Contains(line, "Basic ") {
			t.Errorf("the log has a credential: %s", line)
		}
	}
}

// bcrypt looks at 72 bytes: a password that only begins like the right one must not pass.
func TestBasic72Bytes(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 72)
	p := newPasswordSite(t, htpasswdLine(t, "alice", long))
	p.expect(t, 200, "/user", "alice", long)
	p.expect(t, 401, "/user", "alice", long+"y")
	p.expect(t, 401, "/optional", "alice", long+long)
	p.expect(t, 401, "/user", "alice", long[1:])
}

// Every weak form is refused with file and line, and nobody of that file gets in: not the user of the good line, not by the weak one.
func TestBasicWeakHtpasswd(t *testing.T) {
	t.Parallel()
	p := newPasswordSite(t, htpasswdLine(t, "alice", "pw"))
	weak := map[string]string{
		"plain": "bob:password", "sha": "bob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "apr1": "bob:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/",
		"md5": "bob:$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/", "sha256": "bob:$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8",
		"sha512": "bob:$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO/O817G3uBnIFNjnQJuesI68OTLiBFdcbYEdFCoEOfaS35inz1", "crypt": "bob:rl.3StKT.4T8M",
	}
	var all bytes.Buffer
	for name, line := range weak {
		file := filepath.Join(filepath.Dir(p.file), name)
		testenv.Replace(t, file, "# "+name+"\n"+htpasswdLine(t, "alice", "pw")+line+"\n")
		all.WriteString(credentialsOf(name, file) + "---\n" + p.passwordRoute("weak-"+name, name, "") + "---\n" +
			p.passwordRoute("weak-optional-"+name, name, ", authentication: [anonymous]") + "---\n")
	}
	p.env.Edit("weak.yaml", all.String())
	for name := range weak {
		t.Run(name, func(t *testing.T) {
			p.env.Await("the route", func() string {
				if status, _, _ := p.ask(t, "/weak-"+name, "", ""); status == 404 {
					return "404"
				}
				return ""
			})
			for _, path := range []string{"/weak-" + name, "/weak-optional-" + name} {
				p.expect(t, 503, path, "alice", "pw")
				p.expect(t, 503, path, "bob", "password")
			}
			p.expect(t, 401, "/weak-"+name, "", "")
			want := filepath.Join(filepath.Dir(p.file), name) + ":3: "
			if !strings.Contains(strings.Join(p.env.Status().Degraded, "\n"), want) {
				t.Errorf("status does not name %s: %q", want, p.env.Status().Degraded)
			}
		})
	}
	p.expect(t, 200, "/user", "alice", "pw")
}

// An edit of the file takes effect while all runs, also for passwords that were good a moment ago; a bad one changes nothing but the status.
func TestBasicEditedHtpasswd(t *testing.T) {
	t.Parallel()
	p := newPasswordSite(t, htpasswdLine(t, "alice", "old")+htpasswdLine(t, "bob", "pw"))
	p.expect(t, 200, "/user", "alice", "old")
	p.expect(t, 200, "/user", "bob", "pw")
	began := time.Now()
	testenv.Replace(t, p.file, htpasswdLine(t, "alice", "new"))
	p.env.Await("the edit", func() string {
		if status, _, _ := p.ask(t, "/user", "alice", "old"); status != 401 {
			return fmt.Sprint(status)
		}
		return ""
	})
	t.Logf("in force after %s", time.Since(began).Round(time.Millisecond))
	p.expect(t, 200, "/user", "alice", "new")
	p.expect(t, 401, "/user", "bob", "pw")
	if err := os.WriteFile(p.file, []byte("alice:new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.env.Await("the complaint", func() string {
		if d := strings.Join(p.env.Status().Degraded, "\n"); !strings.Contains(d, p.file+":1: ") {
			return d
		}
		return ""
	})
	p.expect(t, 200, "/user", "alice", "new")
	testenv.Replace(t, p.file, htpasswdLine(t, "alice", "newer"))
	p.env.Await("the mended file", func() string {
		if status, _, _ := p.ask(t, "/user", "alice", "newer"); status != 200 || len(p.env.Status().Degraded) > 0 {
			return fmt.Sprint(status, p.env.Status().Degraded)
		}
		return ""
	})
}

// A flood of wrong passwords is hashed ten times per name, and a user who is known goes on: hashes are counted, not time.
func TestBasicFlood(t *testing.T) {
	t.Parallel()
	p := newPasswordSite(t, htpasswdLine(t, "alice", "pw")+htpasswdLine(t, "bob", "pw")+htpasswdLine(t, "carol", "pw"))
	p.expect(t, 200, "/user", "bob", "pw")
	before := p.counter(t, "credence_basic_hashes_total")
	const flood = 200
	var mu sync.Mutex
	got := map[int]int{}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range flood / 8 {
				name := []string{"alice", "mallory"}[i%2]
				status, _, _ := p.ask(t, "/user", name, fmt.Sprintf("guess %d of %d", i, worker))
				mu.Lock()
				got[status]++
				mu.Unlock()
			}
		})
	}
	for range 100 {
		p.expect(t, 200, "/user", "bob", "pw")
	}
	wg.Wait()
	hashes := p.counter(t, "credence_basic_hashes_total") - before
	// Ten for each of two names, and one more of each in six seconds.
	if hashes < 20 || hashes > 40 || got[429] < flood-40 || got[401]+got[429] != flood {
		t.Errorf("%d hashes, answers %v", hashes, got)
	}
	t.Logf("%d wrong passwords: %d hashes, answers %v", flood, hashes, got)
	p.expect(t, 200, "/user", "carol", "pw")
	if n := p.counter(t, `credence_basic_not_hashed_total{reason="limited"}`); n < flood-40 {
		t.Errorf("%d are counted as limited", n)
	}
}
