//go:build e2e

package xds_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/credence-mesh/credence/controlplane/xds"
	"github.com/credence-mesh/credence/internal/envoy"
	"github.com/credence-mesh/credence/policy"
)

// TestGatewayServes runs the gateway of mesh on the real Envoy, with a Check server that allows everything and an upstream that tells
// what it got.
func TestGatewayServes(t *testing.T) {
	g := startGateway(t)
	for _, c := range []struct {
		name, host, target string
		status             int
		// seen is what the upstream got as "<route that Check was asked about> <host> <target>"; of an answer without it, its Location.
		seen string
	}{
		{"exact path, written with an escape in the manifest", "api.test", "/api", 200, "api api.test /api"},
		{"exact path ends", "api.test", "/api/", 200, "api-rest api.test /api/"},
		{"port and trailing dot of the host", "api.test.:99", "/api?q=/../x", 200, "api api.test:99 /api?q=/../x"},
		{"dot segments", "api.test", "/x/../api", 200, "api api.test /api"},
		{"escaped slash", "api.test", "/x%2fapi", 400, ""},
		{"host of a section without routes", "admin.test", "/", 404, ""},
		{"any host", "whoever.test", "/weights", 200, "weights whoever.test /weights"},
		{"prefix by whole segments", "x.test", "/weightsx", 200, "rewrite-root x.test /base/weightsx"},
		{"method, header and query missing", "x.test", "/match?q=a%20b", 200, "rewrite-root x.test /base/match?q=a%20b"},
		{"all backends missing", "x.test", "/missing", 500, ""},
		{"backend unknown to the Set", "x.test", "/unknown", 500, ""},
		{"weights of zero", "x.test", "/nothing", 500, ""},
		{"whole path and host rewritten", "x.test", "/full/a?b=c", 200, `rewrite-all inner.test /new\1?b=c`},
		{"prefix rewritten", "x.test", "/old/a?b=c", 200, "rewrite-prefix x.test /new/a?b=c"},
		{"prefix alone rewritten", "x.test", "/old", 200, "rewrite-prefix x.test /new"},
		{"prefix taken away", "x.test", "/a.b/c?d", 200, "rewrite-away x.test /c?d"},
		{"prefix taken away, nothing left", "x.test", "/a.b", 200, "rewrite-away x.test /"},
		{"prefix is no pattern", "x.test", "/axb/c", 200, "rewrite-root x.test /base/axb/c"},
		{"root rewritten", "x.test", "/", 200, "rewrite-root x.test /base/"},
		{"redirect", "x.test", "/r/a?b=c", 301, "https://x.test:443/x/a?b=c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := g.get(t, "http://"+g.plain+c.target, c.host, nil)
			seen := res.body
			if res.status != 200 {
				seen = res.header.Get("Location")
			}
			if res.status != c.status || seen != c.seen {
				t.Errorf("got %d %q, want %d %q", res.status, seen, c.status, c.seen)
			}
		})
	}

	t.Run("method, header and query", func(t *testing.T) {
		res := g.do(t, http.MethodPost, "http://"+g.plain+"/match/x?q=b", "x.test", http.Header{"X-A": {"1"}})
		if res.status != 200 || res.body != "match x.test /match/x?q=b" {
			t.Errorf("got %d %q", res.status, res.body)
		}
	})
	t.Run("forged headers", func(t *testing.T) {
		res := g.get(t, "http://"+g.plain+"/headers", "x.test", http.Header{
			"X-Credence-Subject": {"root"}, "X-Credence-Scopes": {"all"}, "X_credence_peer": {"root"}, "X-Envoy-Original-Path": {"/"},
			"X-Forwarded-For": {"9.9.9.9"}, "X-Forwarded-Host": {"evil"}, "X-Real-Ip": {"9.9.9.9"}, "Txn-Token": {"t"},
			"X-Http-Method-Override": {"DELETE"}, "X-Http-Method": {"DELETE"}, "X-Method-Override": {"DELETE"},
			"X-Original-Url": {"/admin"}, "X-Rewrite-Url": {"/admin"}, "X-Forwarded-Client-Cert": {"URI=spiffe://mesh.test/x"}, "Cookie": {"a=b"}, "X-Set": {"client"},
		})
		for name, want := range map[string]string{
			"X-Credence-Subject": "alice", "X-Credence-Scopes": "", "X_credence_peer": "", "X-Envoy-Original-Path": "",
			"X-Forwarded-Host": "", "X-Real-Ip": "", "Txn-Token": "",
			"X-Http-Method-Override": "", "X-Http-Method": "", "X-Method-Override": "", "X-Original-Url": "", "X-Rewrite-Url": "", "X-Forwarded-Client-Cert": "", "Cookie": "", "X-Set": "100%", "X-Forwarded-Proto": "http",
		} {
			if got := res.header.Get("Upstream-" + name); got != want {
				t.Errorf("%s: upstream got %q, want %q", name, got, want)
			}
		}
		// Envoy writes the machine's own address for a client on loopback.
		if got := res.header.Get("Upstream-X-Forwarded-For"); got == "" || strings.Contains(got, "9.9.9.9") {
			t.Errorf("X-Forwarded-For: upstream got %q", got)
		}
		if res.header.Get("X-Res") != "1" || res.header.Get("X-Envoy-Upstream-Service-Time") != "" {
			t.Errorf("response headers: %v", res.header)
		}
	})
	t.Run("a missing backend costs its share", func(t *testing.T) {
		const n = 2000
		failed := 0
		for range n {
			switch res := g.get(t, "http://"+g.plain+"/split", "x.test", nil); res.status {
			case 500:
				failed++
			case 200:
			default:
				t.Fatalf("status %d", res.status)
			}
		}
		// 200 expected, standard deviation 13.4.
		if failed < 130 || failed > 270 {
			t.Errorf("%d of %d answered with 500, want a tenth", failed, n)
		}
	})
	t.Run("host of another section", func(t *testing.T) {
		for _, c := range []struct {
			sni, host string
			status    int
			seen      string
		}{
			{"shop.example.com", "shop.example.com", 200, "shop shop.example.com /"},
			{"a.example.com", "b.example.com", 200, "wild b.example.com /"},
			{"a.example.com", "shop.example.com", 421, ""},
			{"shop.example.com", "a.example.com", 404, ""},
			{"other.test", "shop.example.com", 421, ""},
			{"other.test", "whoever.test", 200, "any whoever.test /"},
			{"", "whoever.test", 200, "any whoever.test /"},
		} {
			g.client = &http.Client{Transport: &http.Transport{
				TLSClientConfig: &tls.Config{ServerName: c.sni, InsecureSkipVerify: true},
			}}
			if res := g.get(t, "https://"+g.secure+"/", c.host, nil); res.status != c.status || res.body != c.seen {
				t.Errorf("SNI %q, Host %q: got %d %q, want %d %q", c.sni, c.host, res.status, res.body, c.status, c.seen)
			}
			g.client.CloseIdleConnections()
		}
	})
}

