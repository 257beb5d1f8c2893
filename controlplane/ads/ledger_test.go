package ads_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/credence-mesh/credence/controlplane/ads"
	"github.com/credence-mesh/credence/policy"
)

func TestGenerationWithHeldBackRoutesIsNotAcknowledged(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, cluster(t, "c", "1"), endpoints(t, "c", "1"), listener(t, "l", "1"), route(t, "r", "1")))
	c := f.start(t, "c", "l", "r")
	f.server.SetView(edge, 2, view(t, cluster(t, "c", "1"), endpoints(t, "c", "1"), listener(t, "l", "1"), route(t, "r", "2")))
	rds := check(t, c.next(), ads.RouteType, names("r@2"), nil)
	c.quiet()
	f.notAcked("routes are held back")
	// A newer generation with the same content changes nothing about it.
	f.server.SetView(edge, 3, view(t, cluster(t, "c", "1"), endpoints(t, "c", "1"), listener(t, "l", "1"), route(t, "r", "2")))
	c.quiet()
	f.notAcked("routes are held back")
	c.ack(rds)
	f.acked(3)
	c.quiet()
	// Unchanged content is acknowledged as soon as it is offered.
	f.server.SetView(edge, 4, view(t, cluster(t, "c", "1"), endpoints(t, "c", "1"), listener(t, "l", "1"), route(t, "r", "2")))
	f.acked(4)
	c.quiet()
}

func TestGenerationWithRefusedRoutesIsNotAcknowledged(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, cluster(t, "c", "1"), endpoints(t, "c", "1"), listener(t, "l", "1"), route(t, "r", "1")))
	c := f.start(t, "c", "l", "r")
	f.server.SetView(edge, 2, view(t, cluster(t, "c", "1"), endpoints(t, "c", "1"), listener(t, "l", "1"), route(t, "r", "2")))
	c.nack(check(t, c.next(), ads.RouteType, names("r@2"), nil))
	f.server.SetView(edge, 3, view(t, cluster(t, "c", "1"), endpoints(t, "c", "1"), listener(t, "l", "1"), route(t, "r", "2")))
	c.quiet()
	f.notAcked("routes were refused")
	f.server.SetView(edge, 4, view(t, cluster(t, "c", "1"), endpoints(t, "c", "1"), listener(t, "l", "1"), route(t, "r", "1")))
	c.ack(check(t, c.next(), ads.RouteType, names("r@1"), nil))
	f.acked(4)
}

func TestGenerationWithoutRouteSubscriptionIsNotAcknowledged(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, listener(t, "l", "1"), route(t, "r", "1")))
	c := f.delta(edge)
	c.subscribe(ads.ClusterType)
	c.ack(c.next())
	c.subscribe(ads.ListenerType)
	c.ack(c.next())
	c.quiet()
	f.notAcked("the proxy runs routes that it has not named yet")
}

func TestGenerationWithARouteConfigurationStillToBeNamedIsNotAcknowledged(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, listener(t, "l", "1"), route(t, "r", "1"), route(t, "s", "1")))
	c := f.delta(edge)
	c.subscribe(ads.ClusterType)
	c.ack(c.next())
	c.subscribe(ads.ListenerType)
	c.ack(c.next())
	c.subscribe(ads.RouteType, "r")
	c.ack(check(t, c.next(), ads.RouteType, names("r@1"), nil))
	c.quiet()
	f.notAcked("the proxy has not named all routes yet")
	c.subscribe(ads.RouteType, "s")
	c.ack(check(t, c.next(), ads.RouteType, names("s@1"), nil))
	f.acked(1)
}

func TestRemovedRoutesAreNotAcknowledgedBeforeTheProxyLetsGo(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, cluster(t, "c", "1"), endpoints(t, "c", "1"), listener(t, "l", "1"), route(t, "r", "1")))
	c := f.start(t, "c", "l", "r")
	f.server.SetView(edge, 2, view(t, cluster(t, "c", "1"), endpoints(t, "c", "1")))
	c.ack(check(t, c.next(), ads.ListenerType, nil, names("l")))
	c.ack(check(t, c.next(), ads.RouteType, nil, names("r")))
	c.quiet()
	f.notAcked("Envoy acknowledges the removal of routes and uses them until the listener has drained")
	c.unsubscribe(ads.RouteType, "r")
	f.acked(2)
}

