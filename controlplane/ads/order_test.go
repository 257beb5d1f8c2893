package ads_test

import (
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"

	"github.com/credence-mesh/credence/controlplane/ads"
)

// start subscribes as Envoy does and acknowledges everything of generation 1.
func (f *fixture) start(t *testing.T, clusterName, listenerName, routeName string) *deltaClient {
	t.Helper()
	c := f.delta(edge)
	c.subscribe(ads.ClusterType)
	clusters := check(t, c.next(), ads.ClusterType, names(clusterName+"@1"), nil)
	c.subscribe(ads.EndpointType, clusterName)
	c.ack(check(t, c.next(), ads.EndpointType, names(clusterName+"@1"), nil))
	c.ack(clusters)
	c.subscribe(ads.ListenerType)
	c.ack(check(t, c.next(), ads.ListenerType, names(listenerName+"@1"), nil))
	c.subscribe(ads.RouteType, routeName)
	f.notAcked("routes are not acknowledged")
	c.ack(check(t, c.next(), ads.RouteType, names(routeName+"@1"), nil))
	f.acked(1)
	return c
}

// A request that waits for its Check has its old route and looks its cluster up afterwards.
func TestXD12_RemovalsWaitForRequestsInFlight(t *testing.T) {
	const grace = 60 * time.Millisecond
	f := newFixture(t, func(o *ads.Options) { o.Grace = grace })
	f.server.SetView(edge, 1, view(t, cluster(t, "old", "1"), endpoints(t, "old", "1"), listener(t, "l", "1"), route(t, "r", "1")))
	c := f.start(t, "old", "l", "r")
	f.server.SetView(edge, 2, view(t, listener(t, "l", "1"), route(t, "r", "2")))
	rds := check(t, c.next(), ads.RouteType, names("r@2"), nil)
	acknowledged := time.Now()
	c.ack(rds)
	check(t, c.next(), ads.EndpointType, nil, names("old"))
	if waited := time.Since(acknowledged); waited < grace {
		t.Errorf("removals came %v after the routes were acknowledged, want %v at least", waited, grace)
	}
}

// A change that is taken back while it is in flight, or while its removals wait, is told too.
func TestXD12_ChangeTakenBack(t *testing.T) {
	for _, state := range []string{"in flight", "removals wait"} {
		t.Run(state, func(t *testing.T) {
			f := newFixture(t, func(o *ads.Options) { o.Grace = time.Hour })
			first := view(t, cluster(t, "old", "1"), endpoints(t, "old", "1"), listener(t, "l", "1"), route(t, "r", "1"))
			f.server.SetView(edge, 1, first)
			c := f.start(t, "old", "l", "r")
			f.server.SetView(edge, 2, view(t, listener(t, "l", "1"), route(t, "r", "2")))
			rds := check(t, c.next(), ads.RouteType, names("r@2"), nil)
			if state == "removals wait" {
				c.ack(rds)
				c.quiet()
			}
			f.server.SetView(edge, 3, first)
			if state == "in flight" {
				c.quiet()
				c.ack(rds)
			}
			c.ack(check(t, c.next(), ads.RouteType, names("r@1"), nil))
			f.acked(3)
		})
	}
}

func TestXD12_DeltaMakeBeforeBreak(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, cluster(t, "old", "1"), endpoints(t, "old", "1"), listener(t, "l", "1"), route(t, "r", "1")))
	c := f.start(t, "old", "l", "r")

	f.server.SetView(edge, 2, view(t, cluster(t, "new", "1"), endpoints(t, "new", "1"), listener(t, "l", "2"), route(t, "r", "2")))
	clusters := check(t, c.next(), ads.ClusterType, names("new@1"), nil)
	c.quiet()
	c.subscribe(ads.EndpointType, "new")
	// Endpoints do not wait for the clusters' ACK: Envoy withholds it until the endpoints have come.
	eds := check(t, c.next(), ads.EndpointType, names("new@1"), nil)
	c.ack(eds)
	c.quiet()
	c.ack(clusters)
	lds := check(t, c.next(), ads.ListenerType, names("l@2"), nil)
	rds := check(t, c.next(), ads.RouteType, names("r@2"), nil)
	c.quiet()
	c.ack(lds)
	c.quiet()
	f.notAcked("routes are in flight")
	c.ack(rds)
	gone := check(t, c.next(), ads.EndpointType, nil, names("old"))
	c.ack(gone)
	f.notAcked("removals are in flight")
	gone = check(t, c.next(), ads.ClusterType, nil, names("old"))
	c.ack(gone)
	c.unsubscribe(ads.EndpointType, "old")
	f.acked(2)
	c.quiet()
}

func TestXD12_ListenerRemovalRidesWithItsSuccessor(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, listener(t, "a", "1")))
	c := f.delta(edge)
	c.subscribe(ads.ListenerType)
	c.ack(check(t, c.next(), ads.ListenerType, names("a@1"), nil))
	c.quiet()
	f.server.SetView(edge, 2, view(t, listener(t, "b", "1")))
	c.ack(check(t, c.next(), ads.ListenerType, names("b@1"), names("a")))
	c.quiet()
}

