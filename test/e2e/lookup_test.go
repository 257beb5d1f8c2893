//go:build e2e

package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	upstreamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/credence-mesh/credence/controlplane/xds"
	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/internal/envoy"
	"github.com/credence-mesh/credence/internal/testenv"
	"github.com/credence-mesh/credence/internal/testport"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
	"github.com/credence-mesh/credence/policy/route"
)

const (
	lookupTables   = 24
	lookupRequests = 300
)

// TestLookupFindsEnvoysRoute makes route tables and requests at random and compares three: the route that a real Envoy takes which
// controlplane/xds configures, the one that policy/route finds, and the one that a Check finds with what that Envoy tells it. Envoy's ids
// are sent along, and a Check that finds another one than it is told refuses.
func TestLookupFindsEnvoysRoute(t *testing.T) {
	t.Parallel()
	ports := testport.Free(t, lookupTables)
	set := &policy.Set{
		Mesh:     policy.Mesh{TrustDomain: "lookup.test", Development: true, SVIDTTL: time.Hour, CATTL: 24 * time.Hour},
		Policies: []policy.Policy{{Name: policy.Name{Namespace: "default", Name: "all"}, Rules: []policy.Rule{{Name: "all", Action: policy.Allow}}}},
	}
	work := testenv.WorkDir(t)
	b := &bootstrapv3.Bootstrap{StaticResources: &bootstrapv3.Bootstrap_StaticResources{}}
	for i, port := range ports {
		g := generateGateway(rand.New(rand.NewPCG(7, uint64(i))), fmt.Sprintf("g%d", i), uint16(port))
		set.Gateways = append(set.Gateways, g)
	}
	for i := range ports {
		socket := filepath.Join(work, fmt.Sprintf("%d.sock", i))
		serveLookup(t, set, set.Gateways[i].Name, socket)
		addStaticGateway(t, b, set, &set.Gateways[i], socket)
	}
	runStatic(t, work, b, ports[len(ports)-1])
	found := map[route.Outcome]int{}
	for i, port := range ports {
		table := route.New(&set.Gateways[i])
		r := rand.New(rand.NewPCG(11, uint64(i)))
		c := &rawClient{addr: fmt.Sprintf("127.0.0.1:%d", port)}
		for range lookupRequests {
			kept := set.Gateways[i].Settings.Paths != policy.PathRules{}
			q := generateRequest(r, kept)
			want, outcome := table.Find(q.request())
			found[outcome]++
			text := q.disguised(r, !kept)
			status, id, body := c.send(t, text)
			switch {
			case outcome == route.Ambiguous:
				t.Errorf("table %d, %+v: ambiguous, with one access for all", i, q)
			case want == nil && status != http.StatusNotFound:
				t.Errorf("table %d\n%s: nothing is found (%v), Envoy answers %d by route %s: %s", i, text, outcome, status, id, body)
			case want != nil && (status != http.StatusInternalServerError || id != string(want.ID)):
				t.Errorf("table %d\n%s: found %s %+v, Envoy answers %d by route %q: %s", i, text, want.ID, want.Match, status, id, body)
			}
		}
		c.close()
		if t.Failed() {
			for _, section := range set.Gateways[i].Listeners[0].Sections {
				for _, vh := range section.VirtualHosts {
					for _, r := range vh.Routes {
						t.Logf("%s: %+v", r.ID, r.Match)
					}
				}
			}
			t.FailNow()
		}
	}
	if !t.Failed() && (found[route.Found] < 400 || found[route.NoRoute] < 100 || found[route.NoHost] < 100) {
		t.Errorf("the test asks too little: %v", found)
	}
	t.Logf("found %v", found)
}

