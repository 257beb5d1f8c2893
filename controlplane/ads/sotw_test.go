package ads_test

import (
	"context"
	"fmt"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/credence-mesh/credence/controlplane/ads"
	"github.com/credence-mesh/credence/policy"
)

// worldClient is a scripted state-of-the-world client. got.Resources hold the bodies' own names and versions.
type worldClient struct {
	*inbox
	stream grpc.BidiStreamingClient[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse]
	cancel context.CancelFunc
	id     policy.ProxyID
	first  bool
	bodies map[string]string
	fences int
	// fence is the last response to a fence.
	fence got
}

func (f *fixture) world(id policy.ProxyID, known ...ads.Resource) *worldClient {
	f.t.Helper()
	ctx, cancel := context.WithCancel(as(context.Background(), id))
	f.t.Cleanup(cancel)
	stream, err := f.client.StreamAggregatedResources(ctx)
	if err != nil {
		f.t.Fatal(err)
	}
	c := &worldClient{
		inbox: &inbox{t: f.t, messages: make(chan got, 1000)}, stream: stream, cancel: cancel, id: id, first: true,
		bodies: map[string]string{},
	}
	for _, r := range known {
		c.bodies[string(r.Body.GetValue())] = r.Name + "@" + r.Version
	}
	go c.run(func() (got, error) {
		m, err := stream.Recv()
		if err != nil {
			return got{}, err
		}
		g := got{Type: m.GetTypeUrl(), nonce: m.GetNonce(), version: m.GetVersionInfo()}
		for _, r := range m.GetResources() {
			g.Resources = append(g.Resources, c.bodies[string(r.GetValue())])
		}
		return g, nil
	})
	return c
}

func (c *worldClient) send(m *discoveryv3.DiscoveryRequest) {
	c.t.Helper()
	if c.first {
		c.first = false
		m.Node = node(c.id)
	}
	if err := c.stream.Send(m); err != nil {
		c.t.Fatal(err)
	}
}

func (c *worldClient) subscribe(url string, names ...string) {
	c.t.Helper()
	c.send(&discoveryv3.DiscoveryRequest{TypeUrl: url, ResourceNames: names})
}

func (c *worldClient) ack(g got, names ...string) {
	c.t.Helper()
	c.send(&discoveryv3.DiscoveryRequest{TypeUrl: g.Type, ResponseNonce: g.nonce, VersionInfo: g.version, ResourceNames: names})
}

func (c *worldClient) nack(g got, version string, names ...string) {
	c.t.Helper()
	c.send(&discoveryv3.DiscoveryRequest{
		TypeUrl: g.Type, ResponseNonce: g.nonce, VersionInfo: version, ResourceNames: names, ErrorDetail: refused,
	})
}

// fences are the secrets that quiet asks for.
func fences(t testing.TB) []ads.Resource {
	var all []ads.Resource
	for i := range 40 {
		all = append(all, secret(t, fmt.Sprintf("fence-%02d", i), "1"))
	}
	return all
}

// quiet fails if anything but answers to two new names of a type that the view holds comes.
func (c *worldClient) quiet() {
	c.t.Helper()
	for range 2 {
		c.fences++
		name := fmt.Sprintf("fence-%02d", c.fences)
		c.send(&discoveryv3.DiscoveryRequest{
			TypeUrl: ads.SecretType, ResourceNames: []string{name}, ResponseNonce: c.fence.nonce, VersionInfo: c.fence.version,
		})
		c.fence = c.next()
		if c.fence.Type != ads.SecretType {
			c.t.Fatalf("unexpected response %+v", c.fence)
		}
	}
}

func TestXD02_WorldStormOfRefusalsIsOneResponsePerContent(t *testing.T) {
	f := newFixture(t)
	fence := fences(t)
	c := f.world(edge)
	c.subscribe(ads.RouteType, "r")
	for i := range 10 {
		f.server.SetView(edge, uint64(i+1), view(t, append(fence, route(t, "r", fmt.Sprint(i)))...))
		g := c.next()
		if g.Type != ads.RouteType {
			t.Fatalf("unexpected response %+v", g)
		}
		c.nack(g, "", "r")
		c.nack(g, "", "r")
		c.quiet()
	}
	if n := len(f.rejections()); n != 10 {
		t.Fatalf("%d rejections", n)
	}
}

