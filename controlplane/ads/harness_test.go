package ads_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/credence-mesh/credence/controlplane/ads"
	"github.com/credence-mesh/credence/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = 20 * time.Second
	edge     = policy.ProxyID("gateway/default/edge")
)

// attested takes the identity from metadata: the tests' stand-in for peer credentials of a socket.
type attested struct{}

func (attested) Caller(ctx context.Context) (policy.ProxyID, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if v := md.Get("proxy"); len(v) == 1 {
		return policy.ProxyID(v[0]), nil
	}
	return "", errors.New("no identity")
}

type acknowledgement struct {
	proxy      policy.ProxyID
	generation uint64
}

// fixture is a server, its connection and what it reported.
type fixture struct {
	t      testing.TB
	server *ads.Server
	client discoveryv3.AggregatedDiscoveryServiceClient
	acks   chan acknowledgement

	mu       sync.Mutex
	rejected []ads.Rejection
}

func newFixture(t testing.TB, change ...func(*ads.Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, acks: make(chan acknowledgement, 5000)}
	o := ads.Options{
		Callers:      attested{},
		Gate:         time.Hour,
		Grace:        -1,
		Acknowledged: func(p policy.ProxyID, g uint64) { f.acks <- acknowledgement{p, g} },
		Rejected: func(r ads.Rejection) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.rejected = append(f.rejected, r)
		},
	}
	for _, c := range change {
		c(&o)
	}
	f.server = ads.New(o)
	listener := bufconn.Listen(1 << 20)
	g := grpc.NewServer()
	f.server.Register(g)
	done := make(chan error, 1)
	go func() { done <- g.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///ads", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return listener.Dial() }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		g.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	f.client = discoveryv3.NewAggregatedDiscoveryServiceClient(conn)
	return f
}

func (f *fixture) rejections() []ads.Rejection {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]ads.Rejection(nil), f.rejected...)
}

// acked waits for the report of a generation.
func (f *fixture) acked(want uint64) {
	f.t.Helper()
	select {
	case a := <-f.acks:
		if a.proxy != edge || a.generation != want {
			f.t.Fatalf("acknowledged %v, want generation %d", a, want)
		}
	case <-time.After(patience):
		f.t.Fatalf("generation %d was never acknowledged: %+v", want, f.server.Status())
	}
}

func (f *fixture) notAcked(why string) {
	f.t.Helper()
	select {
	case a := <-f.acks:
		f.t.Fatalf("generation %d reported early: %s", a.generation, why)
	default:
	}
}

func as(ctx context.Context, id policy.ProxyID) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "proxy", string(id))
}

func resource(t testing.TB, url, name, version string, m proto.Message) ads.Resource {
	t.Helper()
	body, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return ads.Resource{Name: name, TypeURL: url, Version: version, Body: body}
}

func cluster(t testing.TB, name, version string) ads.Resource {
	return resource(t, ads.ClusterType, name, version, &clusterv3.Cluster{
		Name: name, AltStatName: version, ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig: &clusterv3.Cluster_EdsClusterConfig{ServiceName: name},
	})
}

func endpoints(t testing.TB, name, version string) ads.Resource {
	return resource(t, ads.EndpointType, name, version, &endpointv3.ClusterLoadAssignment{ClusterName: name})
}

func listener(t testing.TB, name, version string) ads.Resource {
	return resource(t, ads.ListenerType, name, version, &listenerv3.Listener{Name: name, StatPrefix: version})
}

func route(t testing.TB, name, version string) ads.Resource {
	return resource(t, ads.RouteType, name, version, &routev3.RouteConfiguration{Name: name, InternalOnlyHeaders: []string{version}})
}

func secret(t testing.TB, name, version string) ads.Resource {
	return resource(t, ads.SecretType, name, version, &tlsv3.Secret{Name: name})
}

