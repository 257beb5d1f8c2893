//go:build e2e

package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"

	"github.com/credence-mesh/credence/internal/testenv"
)

const routeType = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

// dam holds route configurations back while it is closed.
type dam struct {
	mu     sync.Mutex
	open   chan struct{} // closed: open
	held   chan struct{} // one value for the first response that is held
	closed bool
}

func newDam() *dam {
	d := &dam{open: make(chan struct{}), held: make(chan struct{}, 1)}
	close(d.open)
	return d
}

func (d *dam) hold() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open, d.closed = make(chan struct{}), true
	select {
	case <-d.held:
	default:
	}
}

func (d *dam) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		close(d.open)
		d.closed = false
	}
}

func (d *dam) intercept(_ grpc.StreamServerInfo, ss grpc.ServerStream) grpc.ServerStream {
	return dammed{ss, d}
}

type dammed struct {
	grpc.ServerStream
	dam *dam
}

func (s dammed) SendMsg(m any) error {
	if r, ok := m.(*discoveryv3.DeltaDiscoveryResponse); ok && r.GetTypeUrl() == routeType {
		s.dam.mu.Lock()
		open, closed := s.dam.open, s.dam.closed
		s.dam.mu.Unlock()
		if closed {
			select {
			case s.dam.held <- struct{}{}:
			default:
			}
		}
		select {
		case <-open:
		case <-s.Context().Done():
			return s.Context().Err()
		}
	}
	return s.ServerStream.SendMsg(m)
}

// heldPath is what may be asked for, and what a generation answers: "200 <workload>" or the status alone.
type heldAnswers map[string]string // "path anonymous" or "path token" -> answer

func ask(t *testing.T, addr, path, token string) string {
	t.Helper()
	r, err := testenv.Get(t.Context(), testenv.Request{Addr: addr, Path: path, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	if r.Status == 200 {
		return "200 " + r.Body
	}
	return fmt.Sprint(r.Status)
}

func askAll(t *testing.T, addr, token string) heldAnswers {
	t.Helper()
	out := heldAnswers{}
	for _, path := range []string{"/a", "/a/b", "/c"} {
		out[path+" anonymous"] = ask(t, addr, path, "")
		out[path+" token"] = ask(t, addr, path, token)
	}
	return out
}

// Routes are swapped, moved and deleted while the gateway is not told of it: it goes on to ask about the routes that it has. An allow,
// and the workload that it leads to, is always one that the generation before or the one after gives.
func TestHeldRoutesNeverAllowWhatNoGenerationGives(t *testing.T) {
	s := newSite(t, "vault", "lobby")
	secret := func(path string) string { return s.route("secret", "plain", path, "vault", "token") }
	public := func(path string) string { return s.route("public", "plain", path, "lobby", "public") }
	generations := []struct {
		name   string
		routes []string
		want   heldAnswers
	}{
		{"first", []string{secret("/a"), public("/c")}, heldAnswers{
			"/a anonymous": "401", "/a token": "200 vault", "/a/b anonymous": "401", "/a/b token": "200 vault",
			"/c anonymous": "200 lobby", "/c token": "200 lobby",
		}},
		{"swapped", []string{secret("/c"), public("/a")}, heldAnswers{
			"/a anonymous": "200 lobby", "/a token": "200 lobby", "/a/b anonymous": "200 lobby", "/a/b token": "200 lobby",
			"/c anonymous": "401", "/c token": "200 vault",
		}},
		{"moved", []string{secret("/a/b"), public("/a")}, heldAnswers{
			"/a anonymous": "200 lobby", "/a token": "200 lobby", "/a/b anonymous": "401", "/a/b token": "200 vault",
			"/c anonymous": "404", "/c token": "404",
		}},
		{"deleted", []string{public("/a")}, heldAnswers{
			"/a anonymous": "200 lobby", "/a token": "200 lobby", "/a/b anonymous": "200 lobby", "/a/b token": "200 lobby",
			"/c anonymous": "404", "/c token": "404",
		}},
		{"back", []string{secret("/a"), public("/c")}, heldAnswers{
			"/a anonymous": "401", "/a token": "200 vault", "/a/b anonymous": "401", "/a/b token": "200 vault",
			"/c anonymous": "200 lobby", "/c token": "200 lobby",
		}},
	}
	d := newDam()
	e := testenv.Start(t, testenv.Options{Manifests: s.manifests(generations[0].routes...), Intercept: d.intercept})
	t.Cleanup(d.release) // before the product is stopped
	token := e.Token(audience, "read")
	before := generations[0]
	if got := askAll(t, s.frontAddr(), token); fmt.Sprint(got) != fmt.Sprint(before.want) {
		t.Fatalf("the first generation answers %v, want %v", got, before.want)
	}
	for _, after := range generations[1:] {
		d.hold()
		e.Edit("routes.yaml", join(after.routes...))
		<-d.held // extauthz judges by the new generation, and the gateway has the old routes
		t.Run(after.name+", held", func(t *testing.T) {
			retained := false
			for what, got := range askAll(t, s.frontAddr(), token) {
				if strings.HasPrefix(got, "200") && !slices.Contains([]string{before.want[what], after.want[what]}, got) {
					t.Errorf("%s: %s, and the generations answer %s and %s", what, got, before.want[what], after.want[what])
				}
				retained = retained || got == before.want[what] && got != after.want[what]
			}
			if !retained {
				t.Error("no answer is of the generation before: nothing was held")
			}
		})
		d.release()
		e.Await(after.name, func() string {
			if got := askAll(t, s.frontAddr(), token); fmt.Sprint(got) != fmt.Sprint(after.want) {
				return fmt.Sprintf("it answers %v, want %v", got, after.want)
			}
			return ""
		})
		before = after
	}
}