func TestDisconnectedProxyAcknowledgesNothing(t *testing.T) {
	f := newFixture(t)
	resources := []ads.Resource{cluster(t, "c", "1"), endpoints(t, "c", "1"), listener(t, "l", "1"), route(t, "r", "1")}
	f.server.SetView(edge, 1, view(t, resources...))
	c := f.start(t, "c", "l", "r")
	c.cancel()
	_ = c.end()
	waitFor(t, "the stream to close", func() bool { return f.server.Status()[0].Streams == 0 })
	f.server.SetView(edge, 2, view(t, resources...))
	if s := f.server.Status()[0]; s.Acknowledged != 0 || s.Generation != 2 {
		t.Fatalf("status %+v", s)
	}
	f.notAcked("the proxy is not connected")
	_ = f.start2(t, 2)
}

// start2 connects a proxy that has everything of version 1 and waits for the generation.
func (f *fixture) start2(t *testing.T, generation uint64) *deltaClient {
	t.Helper()
	c := f.delta(edge)
	for url, name := range map[string]string{ads.ClusterType: "c", ads.EndpointType: "c", ads.ListenerType: "l", ads.RouteType: "r"} {
		c.send(&discoveryv3.DeltaDiscoveryRequest{
			TypeUrl: url, ResourceNamesSubscribe: names(name), InitialResourceVersions: map[string]string{name: "1"},
		})
	}
	f.acked(generation)
	return c
}

func TestEveryStreamOfAProxyMustAcknowledge(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, cluster(t, "c", "1"), endpoints(t, "c", "1"), listener(t, "l", "1"), route(t, "r", "1")))
	one := f.start2(t, 1)
	two := f.start2(t, 1)
	f.server.SetView(edge, 2, view(t, cluster(t, "c", "1"), endpoints(t, "c", "1"), listener(t, "l", "1"), route(t, "r", "2")))
	one.ack(check(t, one.next(), ads.RouteType, names("r@2"), nil))
	check(t, two.next(), ads.RouteType, names("r@2"), nil)
	one.quiet()
	f.notAcked("one of two streams has the old routes")
	// The stream that others waited for ends.
	two.cancel()
	f.acked(2)
}

func TestStatusAndMetricsTellWhatWasRefused(t *testing.T) {
	registry := prometheus.NewRegistry()
	f := newFixture(t, func(o *ads.Options) { o.Metrics = registry })
	f.server.SetView(edge, 1, view(t, route(t, "a", "1")))
	f.server.SetView("sidecar/default/a", 1, view(t))
	c := f.delta(edge)
	c.subscribe(ads.RouteType, "a")
	c.nack(check(t, c.next(), ads.RouteType, names("a@1"), nil))
	c.quiet()
	all := f.server.Status()
	if len(all) != 2 || all[0].Proxy != edge || all[0].Streams != 1 || all[0].ConnectedSince.IsZero() || all[1].Streams != 0 {
		t.Fatalf("status %+v", all)
	}
	r := all[0].Types[0].Rejected
	if r == nil || !cmp.Equal(r.Names, names("a")) || r.Message != refused.GetMessage() || r.Version != all[0].Types[0].Sent {
		t.Fatalf("types %+v", all[0].Types)
	}
	if _, err := json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	refusals := 0.0
	for _, family := range families {
		if family.GetName() == "credence_ads_rejections_total" {
			refusals += family.GetMetric()[0].GetCounter().GetValue()
		}
	}
	if refusals != 1 {
		t.Fatalf("%v refusals counted", refusals)
	}
	f.server.SetView(edge, 2, view(t, route(t, "a", "2")))
	c.ack(check(t, c.next(), ads.RouteType, names("a@2"), nil))
	c.quiet()
	if s := f.server.Status()[0].Types[0]; s.Rejected != nil || s.Acked == "" || s.Acked != s.Sent {
		t.Fatalf("types %+v", s)
	}
}

