//go:build e2e

package e2e_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/credence-mesh/credence/internal/testenv"
)

// A process gets the identity of the workload that its executable belongs to, by go-spiffe's own client; another one is told why not.
func TestWorkloadAPI(t *testing.T) {
	s := newSite(t, "client")
	work := testenv.WorkDir(t)
	w := s.workloads["client"]
	w.path = executable(t, work, "client")
	s.workloads["client"] = w
	stranger := executable(t, work, "stranger")
	e := testenv.Start(t, testenv.Options{Work: work, Manifests: s.manifests(s.route("public", "plain", "/", "client", "public"))})
	api := e.Endpoints().WorkloadAPI
	for mode, want := range map[string]string{"svid": "spiffe://e2e.test/ns/default/wl/client\n", "bundles": "e2e.test true\n"} {
		if out, err := runChild(t, w.path, mode, api); err != nil || out != want {
			t.Errorf("%s: got %q, %v; want %q", mode, out, err, want)
		}
		_, err := runChild(t, stranger, mode, api)
		if err == nil {
			t.Errorf("%s: a stranger got it", mode)
			continue
		}
		for _, part := range []string{
			"PermissionDenied", "path " + stranger, "the nearest Workload is default/client, which also needs path " + w.path,
		} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: the refusal %q lacks %q", mode, err, part)
			}
		}
	}
}

// load sends GET requests on new connections from several clients, and keeps everything that is not the answer wanted.
type load struct {
	stop   context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	served int
	failed []string
}

func startLoad(t *testing.T, clients int, good func(testenv.Reply) bool, r testenv.Request) *load {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	l := &load{stop: stop}
	for range clients {
		l.wg.Go(func() {
			for ctx.Err() == nil {
				reply, err := testenv.Get(ctx, r)
				if ctx.Err() != nil {
					return
				}
				l.mu.Lock()
				switch {
				case err != nil:
					l.failed = append(l.failed, err.Error())
				case !good(reply):
					l.failed = append(l.failed, fmt.Sprint(reply.Status, " ", reply.Body))
				default:
					l.served++
				}
				l.mu.Unlock()
			}
		})
	}
	t.Cleanup(func() { l.end(t) })
	return l
}

// end stops the clients; one request that failed fails the test.
func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop()
	l.wg.Wait()
	if len(l.failed) > 0 {
		t.Errorf("%d requests failed and %d were served; the first failure: %s", len(l.failed), l.served, l.failed[0])
	}
	if l.served == 0 {
		t.Error("no request was served")
	}
	l.failed = nil
}

// serial of the certificate that the inbound listener of a sidecar shows. The handshake need not succeed for us: we have no SVID.
func serial(t *testing.T, addr string) string {
	t.Helper()
	var leaf *x509.Certificate
	seen := errors.New("seen")
	c, err := tls.Dial("tcp", addr, &tls.Config{
		InsecureSkipVerify: true, // the certificate is looked at, nothing is sent
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			cert, err := x509.ParseCertificate(raw[0])
			leaf = cert
			return errors.Join(seen, err)
		},
	})
	if err == nil {
		_ = c.Close()
	}
	if leaf == nil {
		t.Fatalf("%s shows no certificate: %v", addr, err)
	}
	return leaf.SerialNumber.Text(16)
}

// SVIDs of ten seconds are renewed at half life under constant new connections: no request fails, and both certificates are seen.
func TestRotationCostsNoRequest(t *testing.T) {
	s := newSite(t, "lobby")
	s.svidTTL = "10s"
	e := testenv.Start(t, testenv.Options{Manifests: s.manifests(s.route("public", "plain", "/", "lobby", "public"))})
	inbound := e.Endpoints().Workloads["default/lobby"].Inbound["http"]
	first := serial(t, inbound)
	gateway := e.Status().Gateways[0].Expires
	l := startLoad(t, 3, func(r testenv.Reply) bool { return r.Status == 200 && r.Body == "lobby" }, testenv.Request{Addr: s.frontAddr(), Path: "/"})
	serials := map[string]bool{first: true}
	begun := time.Now()
	e.Await("two further certificates and the end of the first", func() string {
		serials[serial(t, inbound)] = true
		if len(serials) < 3 || time.Since(begun) < 11*time.Second {
			return fmt.Sprintf("%d certificates so far", len(serials))
		}
		return ""
	})
	l.end(t)
	t.Logf("%d requests, %d certificates", l.served, len(serials))
	if got := e.Status().Gateways[0].Expires; !got.After(gateway) {
		t.Errorf("the gateway's SVID still ends at %v", got)
	}
}
