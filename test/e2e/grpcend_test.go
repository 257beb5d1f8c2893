//go:build e2e

package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/credence-mesh/credence/examples/quickstart/shoppb"
	"github.com/credence-mesh/credence/internal/testenv"
)

// streamEnd is when and how a stream that sends for ever has ended.
type streamEnd struct {
	after time.Duration
	err   error
}

// watchForever begins a stream and hands back when it ends; it has begun where this returns.
func watchForever(t *testing.T, c shoppb.OrdersClient, token string) <-chan streamEnd {
	t.Helper()
	begun := time.Now()
	ctx := withToken(t, token)
	w, err := c.WatchOrders(ctx, &shoppb.WatchOrdersRequest{IntervalMs: 20})
	if err == nil {
		_, err = w.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan streamEnd, 1)
	go func() { // ends with the stream, at the latest with the test's context
		for {
			if _, err := w.Recv(); err != nil {
				ended <- streamEnd{time.Since(begun), err}
				return
			}
		}
	}()
	return ended
}

// TestStreamsEndAtTheirCap: the lifetime of an SVID ends every stream inside the mesh, those of the gateway too, however much moves on it.
func TestStreamsEndAtTheirCap(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.svidTTL = "10s"
	e := s.start(t)
	inside := watchForever(t, s.inside(t), "")
	outside := watchForever(t, s.outside(t), e.Token(audience, "read"))
	for name, c := range map[string]<-chan streamEnd{"inside the mesh": inside, "through the gateway": outside} {
		if r := <-c; r.after > 12*time.Second || r.after < 8*time.Second {
			t.Errorf("%s: the stream ended after %v: %v", name, r.after, r.err)
		}
	}
}

func (s *shop) inside(t *testing.T) shoppb.OrdersClient {
	return shopClient(t, fmt.Sprintf("127.0.0.1:%d", s.outOut), fmt.Sprintf("orders:%d", s.port), false)
}

func (s *shop) outside(t *testing.T) shoppb.OrdersClient {
	return shopClient(t, fmt.Sprintf("127.0.0.1:%d", s.plain), shopHost, false)
}

// TestStreamsEndWithTrust: what leaves the manifests takes its streams along, long before their cap.
func TestStreamsEndWithTrust(t *testing.T) {
	for _, c := range []struct {
		name string
		// edit takes from the manifests; cut are the streams that must end.
		edit            func(s *shop, e *testenv.Env)
		inside, outside bool
	}{
		{"the calling Workload leaves", func(_ *shop, e *testenv.Env) { e.Edit("caller.yaml", "") }, true, false},
		{"the calling Workload is refused its identity", func(s *shop, e *testenv.Env) {
			e.Edit("caller.yaml", strings.Replace(s.manifests()["caller.yaml"], "spec:", "spec:\n  spiffeID: spiffe://e2e.test/ns/other/wl/caller", 1))
		}, true, false},
		{"the calling Workload gets another identity", func(s *shop, e *testenv.Env) {
			e.Edit("caller.yaml", strings.Replace(s.manifests()["caller.yaml"], "spec:", "spec:\n  spiffeID: spiffe://e2e.test/ns/default/wl/other", 1))
		}, true, false},
		{"the called Workload leaves", func(_ *shop, e *testenv.Env) { e.Edit("orders.yaml", "") }, true, true},
		{"the Gateway leaves", func(s *shop, e *testenv.Env) {
			before, _, _ := strings.Cut(s.manifests()["mesh.yaml"], "---\napiVersion: gateway.networking.k8s.io")
			e.Edit("mesh.yaml", before)
		}, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, e := startShop(t)
			inside := watchForever(t, s.inside(t), "")
			outside := watchForever(t, s.outside(t), e.Token(audience, "read"))
			c.edit(s, e)
			edited := time.Now()
			for _, stream := range []struct {
				name  string
				ended <-chan streamEnd
				cut   bool
			}{{"inside", inside, c.inside}, {"outside", outside, c.outside}} {
				if !stream.cut {
					continue
				}
				select {
				case r := <-stream.ended:
					t.Logf("%s: cut after %v: %v", stream.name, time.Since(edited), r.err)
				case <-time.After(10 * time.Second):
					t.Errorf("%s: the stream goes on", stream.name)
				}
			}
			for _, stream := range []struct {
				name  string
				ended <-chan streamEnd
				cut   bool
			}{{"inside", inside, c.inside}, {"outside", outside, c.outside}} {
				select {
				case r := <-stream.ended:
					if !stream.cut {
						t.Errorf("%s: the stream of another ended: %v", stream.name, r.err)
					}
				default:
				}
			}
		})
	}
}