var (
	lookupHosts  = []string{"*", "a.test", "b.test", "x.a.test", "*.a.test", "*.x.a.test", "*.test"}
	lookupPaths  = []string{"/", "/a", "/a/b", "/a@b", "/a b", "/a%20b", "/é", "/a%2Bb", "/a:b/c", "/A", "/a.b", "/a/", "/%61", "/a%2Fb"}
	lookupRegex  = []string{"/a.*", "/[ab]+", "/a/[0-9]+|/b", ".*b", "/(?i:A)", "/a%40b", `/a\.b`}
	lookupMethod = []string{"", "", "", "GET", "POST", "DELETE"}
	lookupValues = []policy.NameValue{
		{Name: "x-v", Value: "1"}, {Name: "x-v", Value: "2"}, {Name: "x-v", Value: "1,2"}, {Name: "x-w", Value: "a b"}, {Name: "accept", Value: "a/b"},
	}
	lookupValueRegex = []policy.NameValue{{Name: "x-v", Value: "[0-9]"}, {Name: "x-w", Value: "a.*"}, {Name: "x-v", Value: "1|3"}}
	lookupQuery      = []policy.NameValue{{Name: "q", Value: "1"}, {Name: "q", Value: "a b"}, {Name: "q", Value: "a+b"}, {Name: "r", Value: "é/@"}}
	lookupQueryRegex = []policy.NameValue{{Name: "q", Value: "[a-z]*"}, {Name: "r", Value: "%.."}}
)

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// some picks an element one time in n.
func some(r *rand.Rand, n int, from []policy.NameValue) []policy.NameValue {
	if r.IntN(n) != 0 {
		return nil
	}
	return []policy.NameValue{pick(r, from)}
}

// generateGateway has one HTTP listener of up to three sections, whose hosts are disjoint and each in the section with the closest hostname.
func generateGateway(r *rand.Rand, name string, port uint16) policy.Gateway {
	n := policy.Name{Namespace: "default", Name: name}
	sections := []policy.Section{{Name: "a"}, {Name: "b", Hostname: "*.a.test"}, {Name: "c", Hostname: "b.test"}}[:1+r.IntN(3)]
	used := map[string]bool{}
	for range 1 + r.IntN(6) {
		host := pick(r, lookupHosts)
		if used[host] {
			continue
		}
		used[host] = true
		section := 0
		for i := range sections {
			suffix, wild := strings.CutPrefix(sections[i].Hostname, "*")
			if i > 0 && (host == sections[i].Hostname || wild && strings.HasSuffix(strings.TrimPrefix(host, "*"), suffix)) {
				section = i
			}
		}
		vh := policy.VirtualHost{Host: host}
		for range r.IntN(9) {
			vh.Routes = append(vh.Routes, policy.Route{
				ID:       policy.RouteID(fmt.Sprintf("%s %s %d", name, host, len(vh.Routes))),
				Origin:   policy.Origin{Kind: "HTTPRoute", Name: n},
				Match:    generateMatch(r),
				Backends: []policy.Backend{},
				Access:   policy.Access{Levels: []policy.Level{{Kind: policy.MeshLevel, Policies: []policy.Name{{Namespace: "default", Name: "all"}}}}},
			})
		}
		sections[section].VirtualHosts = append(sections[section].VirtualHosts, vh)
	}
	var settings policy.GatewaySettings
	if r.IntN(3) == 0 {
		settings.Paths = policy.PathRules{KeepEscapedSlashes: true, KeepEmptySegments: true}
	}
	return policy.Gateway{
		Name: n, SPIFFEID: "spiffe://lookup.test/ns/default/gw/" + name, Settings: settings,
		Listeners: []policy.Listener{{Address: "127.0.0.1", Port: port, Protocol: policy.HTTP, Sections: sections}},
	}
}

func generateMatch(r *rand.Rand) policy.RouteMatch {
	m := policy.RouteMatch{PathKind: policy.PathExact, Path: pick(r, lookupPaths), Method: pick(r, lookupMethod)}
	switch r.IntN(3) {
	case 0:
		m.PathKind = policy.PathPrefix
		if m.Path != "/" {
			m.Path = strings.TrimSuffix(m.Path, "/")
		}
	case 1:
		m.PathKind, m.Path = policy.PathRegex, pick(r, lookupRegex)
	}
	m.Headers, m.HeaderRegex = some(r, 4, lookupValues), some(r, 6, lookupValueRegex)
	m.Query, m.QueryRegex = some(r, 5, lookupQuery), some(r, 8, lookupQueryRegex)
	return m
}

// lookupRequest is a request in its normal form: as Envoy passes it on.
type lookupRequest struct {
	method, host, path, query string
	headers                   [][2]string
}

