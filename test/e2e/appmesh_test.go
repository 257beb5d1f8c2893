//go:build e2e

package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/credence-mesh/credence/internal/testenv"
	"github.com/credence-mesh/credence/internal/testport"
)

// appMesh is a gateway "edge" with a plain listener, a Workload "app" whose application is a handler of the test, and a Workload "caller"
// that calls it through its outbound proxy.
type appMesh struct {
	*testenv.Env
	// front is the gateway, outbound the caller's proxy; "ip:port".
	front, outbound string
	// port of the application.
	port int
	// arrived counts the requests that the application got.
	arrived atomic.Int64
}

const appManifests = `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: credence
  addresses: [{value: 127.0.0.1}]
  listeners: [{name: plain, port: %[1]d, protocol: HTTP}]
---
apiVersion: credence.mesh/v1alpha1
kind: Workload
metadata: {name: app}
spec:
  selectors: {unix: {path: /nowhere/app}}
  boundary: none
  ports: [{name: http, port: %[2]d, inbound: "127.0.0.1:%[3]d"}]
  sidecar: {outbound: "127.0.0.1:%[4]d"}
---
apiVersion: credence.mesh/v1alpha1
kind: Workload
metadata: {name: caller}
spec:
  selectors: {unix: {path: /nowhere/caller}}
  boundary: none
  sidecar: {outbound: "127.0.0.1:%[5]d"}
---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: app}
spec:
  targetRefs: [{group: credence.mesh, kind: Workload, name: app}]
  rules: [{name: mesh, authentication: [anonymous], from: [{gateway: edge}, {workload: caller}]}]
`

// startApp runs the mesh with these routes and policies; APP in them is the backend's port.
func startApp(t *testing.T, routes string, handler http.Handler) *appMesh {
	t.Helper()
	p := testport.Free(t, 6)
	m := &appMesh{front: fmt.Sprintf("127.0.0.1:%d", p[0]), outbound: fmt.Sprintf("127.0.0.1:%d", p[4]), port: p[1]}
	serveOn(t, p[1], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.arrived.Add(1)
		handler.ServeHTTP(w, r)
	}))
	m.Env = testenv.Start(t, testenv.Options{Manifests: map[string]string{
		"mesh.yaml":   (&site{issuer: p[5]}).mesh(),
		"app.yaml":    fmt.Sprintf(appManifests, p[0], p[1], p[2], p[3], p[4]),
		"routes.yaml": strings.ReplaceAll(routes, "APP", fmt.Sprint(p[1])),
	}})
	return m
}

// serveOn serves on 127.0.0.1:port until the test ends.
func serveOn(t *testing.T, port int, handler http.Handler) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: handler}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }() // ends with Close
	t.Cleanup(func() {
		_ = srv.Close() // streams that are still open end with it
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// do sends one request on a connection of its own to the gateway.
func (m *appMesh) do(t *testing.T, method, path string, header map[string]string, body []byte) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+m.front+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		if strings.EqualFold(name, "host") {
			req.Host = value
		}
		req.Header.Set(name, value)
	}
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	text, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return res, string(text)
}

// checks is how many Checks the product has answered since its log was that long.
func (m *appMesh) checks(before int) int { return strings.Count(m.Log()[before:], "msg=check ") }

// rule is an HTTPRoute with one rule, and the AuthPolicy of it: "public", or "token" for users with the scope read.
func rule(name, spec, access string) string {
	who := "authentication: [anonymous]"
	if access == "token" {
		who = "require: {scopes: {allOf: [read]}}"
	}
	return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %[1]s}
spec:
  parentRefs: [{name: edge}]
  rules:
  - backendRefs: [{group: credence.mesh, kind: Workload, name: app, port: APP}]
    %[2]s
---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: %[1]s}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: %[1]s}]
  authentication: {issuers: [dev]}
  rules: [{name: who, %[3]s}]
`, name, strings.ReplaceAll(spec, "\n", "\n    "), who)
}
