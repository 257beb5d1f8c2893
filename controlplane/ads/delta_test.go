package ads_test

import (
	"fmt"
	"strings"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"

	"github.com/credence-mesh/credence/controlplane/ads"
)

var refused = &statuspb.Status{Code: 13, Message: "missing ): (("}

func check(t *testing.T, g got, url string, resources, removed []string) got {
	t.Helper()
	want := got{Type: url, Resources: resources, Removed: removed}
	if d := cmp.Diff(want, g, cmpopts.IgnoreUnexported(got{}), cmpopts.EquateEmpty()); d != "" {
		t.Fatalf("response (-want +got):\n%s", d)
	}
	return g
}

func names(s ...string) []string { return s }

func TestXD01_DeltaErrorDetailRefusesAndItsAbsenceAcknowledges(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, route(t, "a", "1"), route(t, "b", "1")))
	c := f.delta(edge)
	c.subscribe(ads.RouteType, "a", "b")
	c.ack(check(t, c.next(), ads.RouteType, names("a@1", "b@1"), nil))
	f.server.SetView(edge, 2, view(t, route(t, "a", "2"), route(t, "b", "1")))
	c.nack(check(t, c.next(), ads.RouteType, names("a@2"), nil))
	c.quiet()
	r := f.rejections()
	if len(r) != 1 || r[0].Proxy != edge || r[0].TypeURL != ads.RouteType || r[0].Message != refused.GetMessage() ||
		!cmp.Equal(r[0].Names, names("a")) {
		t.Fatalf("rejections %+v", r)
	}
}

func TestXD02_DeltaRefusedContentIsNotRepeatedAndOtherTypesFlow(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, cluster(t, "c", "1"), route(t, "a", "1"), route(t, "b", "1")))
	c := f.delta(edge)
	c.subscribe(ads.ClusterType)
	c.ack(check(t, c.next(), ads.ClusterType, names("c@1"), nil))
	c.subscribe(ads.RouteType, "a", "b")
	c.ack(check(t, c.next(), ads.RouteType, names("a@1", "b@1"), nil))

	f.server.SetView(edge, 2, view(t, cluster(t, "c", "1"), route(t, "a", "2"), route(t, "b", "1")))
	c.nack(check(t, c.next(), ads.RouteType, names("a@2"), nil))
	c.quiet()
	f.server.SetView(edge, 3, view(t, cluster(t, "c", "2"), route(t, "a", "2"), route(t, "b", "1")))
	c.ack(check(t, c.next(), ads.ClusterType, names("c@2"), nil))
	c.quiet()
	// The content changes: the whole truth of the type comes, once.
	f.server.SetView(edge, 4, view(t, cluster(t, "c", "2"), route(t, "a", "3"), route(t, "b", "1")))
	c.ack(check(t, c.next(), ads.RouteType, names("a@3", "b@1"), nil))
	c.quiet()
}

func TestXD02_DeltaStormOfRefusalsIsOneResponsePerContent(t *testing.T) {
	f := newFixture(t)
	c := f.delta(edge)
	c.subscribe(ads.ListenerType)
	const contents = 20
	answers := 0
	for i := range contents {
		f.server.SetView(edge, uint64(i+1), view(t, listener(t, "l", fmt.Sprint(i))))
		c.nack(check(t, c.next(), ads.ListenerType, names("l@"+fmt.Sprint(i)), nil))
		answers++
		c.quiet()
	}
	if answers != contents {
		t.Fatalf("%d responses to %d contents", answers, contents)
	}
}

func TestXD02_DeltaSubscriptionAfterARefusalBringsOnlyWhatItNames(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, route(t, "a", "1"), route(t, "b", "1")))
	c := f.delta(edge)
	c.subscribe(ads.RouteType, "a")
	c.nack(check(t, c.next(), ads.RouteType, names("a@1"), nil))
	c.subscribe(ads.RouteType, "b")
	c.ack(check(t, c.next(), ads.RouteType, names("b@1"), nil))
	c.unsubscribe(ads.RouteType, "b")
	c.quiet()
}

// What was refused, then gone, and came back before its removal was told, was taken for known.
func TestXD02_DeltaRefusedResourceThatReturnsIsSent(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, cluster(t, "a", "1"), cluster(t, "c", "1")))
	c := f.delta(edge)
	c.subscribe(ads.ClusterType)
	c.nack(check(t, c.next(), ads.ClusterType, names("a@1", "c@1"), nil))
	c.quiet()
	f.server.SetView(edge, 2, view(t, cluster(t, "a", "2")))
	g := check(t, c.next(), ads.ClusterType, names("a@2"), nil)
	f.server.SetView(edge, 3, view(t, cluster(t, "a", "2"), cluster(t, "c", "1")))
	c.ack(g)
	c.ack(check(t, c.next(), ads.ClusterType, names("c@1"), nil))
	c.quiet()
}