type gateway struct {
	plain, secure string
	client        *http.Client
}

type response struct {
	status int
	header http.Header
	body   string
}

func (g *gateway) get(t *testing.T, url, host string, h http.Header) response {
	t.Helper()
	return g.do(t, http.MethodGet, url, host, h)
}

func (g *gateway) do(t *testing.T, method, url, host string, h http.Header) response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	for k, v := range h {
		req.Header[k] = v
	}
	res, err := g.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{res.StatusCode, res.Header, string(b)}
}

func startGateway(t *testing.T) *gateway {
	t.Helper()
	binary, err := envoy.Find(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "xds")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })

	s := newStatic(t)
	s.check, s.clear = filepath.Join(dir, "check.sock"), true
	startCheck(t, s.check)
	set := mesh()
	inbound := startUpstream(t)
	for i := range set.Workloads {
		for j := range set.Workloads[i].Ports {
			set.Workloads[i].Ports[j].Inbound = inbound
		}
	}
	for i := range set.Gateways[0].Listeners {
		l := &set.Gateways[0].Listeners[i]
		l.Address, l.Port = netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + i)}).String(), 0
	}
	b := s.bootstrap(translate(t, set, policy.GatewayID(name("edge"))))
	admin := filepath.Join(dir, "admin.sock")
	b.Admin = &bootstrapv3.Admin{Address: &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: admin}}}}
	config, err := protojson.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "bootstrap.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	runEnvoy(t, binary.Path, file)
	return awaitListeners(t, admin)
}

func runEnvoy(t *testing.T, binary, file string) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(binary, "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "-c", file)
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
}

// awaitListeners asks the admin socket until both listeners are there.
func awaitListeners(t *testing.T, admin string) *gateway {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", admin)
	}}}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-tick.C {
		res, err := client.Get("http://admin/ready")
		if err != nil {
			continue
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			continue
		}
		if res, err = client.Get("http://admin/listeners?format=json"); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		var list struct {
			Listeners []struct {
				Name  string `json:"name"`
				Local struct {
					Socket struct {
						Address string `json:"address"`
						Port    int    `json:"port_value"`
					} `json:"socket_address"`
				} `json:"local_address"`
			} `json:"listener_statuses"`
		}
		if err := json.NewDecoder(res.Body).Decode(&list); err != nil {
			t.Fatal(err)
		}
		g := &gateway{client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
		for _, l := range list.Listeners {
			address := fmt.Sprintf("%s:%d", l.Local.Socket.Address, l.Local.Socket.Port)
			if strings.HasPrefix(l.Name, "127.0.0.1:") {
				g.plain = address
			} else {
				g.secure = address
			}
		}
		return g
	}
	t.Fatal("Envoy is not ready")
	return nil
}

// allow says yes as alice and tells the upstream the route it was asked about.
type allow struct {
	authv3.UnimplementedAuthorizationServer
}

func (allow) Check(_ context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	header := func(name, value string) *corev3.HeaderValueOption {
		return &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: name, Value: value}}
	}
	return &authv3.CheckResponse{Status: &status.Status{}, HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
		Headers: []*corev3.HeaderValueOption{
			header("x-credence-subject", "alice"), header("x-credence-decision", r.GetAttributes().GetContextExtensions()[xds.RouteExtension]),
		},
	}}}, nil
}

func startCheck(t *testing.T, socket string) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, allow{})
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
}

// startUpstream serves HTTP/2 in clear text and answers with what it got.
func startUpstream(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Protocols: protocols, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for k, v := range r.Header {
			w.Header()["Upstream-"+k] = v
		}
		_, _ = fmt.Fprintf(w, "%s %s %s", r.Header.Get("X-Credence-Decision"), r.Host, r.RequestURI)
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return l.Addr().String()
}