func TestXD02_WorldSubscriptionAfterARefusalBringsOnlyWhatItNames(t *testing.T) {
	a, b := route(t, "a", "1"), route(t, "b", "1")
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, append(fences(t), a, b)...))
	c := f.world(edge, a, b)
	c.subscribe(ads.RouteType, "a")
	c.nack(check(t, c.next(), ads.RouteType, names("a@1"), nil), "", "a")
	c.subscribe(ads.RouteType, "a", "gone")
	c.quiet()
	c.subscribe(ads.RouteType, "a", "gone", "b")
	c.ack(check(t, c.next(), ads.RouteType, names("b@1"), nil), "a", "gone", "b")
	c.quiet()
}

func TestXD03_WorldSubscriptionWithAStaleNonceAppliesAndIsNoAcknowledgement(t *testing.T) {
	a, b := route(t, "a", "1"), route(t, "b", "1")
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, append(fences(t), a, b)...))
	c := f.world(edge, a, b)
	c.subscribe(ads.RouteType, "a")
	first := check(t, c.next(), ads.RouteType, names("a@1"), nil)
	c.send(&discoveryv3.DiscoveryRequest{TypeUrl: ads.RouteType, ResponseNonce: "stale", ErrorDetail: refused, ResourceNames: names("a", "b")})
	second := check(t, c.next(), ads.RouteType, names("a@1", "b@1"), nil)
	c.ack(first, "a", "b")
	c.quiet()
	if len(f.rejections()) != 0 {
		t.Fatal("a stale nonce refused")
	}
	for _, s := range f.server.Status()[0].Types {
		if s.TypeURL == ads.RouteType && s.Acked != "" {
			t.Fatal("a stale nonce acknowledged")
		}
	}
	c.ack(second, "a", "b")
	c.quiet()
}

func TestXD05_WorldEmptyListAfterNamesIsNoWildcard(t *testing.T) {
	a, b, b2 := listener(t, "a", "1"), listener(t, "b", "1"), listener(t, "b", "2")
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, append(fences(t), a, b)...))

	legacy := f.world(edge, a, b)
	legacy.subscribe(ads.ListenerType)
	g := check(t, legacy.next(), ads.ListenerType, names("a@1", "b@1"), nil)
	legacy.ack(g)
	legacy.quiet()
	legacy.cancel()
	_ = legacy.end()

	c := f.world(edge, a, b)
	c.subscribe(ads.ListenerType, "a")
	g = check(t, c.next(), ads.ListenerType, names("a@1"), nil)
	c.ack(g)
	c.quiet()
	f.server.SetView(edge, 2, view(t, append(fences(t), a, b2)...))
	c.quiet()
}

func TestXD05_WorldExplicitWildcard(t *testing.T) {
	a, b := cluster(t, "a", "1"), cluster(t, "b", "1")
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, append(fences(t), a, b)...))
	c := f.world(edge, a, b)
	c.subscribe(ads.ClusterType, "a")
	c.ack(check(t, c.next(), ads.ClusterType, names("a@1"), nil), "a")
	c.subscribe(ads.ClusterType, "a", "*")
	c.ack(check(t, c.next(), ads.ClusterType, names("a@1", "b@1"), nil), "a", "*")
	c.quiet()
}

func TestXD08_WorldUnknownNameIsRemembered(t *testing.T) {
	a, b := route(t, "a", "1"), route(t, "b", "1")
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, append(fences(t), a)...))
	c := f.world(edge, a, b)
	// A strict subset of the view, and a name that does not exist: both are answered by what there is.
	c.subscribe(ads.RouteType, "b")
	c.quiet()
	c.subscribe(ads.RouteType, "b", "a")
	c.ack(check(t, c.next(), ads.RouteType, names("a@1"), nil), "b", "a")
	c.quiet()
	f.server.SetView(edge, 2, view(t, append(fences(t), a, b)...))
	c.ack(check(t, c.next(), ads.RouteType, names("a@1", "b@1"), nil), "b", "a")
	c.quiet()
}