func TestManyProxiesChangeAtOnce(t *testing.T) {
	f := newFixture(t)
	const proxies, generations = 20, 20
	var group sync.WaitGroup
	var clients []*deltaClient
	for i := range proxies {
		clients = append(clients, f.delta(policy.ProxyID(fmt.Sprintf("sidecar/default/%d", i))))
	}
	for _, c := range clients {
		group.Go(func() { f.follow(c, fmt.Sprint(generations)) })
		group.Go(func() {
			for g := range generations {
				f.server.SetView(c.id, uint64(g+1), view(t, listener(t, "l", fmt.Sprint(g+1)), route(t, "r", fmt.Sprint(g+1))))
				_ = f.server.Status()
			}
		})
	}
	group.Wait()
	newest := map[policy.ProxyID]uint64{}
	for len(newest) < proxies {
		a := <-f.acks
		if a.generation == generations {
			newest[a.proxy] = a.generation
		}
	}
}

// follow acknowledges everything until the routes have the version.
func (f *fixture) follow(c *deltaClient, version string) {
	c.subscribe(ads.ClusterType)
	c.subscribe(ads.ListenerType)
	c.subscribe(ads.RouteType, "r")
	listeners, routes := false, false
	for !listeners || !routes {
		g := c.next()
		c.ack(g)
		for _, r := range g.Resources {
			listeners = listeners || r == "l@"+version
			routes = routes || r == "r@"+version
		}
	}
}

func BenchmarkPush(b *testing.B) {
	f := newFixture(b)
	const proxies, listeners = 1000, 10
	ids := make([]policy.ProxyID, proxies)
	bases := make([][]ads.Resource, proxies)
	var ready sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for i := range proxies {
		ids[i] = policy.ProxyID(fmt.Sprintf("sidecar/default/%d", i))
		for j := range listeners {
			bases[i] = append(bases[i], cluster(b, fmt.Sprintf("c-%d-%d", i, j), "1"), listener(b, fmt.Sprintf("l-%d-%d", i, j), "1"),
				route(b, fmt.Sprintf("r-%d-%d", i, j), "1"))
		}
		f.server.SetView(ids[i], 1, view(b, append(bases[i], route(b, "r", "0"))...))
		stream, err := f.client.DeltaAggregatedResources(as(ctx, ids[i]))
		if err != nil {
			b.Fatal(err)
		}
		ready.Add(1)
		go benchClient(b, stream, ids[i], &ready)
	}
	ready.Wait()
	generation := uint64(1)
	for b.Loop() {
		generation++
		changed := route(b, "r", fmt.Sprint(generation))
		for i, id := range ids {
			f.server.SetView(id, generation, view(b, append(bases[i][:len(bases[i]):len(bases[i])], changed)...))
		}
		for done := 0; done < proxies; {
			if a := <-f.acks; a.generation == generation {
				done++
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N)/proxies*1000, "µs/proxy")
}

type deltaStream interface {
	Send(*discoveryv3.DeltaDiscoveryRequest) error
	Recv() (*discoveryv3.DeltaDiscoveryResponse, error)
}

// benchClient acknowledges all; ready is done when the last of its types has come.
func benchClient(b *testing.B, stream deltaStream, id policy.ProxyID, ready *sync.WaitGroup) {
	for i, url := range []string{ads.ClusterType, ads.ListenerType, ads.RouteType} {
		m := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: url}
		if i == 0 {
			m.Node = node(id)
		}
		if url == ads.RouteType {
			m.ResourceNamesSubscribe = []string{"*"}
		}
		if err := stream.Send(m); err != nil {
			b.Error(err)
		}
	}
	first := true
	for {
		m, err := stream.Recv()
		if err != nil {
			return
		}
		if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: m.GetTypeUrl(), ResponseNonce: m.GetNonce()}); err != nil {
			return
		}
		if first && m.GetTypeUrl() == ads.RouteType {
			first = false
			ready.Done()
		}
	}
}