func TestXD13_EndpointsAreSentAgainAfterTheirClusterChanged(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, cluster(t, "c", "1"), cluster(t, "d", "1"), endpoints(t, "c", "1"), endpoints(t, "d", "1")))
	c := f.delta(edge)
	c.subscribe(ads.ClusterType)
	g := c.next()
	c.subscribe(ads.EndpointType, "c", "d")
	c.ack(c.next())
	c.ack(g)
	c.quiet()
	f.server.SetView(edge, 2, view(t, cluster(t, "c", "2"), cluster(t, "d", "1"), endpoints(t, "c", "1"), endpoints(t, "d", "1")))
	check(t, c.next(), ads.ClusterType, names("c@2"), nil)
	check(t, c.next(), ads.EndpointType, names("c@1"), nil)
	c.quiet()
}

func TestXD13_EndpointsAreSentAgainOnAReconnectThatChangesTheCluster(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, cluster(t, "c", "2"), endpoints(t, "c", "1")))
	c := f.delta(edge)
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: ads.ClusterType, InitialResourceVersions: map[string]string{"c": "1"}})
	check(t, c.next(), ads.ClusterType, names("c@2"), nil)
	c.send(&discoveryv3.DeltaDiscoveryRequest{
		TypeUrl: ads.EndpointType, ResourceNamesSubscribe: names("c"),
		InitialResourceVersions: map[string]string{"c": "1"},
	})
	check(t, c.next(), ads.EndpointType, names("c@1"), nil)
	c.quiet()
}

func TestXD13_EndpointsAreSentAgainWhenTheLastStreamEndedInTheMiddle(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, cluster(t, "c", "1"), endpoints(t, "c", "1")))
	c := f.delta(edge)
	c.subscribe(ads.ClusterType)
	check(t, c.next(), ads.ClusterType, names("c@1"), nil)
	c.cancel()
	_ = c.end()
	waitFor(t, "the stream to close", func() bool { return f.server.Status()[0].Streams == 0 })

	again := f.delta(edge)
	again.send(&discoveryv3.DeltaDiscoveryRequest{
		TypeUrl: ads.EndpointType, ResourceNamesSubscribe: names("c"),
		InitialResourceVersions: map[string]string{"c": "1"},
	})
	check(t, again.next(), ads.EndpointType, names("c@1"), nil)
}

func TestXD14_RoutesWaitForClustersAndGoOnWhenTheGateOpens(t *testing.T) {
	f := newFixture(t, func(o *ads.Options) { o.Gate = 50 * time.Millisecond })
	f.server.SetView(edge, 1, view(t, cluster(t, "c", "1"), endpoints(t, "c", "1"), listener(t, "l", "1"), route(t, "r", "1")))
	c := f.start(t, "c", "l", "r")
	f.server.SetView(edge, 2, view(t, cluster(t, "c", "2"), endpoints(t, "c", "1"), listener(t, "l", "1"), route(t, "r", "2")))
	before := time.Now()
	check(t, c.next(), ads.ClusterType, names("c@2"), nil)
	c.ack(check(t, c.next(), ads.EndpointType, names("c@1"), nil))
	// The clusters are never acknowledged.
	c.ack(check(t, c.next(), ads.RouteType, names("r@2"), nil))
	if waited := time.Since(before); waited < 40*time.Millisecond {
		t.Fatalf("routes came after %s", waited)
	}
	c.quiet()
	f.notAcked("clusters are not acknowledged")
}

func TestXD14_RefusedClustersDoNotHoldRoutes(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, cluster(t, "c", "1"), endpoints(t, "c", "1"), listener(t, "l", "1"), route(t, "r", "1")))
	c := f.start(t, "c", "l", "r")
	f.server.SetView(edge, 2, view(t, cluster(t, "c", "2"), endpoints(t, "c", "1"), listener(t, "l", "1"), route(t, "r", "2")))
	g := check(t, c.next(), ads.ClusterType, names("c@2"), nil)
	c.ack(check(t, c.next(), ads.EndpointType, names("c@1"), nil))
	c.nack(g)
	c.ack(check(t, c.next(), ads.RouteType, names("r@2"), nil))
	c.quiet()
	f.notAcked("clusters were refused")
}

func TestSlowClientGetsTheLatestStateOnly(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, route(t, "r", "1")))
	c := f.delta(edge)
	c.subscribe(ads.RouteType, "r")
	g := check(t, c.next(), ads.RouteType, names("r@1"), nil)
	for i := range 50 {
		f.server.SetView(edge, uint64(i+2), view(t, route(t, "r", string(rune('A'+i)))))
	}
	c.quiet()
	c.ack(g)
	c.ack(check(t, c.next(), ads.RouteType, names("r@r"), nil))
	c.quiet()
}

func TestStreamsWaitForTheFirstView(t *testing.T) {
	f := newFixture(t)
	c := f.delta(edge)
	c.subscribe(ads.ListenerType)
	c.subscribe(ads.RouteType, "r")
	waitFor(t, "the stream", func() bool { return len(f.server.Status()) == 1 })
	f.server.SetView(edge, 1, view(t, listener(t, "l", "1"), route(t, "r", "1")))
	check(t, c.next(), ads.ListenerType, names("l@1"), nil)
	check(t, c.next(), ads.RouteType, names("r@1"), nil)
}

func TestRemovedProxyLosesItsStreamsAndWaitsAgain(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, listener(t, "l", "1")))
	c := f.delta(edge)
	c.subscribe(ads.ListenerType)
	c.ack(check(t, c.next(), ads.ListenerType, names("l@1"), nil))
	f.server.Remove(edge)
	if err := c.end(); grpcCode(err) != codes.Unavailable {
		t.Fatal(err)
	}
	if all := f.server.Status(); len(all) != 0 {
		t.Fatalf("status %+v", all)
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited for %s in vain", what)
		}
	}
}