// Envoy runs one of two new listeners when it refuses the other, and does not list it when it reconnects.
func TestXD09_DeltaPartOfARefusalIsRemovedAfterAReconnect(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, listener(t, "a", "1")))
	c := f.delta(edge)
	c.subscribe(ads.ListenerType)
	c.ack(check(t, c.next(), ads.ListenerType, names("a@1"), nil))
	f.server.SetView(edge, 2, view(t, listener(t, "a", "1"), listener(t, "bad", "1"), listener(t, "good", "1")))
	c.nack(check(t, c.next(), ads.ListenerType, names("bad@1", "good@1"), nil))
	c.quiet()
	c.cancel()
	_ = c.end()
	again := f.delta(edge)
	again.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: ads.ListenerType, InitialResourceVersions: map[string]string{"a": "1"}})
	again.quiet()
	f.server.SetView(edge, 3, view(t, listener(t, "a", "1")))
	again.ack(check(t, again.next(), ads.ListenerType, names("a@1"), names("bad", "good")))
	again.quiet()
}

func TestXD04_DeltaSubscriptionWithAStaleNonceApplies(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, route(t, "a", "1"), route(t, "b", "1")))
	c := f.delta(edge)
	c.subscribe(ads.RouteType, "a")
	check(t, c.next(), ads.RouteType, names("a@1"), nil)
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: ads.RouteType, ResponseNonce: "never-sent", ResourceNamesSubscribe: names("b")})
	check(t, c.next(), ads.RouteType, names("b@1"), nil)
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: ads.RouteType, ResponseNonce: "never-sent", ResourceNamesUnsubscribe: names("b")})
	c.quiet()
}

func TestXD05_DeltaLegacyWildcardEndsWhenItIsUnsubscribed(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, cluster(t, "a", "1"), cluster(t, "b", "1"), route(t, "r", "1")))
	c := f.delta(edge)
	c.subscribe(ads.ClusterType)
	c.ack(check(t, c.next(), ads.ClusterType, names("a@1", "b@1"), nil))
	c.subscribe(ads.RouteType)
	c.quiet() // no wildcard by default for routes
	c.subscribe(ads.ClusterType, "a")
	c.ack(check(t, c.next(), ads.ClusterType, names("a@1"), nil))
	c.unsubscribe(ads.ClusterType, "*")
	c.quiet()
	f.server.SetView(edge, 2, view(t, cluster(t, "a", "2"), cluster(t, "b", "2"), route(t, "r", "1")))
	c.ack(check(t, c.next(), ads.ClusterType, names("a@2"), nil))
	c.quiet()
}

func TestXD05_DeltaEmptyWildcardIsAnsweredOnce(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t))
	c := f.delta(edge)
	c.subscribe(ads.ListenerType)
	c.ack(check(t, c.next(), ads.ListenerType, nil, nil))
	c.quiet()
}

func TestXD06_DeltaResubscriptionIsAnswered(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, endpoints(t, "a", "1")))
	c := f.delta(edge)
	c.subscribe(ads.EndpointType, "a")
	c.ack(check(t, c.next(), ads.EndpointType, names("a@1"), nil))
	c.subscribe(ads.EndpointType, "a")
	c.ack(check(t, c.next(), ads.EndpointType, names("a@1"), nil))
	c.quiet()
}

func TestXD06_DeltaResubscribedWildcardIsAnsweredWithAll(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, listener(t, "a", "1"), listener(t, "b", "1")))
	c := f.delta(edge)
	c.subscribe(ads.ListenerType, "*")
	c.ack(check(t, c.next(), ads.ListenerType, names("a@1", "b@1"), nil))
	c.subscribe(ads.ListenerType, "*")
	c.ack(check(t, c.next(), ads.ListenerType, names("a@1", "b@1"), nil))
	c.quiet()
}

func TestXD07_DeltaUnsubscribedNameUnderAWildcardIsAnswered(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, cluster(t, "a", "1")))
	c := f.delta(edge)
	c.subscribe(ads.ClusterType, "*", "a", "gone")
	c.ack(check(t, c.next(), ads.ClusterType, names("a@1"), names("gone")))
	c.unsubscribe(ads.ClusterType, "a", "gone")
	c.ack(check(t, c.next(), ads.ClusterType, names("a@1"), names("gone")))
	c.quiet()
}

func TestXD08_DeltaUnknownNameIsAnsweredAndRemembered(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t))
	c := f.delta(edge)
	c.subscribe(ads.RouteType, "later")
	c.ack(check(t, c.next(), ads.RouteType, nil, names("later")))
	c.quiet()
	f.server.SetView(edge, 2, view(t, route(t, "later", "1"), route(t, "other", "1")))
	c.ack(check(t, c.next(), ads.RouteType, names("later@1"), nil))
	c.quiet()
}

