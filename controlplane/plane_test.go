package controlplane_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/credence-mesh/credence/controlplane"
	"github.com/credence-mesh/credence/controlplane/ads"
	"github.com/credence-mesh/credence/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const edge = policy.ProxyID("gateway/default/edge")

// fixed attests every stream as one proxy.
type fixed policy.ProxyID

func (f fixed) Caller(context.Context) (policy.ProxyID, error) { return policy.ProxyID(f), nil }

// translator gives every proxy one listener that is named like the trust domain of the Set; broken ones fail.
type translator struct {
	mu     sync.Mutex
	broken map[policy.ProxyID]string
}

var errBroken = errors.New("no such certificate")

func (tr *translator) set(broken map[policy.ProxyID]string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.broken = broken
}

func (tr *translator) translate(set *policy.Set, proxy policy.ProxyID) ([]ads.Resource, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	body, err := anypb.New(&listenerv3.Listener{Name: set.Mesh.TrustDomain})
	if err != nil {
		return nil, err
	}
	r := ads.Resource{Name: set.Mesh.TrustDomain, TypeURL: ads.ListenerType, Version: "1", Body: body}
	switch tr.broken[proxy] {
	case "error":
		return nil, errBroken
	case "invalid":
		return []ads.Resource{r, r}, nil
	}
	return []ads.Resource{r}, nil
}

func set(name string, workloads ...string) *policy.Set {
	s := &policy.Set{
		Mesh:     policy.Mesh{TrustDomain: name},
		Gateways: []policy.Gateway{{Name: policy.Name{Namespace: "default", Name: "edge"}}},
	}
	for _, w := range workloads {
		s.Workloads = append(s.Workloads, policy.Workload{Name: policy.Name{Namespace: "default", Name: w}})
	}
	return s
}

func generations(p *controlplane.Plane) map[policy.ProxyID]uint64 {
	all := map[policy.ProxyID]uint64{}
	for _, s := range p.Status() {
		all[s.Proxy] = s.Generation
	}
	return all
}

func TestPublishCoversEveryProxyOfTheSet(t *testing.T) {
	tr := &translator{}
	p := controlplane.New(controlplane.Options{Translate: tr.translate, Callers: fixed(edge)})
	if err := p.Publish(set("a", "orders", "web"), 1); err != nil {
		t.Fatal(err)
	}
	want := map[policy.ProxyID]uint64{edge: 1, "sidecar/default/orders": 1, "sidecar/default/web": 1}
	if d := cmp.Diff(want, generations(p)); d != "" {
		t.Fatal(d)
	}
	if err := p.Publish(set("a", "web"), 2); err != nil {
		t.Fatal(err)
	}
	want = map[policy.ProxyID]uint64{edge: 2, "sidecar/default/web": 2}
	if d := cmp.Diff(want, generations(p)); d != "" {
		t.Fatal(d)
	}
}

func TestBrokenProxyKeepsItsViewAndOthersAdvance(t *testing.T) {
	for _, how := range []string{"error", "invalid"} {
		tr := &translator{}
		p := controlplane.New(controlplane.Options{Translate: tr.translate, Callers: fixed(edge)})
		if err := p.Publish(set("a", "orders", "web"), 1); err != nil {
			t.Fatal(err)
		}
		tr.set(map[policy.ProxyID]string{"sidecar/default/orders": how, "sidecar/default/new": how})
		err := p.Publish(set("b", "orders", "web", "new"), 2)
		if !errors.Is(err, controlplane.ErrTranslate) || !strings.Contains(err.Error(), "sidecar/default/orders") {
			t.Fatalf("%s: %v", how, err)
		}
		if how == "error" && !errors.Is(err, errBroken) {
			t.Fatal(err)
		}
		want := map[policy.ProxyID]uint64{edge: 2, "sidecar/default/orders": 1, "sidecar/default/web": 2, "sidecar/default/new": 0}
		if d := cmp.Diff(want, generations(p)); d != "" {
			t.Fatal(d)
		}
		for _, s := range p.Status() {
			broken := strings.HasSuffix(string(s.Proxy), "orders") || strings.HasSuffix(string(s.Proxy), "new")
			if broken != (s.Error != "") || s.Published != 2 {
				t.Fatalf("status %+v", s)
			}
		}
		tr.set(nil)
		if err := p.Publish(set("b", "orders", "web", "new"), 3); err != nil {
			t.Fatal(err)
		}
	}
}

func TestGenerationsRise(t *testing.T) {
	tr := &translator{}
	p := controlplane.New(controlplane.Options{Translate: tr.translate, Callers: fixed(edge)})
	if err := p.Publish(set("a"), 5); err != nil {
		t.Fatal(err)
	}
	for _, g := range []uint64{5, 4, 0} {
		if err := p.Publish(set("b"), g); !errors.Is(err, controlplane.ErrStaleGeneration) {
			t.Fatalf("generation %d: %v", g, err)
		}
	}
}

func TestAcknowledgementAndRefusalReachTheStatus(t *testing.T) {
	acks := make(chan string, 10)
	rejections := make(chan ads.Rejection, 10)
	tr := &translator{}
	p := controlplane.New(controlplane.Options{
		Translate: tr.translate, Callers: fixed(edge),
		Acknowledged: func(id policy.ProxyID, g uint64) { acks <- fmt.Sprint(id, " ", g) },
		Rejected:     func(r ads.Rejection) { rejections <- r },
	})
	if err := p.Publish(set("a"), 1); err != nil {
		t.Fatal(err)
	}
	stream := connect(t, p)
	for _, url := range []string{ads.ClusterType, ads.ListenerType} {
		if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: url, Node: &corev3.Node{Id: string(edge)}}); err != nil {
			t.Fatal(err)
		}
		answer(t, stream, nil)
	}
	if got := receive(t, acks); got != "gateway/default/edge 1" {
		t.Fatal(got)
	}
	if err := p.Publish(set("b"), 2); err != nil {
		t.Fatal(err)
	}
	answer(t, stream, &statuspb.Status{Code: 13, Message: "bad listener"})
	if r := receive(t, rejections); !cmp.Equal(r.Names, []string{"a", "b"}) {
		t.Fatalf("%+v", r)
	}
	s := p.Status()[0]
	body, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"acknowledged":1`, `"generation":2`, `"published":2`, `"bad listener"`, `"names":["a","b"]`, `"streams":1`} {
		if !strings.Contains(string(body), want) {
			t.Errorf("%s is not in %s", want, body)
		}
	}
}

type deltaStream = grpc.BidiStreamingClient[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]

func connect(t *testing.T, p *controlplane.Plane) deltaStream {
	t.Helper()
	l := bufconn.Listen(1 << 16)
	g := grpc.NewServer()
	p.Register(g)
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///ads", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return l.Dial() }))
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
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func answer(t *testing.T, stream deltaStream, refusal *statuspb.Status) {
	t.Helper()
	m, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: m.GetTypeUrl(), ResponseNonce: m.GetNonce(), ErrorDetail: refusal})
	if err != nil {
		t.Fatal(err)
	}
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
	}
	panic("unreachable")
}