func generateRequest(r *rand.Rand, kept bool) lookupRequest {
	q := lookupRequest{
		method: pick(r, []string{"GET", "GET", "POST", "DELETE", "PUT", "HEAD"}),
		host:   pick(r, []string{"a.test", "b.test", "x.a.test", "y.x.a.test", "c.test", "other", "test", "[::1]", "127.0.0.1", "a.b.test"}),
		path: pick(r, []string{
			"/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/b", "/a@b", "/a%40b", "/a%20b", "/%C3%A9", "/%c3%a9", "/a+b", "/a%2Bb", "/a%2bb/x", "/a:b/c/d",
			"/a%3ab/c", "/A", "/a.b", "/a/7", "/a/%37x"[:3] + "7", "/axb",
		}),
		query: pick(r, []string{"", "", "q=1", "q=2&q=1", "q=1&q=2", "q=a+b", "q=a%20b", "q=a%2Bb", "q", "q=", "r=%C3%A9/@", "r=%c3%a9%2f%40", "&&q=1", "x=1?q=1", "r=%41"}),
	}
	if kept && r.IntN(3) == 0 {
		q.path = pick(r, []string{"/a%2Fb", "/a%2fb/c", "/a//b", "/a/b//", "//a", "/a%5Cb"})
	}
	for _, h := range [][2]string{{"x-v", "1"}, {"x-v", "2"}, {"x-w", "a b"}, {"accept", "a/b"}, {"x-w", "a\xc3\xa9"}} {
		if r.IntN(3) == 0 {
			q.headers = append(q.headers, h)
		}
	}
	return q
}

func (q lookupRequest) request() *route.Request {
	return &route.Request{Method: q.method, Host: q.host, Path: q.path, Query: q.query, Header: func(name string) (values []string, joined bool) {
		for _, h := range q.headers {
			if h[0] == name {
				values = append(values, h[1])
			}
		}
		return values, false
	}}
}

// disguised is the request as a client might write it: what Envoy's normalisation undoes.
func (q lookupRequest) disguised(r *rand.Rand, merged bool) string {
	host, path := q.host, q.path
	switch r.IntN(4) {
	case 0:
		host = strings.ToUpper(host)
	case 1:
		host += ":8080"
	case 2:
		if !strings.HasPrefix(host, "[") {
			host += "."
		}
	}
	switch r.IntN(5) {
	case 0:
		path = strings.Replace(path, "/a", "/%61", 1)
	case 1:
		path = "/x/.." + path
	case 2:
		if merged && path != "/" { // Envoy leaves "//" alone
			path = "/" + path
		}
	}
	if q.query != "" {
		path += "?" + q.query
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", q.method, path, host)
	for _, h := range q.headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	if q.method == "POST" || q.method == "PUT" {
		b.WriteString("Content-Length: 0\r\n")
	}
	return b.String() + "\r\n"
}

// rawClient sends requests to the letter, on one connection as long as it lasts.
type rawClient struct {
	addr string
	conn net.Conn
	r    *bufio.Reader
}

func (c *rawClient) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

func (c *rawClient) send(t *testing.T, text string) (status int, route, reason string) {
	t.Helper()
	if c.conn == nil {
		var err error
		if c.conn, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", c.addr); err != nil {
			t.Fatal(err)
		}
		c.r = bufio.NewReader(c.conn)
	}
	if _, err := c.conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(text, " ")
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body := make([]byte, 512)
	n, _ := resp.Body.Read(body)
	if resp.Close {
		c.close()
	}
	return resp.StatusCode, resp.Header.Get("x-route"), string(body[:n])
}

type lookupCallers struct{}

func (lookupCallers) Caller(context.Context) (policy.ProxyID, error) { return "static", nil }

type noVerifier struct{}

func (noVerifier) Verify(context.Context, string, []policy.Name) (*decide.User, error) {
	return nil, fmt.Errorf("nobody has a token")
}

// serveLookup answers Checks for one gateway on a socket of its own.
func serveLookup(t *testing.T, set *policy.Set, gateway policy.Name, socket string) {
	t.Helper()
	s, err := extauthz.New(extauthz.Options{
		Callers: lookupCallers{}, Verifier: noVerifier{}, PeerID: func(string) (string, error) { return "", fmt.Errorf("nobody has a certificate") },
		Lookup: &extauthz.Lookup{Gateway: func(*policy.Set) (policy.Name, bool) { return gateway, true }},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Publish(set, 1)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(extauthz.LookupServerOptions()...)
	s.Register(server)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-done })
}

