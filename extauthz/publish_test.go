package extauthz_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/credence-mesh/credence/policy"
)

// without is orders() without the route "plain"; its policy stays, with more rules.
func without(extra ...policy.Rule) *policy.Set {
	set := orders()
	set.Workloads[0].Ports = []policy.Port{set.Workloads[0].Ports[0], set.Workloads[0].Ports[2]}
	set.Policies[1].Rules = append(set.Policies[1].Rules, extra...)
	return set
}

var noBatch = policy.Rule{Name: "no-batch", Action: policy.Deny, From: []policy.Peer{{ID: batchID}}}

func TestVanishedRoute(t *testing.T) {
	plain := ask(withRoute("plain"))
	fromBatch := ask(withRoute("plain"), withPeer("cert "+batchID, ""))
	expect := func(t *testing.T, r *rig, want string) {
		t.Helper()
		if got := r.answer(t, plain); got.Reason != want {
			t.Errorf("%+v, want %s", got, want)
		}
	}
	t.Run("stays until its proxy has acknowledged", func(t *testing.T) {
		r := newRig(t)
		r.Publish(without(), 2)
		expect(t, r, "allowed")
		r.Acknowledged(own, 1)
		expect(t, r, "allowed")
		r.Acknowledged(edge, 2)
		expect(t, r, "allowed")
		r.Acknowledged(own, 2)
		// A request that took the route before it went may still ask.
		r.clock = r.clock.Add(2*time.Second - 1)
		r.Acknowledged(own, 2)
		expect(t, r, "allowed")
		r.clock = r.clock.Add(1)
		expect(t, r, "route_unknown")
	})
	t.Run("stays over later sets, and a later acknowledgement counts", func(t *testing.T) {
		r := newRig(t)
		r.Publish(without(), 2)
		r.Publish(without(), 3)
		expect(t, r, "allowed")
		if n := r.counter(t, "credence_check_retired_routes"); n != 1 {
			t.Errorf("%v retired routes", n)
		}
		r.Acknowledged(own, 3)
		r.clock = r.clock.Add(2 * time.Second)
		expect(t, r, "route_unknown")
	})
	t.Run("ends after 60 s", func(t *testing.T) {
		r := newRig(t)
		r.Publish(without(), 2)
		r.clock = r.clock.Add(59 * time.Second)
		r.Publish(without(), 3)
		expect(t, r, "allowed")
		r.clock = r.clock.Add(time.Second)
		expect(t, r, "route_unknown")
		r.Publish(without(), 4)
		expect(t, r, "route_unknown")
	})
	t.Run("today's denies count", func(t *testing.T) {
		r := newRig(t)
		if got := r.answer(t, fromBatch); got.Code != 200 {
			t.Fatalf("%+v", got)
		}
		r.Publish(without(noBatch), 2)
		expect(t, r, "allowed")
		if got := r.answer(t, fromBatch); got.Reason != "denied_by_rule" {
			t.Errorf("%+v", got)
		}
		// Denies that come while it is retired count too, and end with the rules that hold them.
		r.Publish(without(), 3)
		if got := r.answer(t, fromBatch); got.Code != 200 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("comes back with the rules of today", func(t *testing.T) {
		r := newRig(t)
		r.Publish(without(), 2)
		set := orders()
		set.Policies[1].Rules = nil
		r.Publish(set, 3)
		r.Acknowledged(own, 2)
		expect(t, r, "no_rule_matches")
	})
	t.Run("another proxy still may not ask", func(t *testing.T) {
		r := newRig(t)
		set := without()
		set.Workloads[0].Name = name("others")
		r.Publish(set, 2)
		expect(t, r, "allowed")
		if got := r.answer(t, ask(withRoute("http"))); got.Reason != "route_unknown" {
			t.Errorf("%+v", got)
		}
	})
}

// The same id with other rules: the newest decide, at once.
func TestNewestRulesDecide(t *testing.T) {
	r := newRig(t)
	set := orders()
	set.Policies[1].Rules = []policy.Rule{noBatch}
	r.Publish(set, 2)
	if got := r.answer(t, ask(withRoute("plain"))); got.Reason != "no_rule_matches" {
		t.Errorf("%+v", got)
	}
	set = orders()
	set.Mesh.TrustDomain = "new.test"
	r.Publish(set, 3)
	if got := r.answer(t, ask()); got.Reason != "peer_trust_domain" {
		t.Errorf("a peer whose trust domain has left the Set: %+v", got)
	}
}

// Sets are swapped, routes vanish and come back, all under Checks: "plain" is allowed to web and denied to batch in every generation.
func TestPublishUnderLoad(t *testing.T) {
	r := newRig(t, discard)
	set := orders()
	set.Policies[1].Rules = append(set.Policies[1].Rules, noBatch)
	r.Publish(set, 2)
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if got := r.answer(t, ask(withRoute("plain"))); got.Code != 200 {
					t.Errorf("web: %+v", got)
				}
				if got := r.answer(t, ask(withRoute("plain"), withPeer("cert "+batchID, ""))); got.Code != 403 {
					t.Errorf("batch: %+v", got)
				}
			}
		})
	}
	for i := range uint64(200) {
		r.Publish(without(noBatch), 3+2*i)
		r.Publish(set, 4+2*i)
		r.Acknowledged(own, 4+2*i)
	}
	stop()
	wg.Wait()
}