func view(t testing.TB, resources ...ads.Resource) *ads.View {
	t.Helper()
	v, err := ads.NewView(resources)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func node(id policy.ProxyID) *corev3.Node { return &corev3.Node{Id: string(id), Cluster: "test"} }

// got is a response of either protocol as the tests compare it: "name@version" is not on the wire of state-of-the-world.
type got struct {
	Type      string
	Resources []string
	Removed   []string
	nonce     string
	version   string
}

// inbox receives in the background; a stream that ends closes it.
type inbox struct {
	t        testing.TB
	messages chan got
	err      error
}

func (i *inbox) run(recv func() (got, error)) {
	defer close(i.messages)
	for {
		m, err := recv()
		if err != nil {
			i.err = err
			return
		}
		i.messages <- m
	}
}

func (i *inbox) next() got {
	i.t.Helper()
	select {
	case m, ok := <-i.messages:
		if !ok {
			i.t.Fatalf("the stream ended: %v", i.err)
		}
		return m
	case <-time.After(patience):
		i.t.Fatal("no response")
	}
	return got{}
}

// end waits for the end of the stream.
func (i *inbox) end() error {
	i.t.Helper()
	for {
		select {
		case _, ok := <-i.messages:
			if !ok {
				return i.err
			}
		case <-time.After(patience):
			i.t.Fatal("the stream did not end")
		}
	}
}

// deltaClient is scripted: it acknowledges only what the test says.
type deltaClient struct {
	*inbox
	stream grpc.BidiStreamingClient[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]
	cancel context.CancelFunc
	id     policy.ProxyID
	first  bool
	fences int
}

func (f *fixture) delta(id policy.ProxyID) *deltaClient {
	f.t.Helper()
	ctx, cancel := context.WithCancel(as(context.Background(), id))
	f.t.Cleanup(cancel)
	stream, err := f.client.DeltaAggregatedResources(ctx)
	if err != nil {
		f.t.Fatal(err)
	}
	c := &deltaClient{inbox: &inbox{t: f.t, messages: make(chan got, 1000)}, stream: stream, cancel: cancel, id: id, first: true}
	go c.run(func() (got, error) {
		m, err := stream.Recv()
		if err != nil {
			return got{}, err
		}
		g := got{Type: m.GetTypeUrl(), Removed: m.GetRemovedResources(), nonce: m.GetNonce(), version: m.GetSystemVersionInfo()}
		for _, r := range m.GetResources() {
			g.Resources = append(g.Resources, r.GetName()+"@"+r.GetVersion())
		}
		return g, nil
	})
	return c
}

func (c *deltaClient) send(m *discoveryv3.DeltaDiscoveryRequest) {
	c.t.Helper()
	if c.first {
		c.first = false
		m.Node = node(c.id)
	}
	if err := c.stream.Send(m); err != nil {
		c.t.Fatal(err)
	}
}

func (c *deltaClient) subscribe(url string, names ...string) {
	c.t.Helper()
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: url, ResourceNamesSubscribe: names})
}

func (c *deltaClient) unsubscribe(url string, names ...string) {
	c.t.Helper()
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: url, ResourceNamesUnsubscribe: names})
}

func (c *deltaClient) ack(g got) {
	c.t.Helper()
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: g.Type, ResponseNonce: g.nonce})
}

func (c *deltaClient) nack(g got) {
	c.t.Helper()
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: g.Type, ResponseNonce: g.nonce, ErrorDetail: refused})
}

// quiet fails if anything but the answers to two fences comes. Two: what is sent in the round of the first comes before the second.
func (c *deltaClient) quiet() {
	c.t.Helper()
	for range 2 {
		c.fences++
		name := fmt.Sprintf("fence-%d", c.fences)
		c.subscribe("fence", name)
		g := c.next()
		if g.Type != "fence" || len(g.Removed) != 1 || g.Removed[0] != name {
			c.t.Fatalf("unexpected response %+v", g)
		}
		c.ack(g)
	}
}