func TestXD10_WorldClustersAndListenersAreComplete(t *testing.T) {
	a, b, x := listener(t, "a", "1"), listener(t, "b", "1"), listener(t, "x", "1")
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, append(fences(t), a, b)...))
	c := f.world(edge, a, b, x)
	c.subscribe(ads.ListenerType)
	c.ack(check(t, c.next(), ads.ListenerType, names("a@1", "b@1"), nil))
	f.server.SetView(edge, 2, view(t, append(fences(t), b, x)...))
	c.ack(check(t, c.next(), ads.ListenerType, names("b@1", "x@1"), nil))
	f.server.SetView(edge, 3, view(t, fences(t)...))
	c.ack(check(t, c.next(), ads.ListenerType, nil, nil))
	c.quiet()
}

func TestXD18_WorldIdenticalContentAfterARestartSendsNothing(t *testing.T) {
	resources := []ads.Resource{cluster(t, "c", "1"), endpoints(t, "c", "1"), listener(t, "l", "1"), route(t, "r", "1")}
	subscriptions := map[string][]string{ads.ClusterType: nil, ads.EndpointType: {"c"}, ads.ListenerType: nil, ads.RouteType: {"r"}}
	versions := map[string]string{}
	for _, start := range []string{"first", "restarted"} {
		f := newFixture(t)
		f.server.SetView(edge, 1, view(t, append(fences(t), resources...)...))
		c := f.world(edge, resources...)
		for _, url := range ads.Types()[1:] {
			c.send(&discoveryv3.DiscoveryRequest{TypeUrl: url, ResourceNames: subscriptions[url], VersionInfo: versions[url]})
			if start == "restarted" {
				continue
			}
			g := c.next()
			versions[url] = g.version
			c.ack(g, subscriptions[url]...)
		}
		f.acked(1)
		c.quiet()
	}
}

func TestXD12_WorldRemovedClusterGoesLast(t *testing.T) {
	old, next, kept := cluster(t, "old", "1"), cluster(t, "new", "1"), cluster(t, "kept", "1")
	r1, r2 := route(t, "r", "1"), route(t, "r", "2")
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, append(fences(t), old, kept, r1)...))
	c := f.world(edge, old, next, kept, r1, r2)
	c.subscribe(ads.ClusterType)
	c.ack(check(t, c.next(), ads.ClusterType, names("kept@1", "old@1"), nil))
	c.subscribe(ads.RouteType, "r")
	c.ack(check(t, c.next(), ads.RouteType, names("r@1"), nil), "r")
	c.quiet()

	f.server.SetView(edge, 2, view(t, append(fences(t), next, kept, r2)...))
	g := check(t, c.next(), ads.ClusterType, names("kept@1", "new@1", "old@1"), nil)
	c.quiet()
	c.ack(g)
	g = check(t, c.next(), ads.RouteType, names("r@2"), nil)
	c.quiet()
	c.ack(g, "r")
	c.ack(check(t, c.next(), ads.ClusterType, names("kept@1", "new@1"), nil))
	c.quiet()
}

func TestXD11_WorldNodeComesOnceOnly(t *testing.T) {
	f := newFixture(t)
	a := listener(t, "a", "1")
	f.server.SetView(edge, 1, view(t, a))
	c := f.world(edge, a)
	c.subscribe(ads.ListenerType)
	g := check(t, c.next(), ads.ListenerType, names("a@1"), nil)
	c.send(&discoveryv3.DiscoveryRequest{
		TypeUrl: g.Type, ResponseNonce: g.nonce, VersionInfo: g.version, Node: node("gateway/default/other"),
	})
	if err := c.end(); grpcCode(err) != denied {
		t.Fatalf("another node.id later: %v", err)
	}
	if proto.Size(node(edge)) == 0 {
		t.Fatal("no node")
	}
}