// addStaticGateway puts what controlplane/xds emits for g into a static configuration: the same listener, filters and routes; only each
// route answers with its name. The Check server is the one at socket.
func addStaticGateway(t *testing.T, b *bootstrapv3.Bootstrap, set *policy.Set, g *policy.Gateway, socket string) {
	t.Helper()
	res, err := xds.Translate(set, policy.GatewayID(g.Name), xds.Paths{})
	if err != nil {
		t.Fatal(err)
	}
	cluster := "authz " + g.Name.Name
	for i := range res.Listeners {
		l, rc := &listenerv3.Listener{}, &routev3.RouteConfiguration{}
		unpack(t, res.Listeners[i].Body, l)
		unpack(t, res.Routes[i].Body, rc)
		for _, vh := range rc.VirtualHosts {
			for _, r := range vh.Routes {
				r.ResponseHeadersToAdd = append(r.ResponseHeadersToAdd, &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: "x-route", Value: r.Name}})
			}
		}
		filter := l.FilterChains[0].Filters[0]
		m := &hcmv3.HttpConnectionManager{}
		unpack(t, filter.GetTypedConfig(), m)
		m.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: rc}
		m.AccessLog = nil
		text, err := protojson.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		again := &hcmv3.HttpConnectionManager{}
		if err := protojson.Unmarshal([]byte(strings.ReplaceAll(string(text), `"`+xds.AuthzCluster+`"`, `"`+cluster+`"`)), again); err != nil {
			t.Fatal(err)
		}
		filter.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: pack(t, again)}
		b.StaticResources.Listeners = append(b.StaticResources.Listeners, l)
	}
	b.StaticResources.Clusters = append(b.StaticResources.Clusters, &clusterv3.Cluster{
		Name: cluster,
		LoadAssignment: &endpointv3.ClusterLoadAssignment{ClusterName: cluster, Endpoints: []*endpointv3.LocalityLbEndpoints{{
			LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
				Address: &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: socket}}},
			}}}},
		}}},
		TypedExtensionProtocolOptions: map[string]*anypb.Any{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": pack(t, &upstreamv3.HttpProtocolOptions{
				UpstreamProtocolOptions: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig{
					ProtocolConfig: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: &corev3.Http2ProtocolOptions{}},
				}},
			}),
		},
	})
}

func unpack(t *testing.T, a *anypb.Any, to proto.Message) {
	t.Helper()
	if err := a.UnmarshalTo(to); err != nil {
		t.Fatal(err)
	}
}

func pack(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// runStatic runs an Envoy with a static configuration until the test ends, and waits until it listens on port.
func runStatic(t *testing.T, work string, b *bootstrapv3.Bootstrap, port int) {
	t.Helper()
	// As the bootstraps of internal/envoy: the expressions that controlplane/xds writes are larger than Envoy's own limit.
	layer, err := structpb.NewStruct(map[string]any{xds.RegexSizeKey: xds.RegexSize})
	if err != nil {
		t.Fatal(err)
	}
	b.LayeredRuntime = &bootstrapv3.LayeredRuntime{Layers: []*bootstrapv3.RuntimeLayer{{
		Name: "static", LayerSpecifier: &bootstrapv3.RuntimeLayer_StaticLayer{StaticLayer: layer},
	}}}
	text, err := protojson.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(work, "envoy.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	runEnvoyFile(t, file, port)
}

// runEnvoyFile runs an Envoy with the configuration in file until the test ends, and waits until it listens on port.
func runEnvoyFile(t *testing.T, file string, port int) {
	t.Helper()
	runEnvoyAs(t, file, port, nil)
}

// runEnvoyAs is runEnvoyFile for another user, and returns what ends it sooner.
func runEnvoyAs(t *testing.T, file string, port int, as *syscall.SysProcAttr) (stop func()) {
	t.Helper()
	binary, err := envoy.Find(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	log := &safeBuffer{}
	cmd := exec.Command(binary.Path, "-c", file, "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning")
	cmd.SysProcAttr, cmd.Stderr, cmd.Dir = as, log, "/"
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	stop = func() { _ = cmd.Process.Kill(); <-ended }
	t.Cleanup(stop)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); ; {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = c.Close()
			return stop
		}
		select {
		case <-ended:
			t.Fatalf("Envoy ended:\n%s", log.text())
		case <-tick.C:
		}
		if time.Now().After(end) {
			t.Fatalf("Envoy does not listen: %v\n%s", err, log.text())
		}
	}
}
