//go:build e2e

package e2e_test

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/internal/testenv"
	"github.com/credence-mesh/credence/internal/testport"
)

func answers(t *testing.T, addr, path, want string) func() string {
	return func() string {
		r, err := testenv.Get(t.Context(), testenv.Request{Addr: addr, Path: path})
		if err != nil {
			return err.Error()
		}
		if got := fmt.Sprint(r.Status, " ", r.Body); got != want {
			return got
		}
		return ""
	}
}

func closed(addr string) func() string {
	return func() string {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return ""
		}
		_ = c.Close()
		return addr + " accepts connections"
	}
}

// A listener of a gateway is added, moved to another port and removed by edits; the process is the same all the time, and the listener
// beside it serves on.
func TestListenersAreEditedWithoutARestart(t *testing.T) {
	s := newSite(t, "lobby")
	ports := testport.Free(t, 2)
	first, second := fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	plain, other := s.route("public", "plain", "/", "lobby", "public"), s.route("more", "other", "/more", "lobby", "public")
	e := testenv.Start(t, testenv.Options{Manifests: s.manifests(plain)})
	before := pids(e.Status())
	undisturbed := func() {
		t.Helper()
		if why := answers(t, s.frontAddr(), "/", "200 lobby")(); why != "" {
			t.Errorf("the other listener answers %s", why)
		}
	}

	e.Edit("gateway.yaml", gateway(map[string]int{"plain": s.front, "other": ports[0]}))
	e.Edit("routes.yaml", join(plain, other))
	e.Await("the listener that was added", answers(t, first, "/more", "200 lobby"))
	undisturbed()
	e.Edit("gateway.yaml", gateway(map[string]int{"plain": s.front, "other": ports[1]}))
	e.Await("the listener on its other port", answers(t, second, "/more", "200 lobby"))
	e.Await("the port that it left", closed(first))
	undisturbed()
	if got := e.Gateway("edge", "other"); got != second {
		t.Errorf("endpoints.json says %s, want %s", got, second)
	}
	e.Edit("gateway.yaml", gateway(map[string]int{"plain": s.front}))
	e.Edit("routes.yaml", plain)
	e.Await("the port of the listener that was removed", closed(second))
	undisturbed()
	if diff := cmp.Diff(before, pids(e.Status())); diff != "" {
		t.Errorf("the proxies are others now: %s", diff)
	}
}

// A workload that an edit adds gets its sidecar and its identity, and loses both when its manifest is removed.
func TestWorkloadComesAndGoes(t *testing.T) {
	s := newSite(t, "lobby", "client")
	work := testenv.WorkDir(t)
	client := s.workloads["client"]
	client.path = executable(t, work, "client")
	s.workloads["client"] = client
	m := s.manifests(s.route("public", "plain", "/", "lobby", "public"))
	manifest := m["client.yaml"]
	delete(m, "client.yaml")
	e := testenv.Start(t, testenv.Options{Work: work, Manifests: m})
	api := e.Endpoints().WorkloadAPI
	if out, err := runChild(t, client.path, "svid", api); err == nil {
		t.Fatalf("it has an identity before it is in the manifests: %s", out)
	}
	before := pids(e.Status())
	inbound := fmt.Sprintf("127.0.0.1:%d", client.inbound)

	e.Edit("client.yaml", manifest)
	e.Await("the sidecar", func() string {
		status := e.Status()
		if pids(status)["sidecar/default/client"] == 0 {
			return "it does not run"
		}
		return strings.Join(status.NotReady, "; ")
	})
	if why := closed(inbound)(); why == "" {
		t.Errorf("nothing listens on %s", inbound)
	}
	out, err := runChild(t, client.path, "svid", api)
	if want := "spiffe://e2e.test/ns/default/wl/client\n"; err != nil || out != want {
		t.Errorf("got %q, %v; want %q", out, err, want)
	}
	pid := pids(e.Status())["sidecar/default/client"]
	if !lives(pid) {
		t.Errorf("its sidecar (%d) does not live", pid)
	}

	e.Edit("client.yaml", "")
	e.Await("the end of the sidecar", func() string {
		if lives(pid) {
			return fmt.Sprintf("%d lives", pid)
		}
		return cmp.Diff(before, pids(e.Status()))
	})
	if why := closed(inbound)(); why != "" {
		t.Error(why)
	}
	if out, err := runChild(t, client.path, "svid", api); err == nil {
		t.Errorf("it has an identity after it has left the manifests: %s", out)
	}
	if _, ok := e.Endpoints().Workloads["default/client"]; ok {
		t.Error("endpoints.json still has it")
	}
	if sockets, err := filepath.Glob(filepath.Join(e.Run, "proxies", "*", "agent.sock")); err != nil || len(sockets) != len(before) {
		t.Errorf("agent sockets %v, %v; want %d", sockets, err, len(before))
	}
}
