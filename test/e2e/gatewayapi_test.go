//go:build e2e

package e2e_test

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/credence-mesh/credence/internal/testenv"
	"github.com/credence-mesh/credence/internal/testport"
)

// apiMesh is the mesh of testdata/gatewayapi on the real Envoy.
type apiMesh struct {
	*testenv.Env
	upstreams *recorder
	ports     map[string]int
}

// startMesh runs the manifests of a directory below testdata, with free ports for PORT_<name>, and an upstream behind each of names.
func startMesh(t *testing.T, dir string, names ...string) *apiMesh {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests in %s: %v", dir, err)
	}
	free, ports := testport.Free(t, 24), map[string]int{}
	manifests := map[string]string{}
	for _, f := range files {
		body, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		manifests[filepath.Base(f)] = regexp.MustCompile(`PORT_[A-Z_]*[A-Z]`).ReplaceAllStringFunc(string(body), func(p string) string {
			p = strings.TrimPrefix(p, "PORT_")
			if ports[p] == 0 {
				ports[p], free = free[0], free[1:]
			}
			return fmt.Sprint(ports[p])
		})
	}
	upstreams := map[string]int{}
	for _, n := range names {
		upstreams[strings.ToLower(n)] = ports[n]
	}
	m := &apiMesh{upstreams: newRecorder(t, upstreams), ports: ports}
	m.Env = testenv.Start(t, testenv.Options{Manifests: manifests})
	return m
}

func (m *apiMesh) addr(listener string) string { return fmt.Sprintf("127.0.0.1:%d", m.ports[listener]) }

// apiRow is one request and what must become of it.
type apiRow struct {
	name string
	// to is "METHOD host target"; further header lines follow it, each after a newline.
	to string
	// on is the listener's port (SHARED where empty); sni is for SECURE.
	on, sni string
	// want is the HTTPRoute that answered, or the status where none did.
	want string
	// seen, where it is set, is "host target" as the upstream got them, or the Location of a redirect.
	seen string
	// status where a route answered; 0: 200.
	status int
}

func (r apiRow) send(t *testing.T, m *apiMesh) reply {
	t.Helper()
	head, lines, _ := strings.Cut(r.to, "\n")
	f := strings.Fields(head)
	if len(f) != 3 {
		t.Fatalf("%q is no request", head)
	}
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n", f[0], f[2], f[1])
	for l := range strings.SplitSeq(lines, "\n") {
		if l != "" {
			text += l + "\r\n"
		}
	}
	on, sni := r.on, "-"
	if on == "" {
		on = "SHARED"
	}
	if on == "SECURE" {
		sni = r.sni
	}
	m.upstreams.take()
	got, err := send(t.Context(), m.addr(on), sni, text+"\r\n")
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (r apiRow) run(t *testing.T, m *apiMesh) {
	t.Helper()
	got := r.send(t, m)
	answer, saw := fmt.Sprint(got.status), got.header.Get("Location")
	for _, s := range m.upstreams.take() {
		answer, saw = s.header.Get("X-Route"), s.header.Get("Host")+" "+s.target
		if want := cmp.Or(r.status, 200); got.status != want {
			t.Errorf("%s: status %d, want %d", r.to, got.status, want)
		}
	}
	want := r.seen
	for p, n := range m.ports {
		want = strings.ReplaceAll(want, "PORT_"+p, fmt.Sprint(n))
	}
	if answer != r.want || (want != "" && saw != want) {
		t.Errorf("%s on %s: answered by %q, seen %q; want %q %q (status %d)", r.to, r.on, answer, saw, r.want, want, got.status)
	}
}

// TestGatewayAPI sends real requests through one gateway with many routes: what the manifests mean on the real Envoy.
func TestGatewayAPI(t *testing.T) {
	m := startMesh(t, "gatewayapi", "UP", "OTHER", "FAR")
	for _, group := range []struct {
		name string
		rows []apiRow
	}{
		{"hostnames", hostRows},
		{"precedence", orderRows},
		{"matches", matchRows},
		{"regular expressions", regexRows},
		{"changes", changeRows},
		{"redirects", redirectRows},
		{"backends", backendRows},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, r := range group.rows {
				t.Run(r.name, func(t *testing.T) { r.run(t, m) })
			}
		})
	}
	t.Run("request headers", func(t *testing.T) { requestHeaders(t, m) })
	t.Run("response headers", func(t *testing.T) {
		h := apiRow{to: "GET modify.test /response"}.send(t, m).header
		if h.Get("X-From") != "gateway" || h.Get("X-More") != "5%" || len(h["X-Gone"]) != 0 {
			t.Errorf("response headers: %v", h)
		}
	})
	t.Run("weights 90 to 10", func(t *testing.T) {
		const n = 1000
		m.upstreams.take()
		for range n {
			if _, err := send(t.Context(), m.addr("SHARED"), "-", "GET /weights HTTP/1.1\r\nHost: backend.test\r\nConnection: close\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
		}
		other := 0
		for _, s := range m.upstreams.take() {
			if s.upstream == "other" {
				other++
			}
		}
		// 100 expected, standard deviation 9.5.
		if other < 50 || other > 150 {
			t.Errorf("%d of %d went to the backend of weight 10 of 100", other, n)
		}
	})
}

func requestHeaders(t *testing.T, m *apiMesh) {
	r := apiRow{to: "GET modify.test /\nX-Set: client\nX-Add: theirs\nX-Remove: a\nx-remove: b\nX-Secret: s"}
	r.send(t, m)
	all := m.upstreams.take()
	if len(all) != 1 {
		t.Fatalf("%d requests arrived", len(all))
	}
	h := all[0].header
	for name, want := range map[string]string{
		"X-Set": "100% new", "X-Add": "theirs,ours", "X-Added": "%REQ(x-secret)%", "X-Remove": "", "X-Route": "modify",
	} {
		if got := strings.Join(h[name], ","); got != want {
			t.Errorf("%s: upstream got %q, want %q", name, got, want)
		}
	}
}