func TestXD09_DeltaReconnectSendsTheDifference(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, listener(t, "same", "1"), listener(t, "new", "2"), route(t, "r", "1"), route(t, "s", "1")))
	c := f.delta(edge)
	c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: ads.ListenerType, InitialResourceVersions: map[string]string{
		"same": "1", "new": "1", "gone": "1",
	}})
	c.ack(check(t, c.next(), ads.ListenerType, names("new@2"), names("gone")))
	c.send(&discoveryv3.DeltaDiscoveryRequest{
		TypeUrl: ads.RouteType, ResourceNamesSubscribe: names("r", "s"),
		InitialResourceVersions: map[string]string{"r": "1"},
	})
	c.ack(check(t, c.next(), ads.RouteType, names("s@1"), nil))
	c.quiet()
	// Only the first request of a type says what the client has.
	c.send(&discoveryv3.DeltaDiscoveryRequest{
		TypeUrl: ads.RouteType, ResourceNamesSubscribe: names("r"),
		InitialResourceVersions: map[string]string{"r": "1"},
	})
	c.ack(check(t, c.next(), ads.RouteType, names("r@1"), nil))
}

func TestXD18_DeltaIdenticalContentAfterARestartSendsNothing(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 7, view(t, cluster(t, "c", "1"), listener(t, "l", "1"), route(t, "r", "1")))
	c := f.delta(edge)
	for url, name := range map[string]string{ads.ClusterType: "c", ads.ListenerType: "l"} {
		c.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: url, InitialResourceVersions: map[string]string{name: "1"}})
	}
	c.quiet()
	f.notAcked("the proxy has not said which routes it runs")
	c.send(&discoveryv3.DeltaDiscoveryRequest{
		TypeUrl: ads.RouteType, ResourceNamesSubscribe: names("r"),
		InitialResourceVersions: map[string]string{"r": "1"},
	})
	f.acked(7)
	c.quiet()
}

func TestXD09_DeltaReconnectAfterARefusalDoesNotRepeatIt(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, route(t, "a", "1"), route(t, "b", "1")))
	c := f.delta(edge)
	c.subscribe(ads.RouteType, "a", "b")
	c.ack(c.next())
	f.server.SetView(edge, 2, view(t, route(t, "a", "2"), route(t, "b", "1")))
	c.nack(check(t, c.next(), ads.RouteType, names("a@2"), nil))
	c.quiet()
	c.cancel()
	_ = c.end()

	again := f.delta(edge)
	again.send(&discoveryv3.DeltaDiscoveryRequest{
		TypeUrl: ads.RouteType, ResourceNamesSubscribe: names("a", "b"),
		InitialResourceVersions: map[string]string{"a": "1", "b": "1"},
	})
	again.quiet()
	f.server.SetView(edge, 3, view(t, route(t, "a", "3"), route(t, "b", "1")))
	again.ack(check(t, again.next(), ads.RouteType, names("a@3", "b@1"), nil))
	again.cancel()
	_ = again.end()

	// A new process has nothing: it gets everything.
	fresh := f.delta(edge)
	fresh.subscribe(ads.RouteType, "a", "b")
	fresh.ack(check(t, fresh.next(), ads.RouteType, names("a@3", "b@1"), nil))
}

func TestXD16_DeltaLargeResponseIsSplit(t *testing.T) {
	f := newFixture(t, func(o *ads.Options) { o.MaxMessage = 400 })
	var all []ads.Resource
	for i := range 10 {
		all = append(all, route(t, fmt.Sprintf("r%d", i), strings.Repeat("x", 100)))
	}
	f.server.SetView(edge, 1, view(t, all...))
	c := f.delta(edge)
	c.subscribe(ads.RouteType, "*")
	seen := map[string]bool{}
	messages := 0
	for len(seen) < len(all) {
		g := c.next()
		messages++
		for _, r := range g.Resources {
			if seen[r] {
				t.Fatalf("%s came twice", r)
			}
			seen[r] = true
		}
		c.ack(g)
	}
	if messages < 3 {
		t.Fatalf("%d messages", messages)
	}
	c.quiet()
}

func TestXD16_DuplicateNamesAndForeignTypesAreNoView(t *testing.T) {
	for name, resources := range map[string][]ads.Resource{
		"duplicate":     {route(t, "a", "1"), route(t, "a", "2")},
		"mismatch":      {{Name: "a", TypeURL: ads.RouteType, Version: "1", Body: cluster(t, "a", "1").Body}},
		"unknown type":  {{Name: "a", TypeURL: "x", Version: "1"}},
		"no version":    {{Name: "a", TypeURL: ads.RouteType, Body: route(t, "a", "1").Body}},
		"no name":       {route(t, "", "1")},
		"wildcard name": {route(t, "*", "1")},
		"no body":       {{Name: "a", TypeURL: ads.RouteType, Version: "1"}},
	} {
		if _, err := ads.NewView(resources); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestXD17_NoncesAreUnique(t *testing.T) {
	f := newFixture(t)
	f.server.SetView(edge, 1, view(t, cluster(t, "c", "1"), route(t, "r", "1")))
	seen := map[string]bool{}
	for range 3 {
		c := f.delta(edge)
		c.subscribe(ads.ClusterType)
		a := c.next()
		c.ack(a)
		c.subscribe(ads.RouteType, "r")
		b := c.next()
		for _, g := range []got{a, b} {
			if g.nonce == "" || seen[g.nonce] {
				t.Fatalf("nonce %q again", g.nonce)
			}
			seen[g.nonce] = true
		}
		c.cancel()
		_ = c.end()
	}
}
