package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/internal/app"
	"github.com/credence-mesh/credence/internal/cli"
)

// running is a state directory whose product says s of itself.
func running(t *testing.T, s admin.Status) (stateDir string) {
	t.Helper()
	stateDir, err := os.MkdirTemp("", "cli") // a socket path has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(stateDir) })
	socket := filepath.Join(stateDir, "admin.sock")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := admin.Serve(ctx, admin.OwnerOnly(l), admin.API(admin.Sources{Status: func() admin.Status { return s }})); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	body, err := json.Marshal(app.Endpoints{Format: 1, PID: os.Getpid(), AdminSocket: socket})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(stateDir, app.EndpointsFile), body, 0o600); err != nil {
		t.Fatal(err)
	}
	return stateDir
}

func TestStatusTablesLineUpWhateverTheyHold(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	dir := running(t, admin.Status{
		TrustDomain: "a.test", Generation: 7, Time: at, Degraded: []string{"issuer default/dev has no keys"}, NotReady: []string{"proxy gateway/default/edge: first\nsecond"},
		Gateways: []admin.Listening{
			{Name: "default/edge", SPIFFEID: "spiffe://a.test/ns/default/gw/edge", Addresses: []string{"http=127.0.0.1:80", "https=127.0.0.1:443"}},
			{Name: "default/a-gateway-with-a-rather-long-name", SPIFFEID: "spiffe://a.test/x", Denied: "its ID is taken"},
		},
		Proxies: []admin.Proxy{
			{ID: "gateway/default/edge", Restarts: 12, Error: "first\nsecond \x1b[31m"},
			{ID: "sidecar/default/orders", PID: 4194304, Connected: true, Version: "1.40.0", Generation: 7},
			{ID: "sidecar/default/web", PID: 1, Connected: true, Rejected: "Listener (in): bad"},
			{ID: "sidecar/default/x", PID: 2},
		},
		Issuers: []admin.Issuer{
			{Name: "default/dev", Issuer: "https://é.test", More: 2, Error: "late"},
			{Name: "default/idp", Issuer: "https://idp.test", Keys: 2, Updated: at.Add(-90 * time.Second), Next: at.Add(time.Hour), Until: at.Add(24 * time.Hour), Restored: true},
		},
		Pinned:      []string{"Mesh m"},
		Denied:      []string{"Workload default/y"},
		Diagnostics: []admin.Diagnostic{{Severity: "error", Code: "c", Position: "m.yaml:1:2", Message: "bad", Hint: "mend it"}},
	})
	var out, errs bytes.Buffer
	if code := cli.Main(t.Context(), []string{"status", "--state-dir", dir}, cli.IO{Out: &out, Err: &errs}); code != 0 || errs.Len() > 0 {
		t.Fatalf("exit code %d, %s", code, &errs)
	}
	const want = `mesh a.test, generation 7, not ready
  proxy gateway/default/edge: first; second
  issuer default/dev has no keys

KIND     NAME                                       LISTENS (mTLS for workloads)           CALLS OTHERS THROUGH  IDENTITY                            UNTIL
gateway  default/edge                               http=127.0.0.1:80 https=127.0.0.1:443  -                     spiffe://a.test/ns/default/gw/edge  -
gateway  default/a-gateway-with-a-rather-long-name  -                                      -                     none: its ID is taken               -

PROXY                   PROCESS  ENVOY   GENERATION  RESTARTS  STATE
gateway/default/edge    0        -       0           12        first; second ?[31m
sidecar/default/orders  4194304  1.40.0  7           0         connected
sidecar/default/web     1        -       0           0         refused Listener (in): bad
sidecar/default/x       2        -       0           0         not connected

ISSUER       URL                        KEYS  READ                  NEXT       TRUSTED UNTIL        FAILURE
default/dev  https://é.test and 2 more  0     -                     -          -                    late
default/idp  https://idp.test           2     1m30s ago, from disk  in 1h0m0s  2026-01-03 03:04:05  -

OBJECT              STATE
Mesh m              in force in its last good version
Workload default/y  never valid: what depends on it is denied

m.yaml:1:2: error: bad [c] (mend it)
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

// A port that no sidecar guards says so: no policy is in force there.
func TestStatusMarksOwnMTLS(t *testing.T) {
	dir := running(t, admin.Status{TrustDomain: "a.test", Generation: 1, Ready: true, Workloads: []admin.Listening{{
		Name: "default/ledger", SPIFFEID: "spiffe://a.test/l", Addresses: []string{"books=127.0.0.1:1", "http=127.0.0.1:2"}, OwnMTLS: []string{"books"}, Outbound: "127.0.0.1:3",
	}}})
	var out, errs bytes.Buffer
	if code := cli.Main(t.Context(), []string{"status", "--state-dir", dir}, cli.IO{Out: &out, Err: &errs}); code != 0 || errs.Len() > 0 {
		t.Fatalf("exit code %d, %s", code, &errs)
	}
	const want = `mesh a.test, generation 1, ready

KIND      NAME            LISTENS (mTLS for workloads)                       CALLS OTHERS THROUGH  IDENTITY           UNTIL
workload  default/ledger  books=127.0.0.1:1 (its own mTLS) http=127.0.0.1:2  127.0.0.1:3           spiffe://a.test/l  -
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}
