//go:build e2e

package ads_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/credence-mesh/credence/controlplane/ads"
	"github.com/credence-mesh/credence/internal/envoy"
	"github.com/credence-mesh/credence/internal/testport"
	"github.com/credence-mesh/credence/policy"
)

// proxyUnderTest is a real Envoy and the server that configures it.
type proxyUnderTest struct {
	t        *testing.T
	dir      string
	server   *ads.Server
	stop     func()
	acks     chan uint64
	rejected chan ads.Rejection
	port     int
	// method that Envoy must call.
	method string
}

func TestEnvoyFollows(t *testing.T) {
	for name, delta := range map[string]bool{"delta": true, "state of the world": false} {
		t.Run(name, func(t *testing.T) { followEnvoy(t, delta) })
	}
}

func followEnvoy(t *testing.T, delta bool) {
	one, two := upstream(t, "one"), upstream(t, "two")
	p := startEnvoy(t, delta)
	generation := uint64(0)
	publish := func(resources ...ads.Resource) {
		generation++
		p.server.SetView(edge, generation, view(t, resources...))
	}
	base := []ads.Resource{edsCluster(t, "a", time.Second), cla(t, "a", one), p.listener("l", "r"), routeTo(t, "r", "a")}
	publish(base...)
	p.acknowledged(generation)
	p.serves("one")

	// One cluster takes the place of another: no request finds neither.
	stop := p.hammer()
	for range 5 {
		publish(edsCluster(t, "b", time.Second), cla(t, "b", two), p.listener("l", "r"), routeTo(t, "r", "b"))
		p.acknowledged(generation)
		p.serves("two")
		publish(base...)
		p.acknowledged(generation)
		p.serves("one")
	}
	stop()

	// An EDS cluster that changes needs its endpoints again: without them its ACK is withheld for 15 s.
	before := time.Now()
	changed := []ads.Resource{edsCluster(t, "a", 2*time.Second), cla(t, "a", one), p.listener("l", "r"), routeTo(t, "r", "a")}
	publish(changed...)
	p.acknowledged(generation)
	if took := time.Since(before); took > 4*time.Second {
		t.Errorf("a changed EDS cluster took %s", took)
	}

	// A refused route configuration: one refusal, and the others flow.
	publish(changed[0], changed[1], changed[2], badRoute(t, "r"))
	r := <-p.rejected
	if r.TypeURL != ads.RouteType || len(r.Names) != 1 || r.Names[0] != "r" {
		t.Fatalf("rejection %+v", r)
	}
	publish(changed[0], cla(t, "a", two), changed[2], badRoute(t, "r"))
	p.serves("two")
	publish(changed...)
	p.acknowledged(generation)
	p.serves("one")
	if len(p.rejected) != 0 {
		t.Fatalf("another rejection: %+v", <-p.rejected)
	}

	// A restarted control plane with the same content sends nothing.
	p.restart()
	generation = 1
	p.server.SetView(edge, generation, view(t, changed...))
	p.acknowledged(generation)
	for _, s := range p.server.Status()[0].Types {
		if s.Sent != "" {
			t.Errorf("%s was sent again", s.TypeURL)
		}
	}
	// The listener's name changes, its address does not.
	publish(changed[0], changed[1], p.listener("m", "r"), changed[3])
	p.acknowledged(generation)
	p.serves("one")
}

func startEnvoy(t *testing.T, delta bool) *proxyUnderTest {
	t.Helper()
	binary, err := envoy.Find(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "ads")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &proxyUnderTest{t: t, dir: dir, acks: make(chan uint64, 100), rejected: make(chan ads.Rejection, 100), port: freePort(t)}
	p.method = discoveryv3.AggregatedDiscoveryService_StreamAggregatedResources_FullMethodName
	if delta {
		p.method = discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResources_FullMethodName
	}
	p.serve()
	t.Cleanup(func() { p.stop() })
	config, err := envoy.Bootstrap(envoy.Node{
		ID: string(edge), AgentSocket: filepath.Join(dir, "agent"), SDSSocket: filepath.Join(dir, "sds"), AdminSocket: filepath.Join(dir, "admin"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if !delta {
		config = bytes.ReplaceAll(config, []byte("DELTA_GRPC"), []byte("GRPC"))
	}
	file := filepath.Join(dir, "envoy.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary.Path, "-c", file, "--disable-hot-restart", "--concurrency", "1")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			if text, err := os.ReadFile(log.Name()); err == nil {
				t.Logf("Envoy: %s", text[max(0, len(text)-6000):])
			}
		}
		_ = log.Close()
	})
	return p
}

type onlyEdge struct{}

func (onlyEdge) Caller(context.Context) (policy.ProxyID, error) { return edge, nil }

// serve starts a control plane on the agent's socket.
func (p *proxyUnderTest) serve() {
	p.server = ads.New(ads.Options{
		Callers:      onlyEdge{},
		Grace:        20 * time.Millisecond,
		Acknowledged: func(_ policy.ProxyID, g uint64) { p.acks <- g },
		Rejected:     func(r ads.Rejection) { p.rejected <- r },
	})
	l, err := net.Listen("unix", filepath.Join(p.dir, "agent"))
	if err != nil {
		p.t.Fatal(err)
	}
	g := grpc.NewServer(grpc.StreamInterceptor(
		func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			if info.FullMethod != p.method {
				p.t.Errorf("Envoy called %s", info.FullMethod)
			}
			return next(srv, stream)
		}))
	p.server.Register(g)
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	p.stop = func() {
		g.Stop()
		<-done
	}
}

func (p *proxyUnderTest) restart() {
	p.stop()
	p.serve()
}

func (p *proxyUnderTest) acknowledged(generation uint64) {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case g := <-p.acks:
			if g == generation {
				return
			}
		case r := <-p.rejected:
			p.t.Fatalf("rejected: %+v", r)
		case <-deadline:
			p.t.Fatalf("generation %d was not acknowledged: %+v", generation, p.server.Status())
		}
	}
}

// serves waits until the proxy answers with the body.
func (p *proxyUnderTest) serves(want string) {
	p.t.Helper()
	waitFor(p.t, "answer "+want, func() bool {
		got, err := p.get()
		return err == nil && got == want
	})
}

func (p *proxyUnderTest) get() (string, error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", p.port))
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Body.Close() }()
	body, err := io.ReadAll(r.Body)
	if r.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d: %s", r.StatusCode, body)
	}
	return string(body), err
}

// hammer sends requests until it is told to stop; every one must succeed.
func (p *proxyUnderTest) hammer() func() {
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				done <- n
				return
			default:
			}
			n++
			if _, err := p.get(); err != nil {
				p.t.Errorf("request %d: %v", n, err)
			}
		}
	}()
	return func() {
		close(stop)
		p.t.Logf("%d requests", <-done)
	}
}

func freePort(t *testing.T) int { return testport.Free(t, 1)[0] }

func upstream(t *testing.T, body string) int {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
	t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).Port
}

func hashed(t *testing.T, url, name string, m proto.Message) ads.Resource {
	t.Helper()
	r := resource(t, url, name, "", m)
	r.Version = fmt.Sprintf("%x", r.Body.GetValue())
	return r
}

var overADS = &corev3.ConfigSource{
	ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}}, ResourceApiVersion: corev3.ApiVersion_V3,
}

func edsCluster(t *testing.T, name string, timeout time.Duration) ads.Resource {
	return hashed(t, ads.ClusterType, name, &clusterv3.Cluster{
		Name: name, ConnectTimeout: durationpb.New(timeout),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:     &clusterv3.Cluster_EdsClusterConfig{EdsConfig: overADS},
	})
}

func address(port int) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(port)},
	}}}
}

func cla(t *testing.T, name string, port int) ads.Resource {
	return hashed(t, ads.EndpointType, name, &endpointv3.ClusterLoadAssignment{
		ClusterName: name,
		Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address(port)}},
		}}}},
	})
}

func (p *proxyUnderTest) listener(name, routes string) ads.Resource {
	router, err := anypb.New(&routerv3.Router{})
	if err != nil {
		p.t.Fatal(err)
	}
	manager, err := anypb.New(&hcmv3.HttpConnectionManager{
		StatPrefix:     "l",
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{RouteConfigName: routes, ConfigSource: overADS}},
		HttpFilters:    []*hcmv3.HttpFilter{{Name: "router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: router}}},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return hashed(p.t, ads.ListenerType, name, &listenerv3.Listener{
		Name: name, Address: address(p.port),
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name: "hcm", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: manager},
		}}}},
	})
}

func routeTo(t *testing.T, name, cluster string) ads.Resource {
	return hashed(t, ads.RouteType, name, &routev3.RouteConfiguration{Name: name, VirtualHosts: []*routev3.VirtualHost{{
		Name: "all", Domains: []string{"*"},
		Routes: []*routev3.Route{{
			Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
			Action: &routev3.Route_Route{Route: &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster}}},
		}},
	}}})
}

// badRoute has the same domain twice.
func badRoute(t *testing.T, name string) ads.Resource {
	return hashed(t, ads.RouteType, name, &routev3.RouteConfiguration{Name: name, VirtualHosts: []*routev3.VirtualHost{
		{Name: "one", Domains: []string{"*"}}, {Name: "two", Domains: []string{"*"}},
	}})
}
