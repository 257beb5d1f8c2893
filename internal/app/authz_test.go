package app_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/internal/app"
	"github.com/credence-mesh/credence/policy"
)

const authzMesh = `
apiVersion: credence.mesh/v1alpha1
kind: Mesh
metadata: {name: beside}
spec: {trustDomain: beside.test}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: credence
  listeners: [{name: web, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{name: edge}]
  hostnames: [shop.test]
  rules: [{name: all}]
---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: shop}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: shop}]
  rules:
    - name: public
      authentication: [anonymous]
      to: [{methods: [GET], paths: [/public]}]
`

const secondGateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: other}
spec:
  gatewayClassName: credence
  listeners: [{name: web, port: 81, protocol: HTTP}]
`

// beside is a running Check server.
type beside struct {
	t       *testing.T
	dir     string
	state   string
	stop    context.CancelFunc
	ended   chan error
	changed chan app.Event
}

// startAuthz runs app.Authz with the manifests of authzMesh. It is ready, or has ended with the error that is returned.
func startAuthz(t *testing.T, edit func(*app.AuthzOptions)) (*beside, error) {
	t.Helper()
	work, err := os.MkdirTemp("", "cr-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(work) })
	b := &beside{t: t, dir: filepath.Join(work, "m"), state: filepath.Join(work, "s"), ended: make(chan error, 1), changed: make(chan app.Event, 100)}
	must(t, os.Mkdir(b.dir, 0o700))
	b.write("mesh.yaml", authzMesh)
	o := app.AuthzOptions{
		Dir: b.dir, StateDir: b.state, RunDir: filepath.Join(work, "r"), AdminAddress: "127.0.0.1:0", Version: "test",
		Log: slog.New(slog.DiscardHandler), Changed: func(e app.Event) { b.changed <- e },
	}
	edit(&o)
	ctx, stop := context.WithCancel(t.Context())
	b.stop = stop
	go func() { b.ended <- app.Authz(ctx, o) }()
	t.Cleanup(func() {
		stop()
		if err, ok := <-b.ended; ok && err != nil {
			t.Errorf("it ended badly: %v", err)
		}
	})
	for {
		select {
		case err := <-b.ended:
			close(b.ended)
			return nil, err
		case e := <-b.changed:
			if e.Ready {
				return b, nil
			}
			if len(e.Status.NotReady) > 0 && e.Status.Generation == 0 && !e.Waiting {
				return b, nil // it tells why: the test looks
			}
		case <-time.After(20 * time.Second):
			t.Fatal("it is not ready")
		}
	}
}

func (b *beside) write(file, text string) {
	b.t.Helper()
	tmp := filepath.Join(b.dir, file+".new~")
	must(b.t, errors.Join(os.WriteFile(tmp, []byte(text), 0o600), os.Rename(tmp, filepath.Join(b.dir, file))))
}

func (b *beside) status() admin.Status {
	b.t.Helper()
	e, err := app.ReadEndpoints(b.state)
	must(b.t, err)
	s, err := admin.Fetch(b.t.Context(), e.AdminSocket)
	must(b.t, err)
	return s
}

// await waits for the manifests to be read until ok.
func (b *beside) await(what string, ok func(admin.Status) bool) {
	b.t.Helper()
	for {
		select {
		case e := <-b.changed:
			if ok(e.Status) {
				return
			}
		case <-time.After(20 * time.Second):
			b.t.Fatalf("waiting for %s", what)
		}
	}
}

// asking is a connection over which Checks are asked.
type asking struct {
	conn   *grpc.ClientConn
	client authv3.AuthorizationClient
}

func dial(t *testing.T, target string, creds credentials.TransportCredentials) *asking {
	t.Helper()
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(creds))
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return &asking{conn, authv3.NewAuthorizationClient(conn)}
}

// get asks about GET http://host/path and returns "allowed", the reason of a refusal, or the code of an error.
func (a *asking) get(ctx context.Context, host, path string) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	resp, err := a.client.Check(ctx, &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{Method: "GET", Host: host, Path: path}},
	}})
	switch {
	case err != nil:
		return status.Code(err).String()
	case resp.GetStatus().GetCode() == int32(codes.OK):
		return "allowed"
	}
	return resp.GetStatus().GetMessage()
}

func TestAuthzOnASocket(t *testing.T) {
	var socket string
	b, err := startAuthz(t, func(o *app.AuthzOptions) {
		socket = filepath.Join(filepath.Dir(o.StateDir), "check.sock")
		o.Socket.Path = socket
	})
	must(t, err)
	info, err := os.Stat(socket)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v", info.Mode())
	}
	a := dial(t, "unix:"+socket, insecure.NewCredentials())
	for _, c := range [][3]string{
		{"shop.test", "/public", "allowed"}, {"shop.test", "/other", "no_rule_matches"}, {"other.test", "/public", "route_unknown"},
	} {
		if got := a.get(t.Context(), c[0], c[1]); got != c[2] {
			t.Errorf("%s%s: %s, want %s", c[0], c[1], got, c[2])
		}
	}
	// An edit takes effect; a broken one changes nothing.
	b.write("mesh.yaml", strings.ReplaceAll(authzMesh, "/public]", "/other]"))
	b.await("the edit", func(s admin.Status) bool { return s.Generation == 2 })
	if got := a.get(t.Context(), "shop.test", "/public") + " " + a.get(t.Context(), "shop.test", "/other"); got != "no_rule_matches allowed" {
		t.Errorf("after the edit: %s", got)
	}
	b.write("mesh.yaml", strings.ReplaceAll(authzMesh, "targetRefs", "tragetRefs"))
	b.await("the broken edit", func(s admin.Status) bool { return len(s.Pinned) == 1 })
	if got := a.get(t.Context(), "shop.test", "/other"); got != "allowed" {
		t.Errorf("after a broken edit: %s", got)
	}
	s := b.status()
	if len(s.Gateways) != 1 || s.Gateways[0].Name != "default/edge" || s.Gateways[0].Addresses[0] != "check="+socket || s.TrustDomain != "beside.test" {
		t.Errorf("status: %+v", s)
	}
	b.stop()
	must(t, <-b.ended)
	close(b.ended)
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if _, err := app.ReadEndpoints(b.state); !errors.Is(err, app.ErrNotRunning) {
		t.Errorf("endpoints.json is still there: %v", err)
	}
}

// TestAuthzNeedsOneGateway: rules of the wrong gateway must not be taken for those of the right one.
func TestAuthzNeedsOneGateway(t *testing.T) {
	var socket string
	on := func(o *app.AuthzOptions) {
		socket = filepath.Join(filepath.Dir(o.StateDir), "check.sock")
		o.Socket.Path = socket
	}
	b, err := startAuthz(t, on)
	must(t, err)
	a := dial(t, "unix:"+socket, insecure.NewCredentials())
	b.write("second.yaml", secondGateway)
	b.await("the second gateway", func(s admin.Status) bool { return len(s.Degraded) > 0 || s.Generation > 1 })
	// The last unambiguous manifests stay in force, and it is said.
	if got := a.get(t.Context(), "shop.test", "/public"); got != "allowed" {
		t.Errorf("with two gateways: %s", got)
	}
	if s := b.status(); s.Generation != 1 || !strings.Contains(strings.Join(s.Degraded, ""), "--gateway") {
		t.Errorf("with two gateways: generation %d, degraded: %q", s.Generation, s.Degraded)
	}
	b, err = startAuthz(t, func(o *app.AuthzOptions) {
		on(o)
		must(t, os.WriteFile(filepath.Join(o.Dir, "second.yaml"), []byte(secondGateway), 0o600))
		o.Gateway = policy.Name{Namespace: "default", Name: "edge"}
	})
	must(t, err)
	a = dial(t, "unix:"+socket, insecure.NewCredentials())
	if got := a.get(t.Context(), "shop.test", "/public"); got != "allowed" {
		t.Errorf("the gateway that was asked for: %s", got)
	}
	b.write("mesh.yaml", strings.ReplaceAll(authzMesh, "metadata: {name: edge}", "metadata: {name: renamed}"))
	b.await("the gateway to go", func(s admin.Status) bool { return s.Generation == 2 })
	if got := a.get(t.Context(), "shop.test", "/public"); got != "route_unknown" {
		t.Errorf("the gateway is gone: %s", got)
	}
	if s := b.status(); s.Ready || !strings.Contains(strings.Join(s.NotReady, ""), "there is no Gateway default/edge") {
		t.Errorf("the gateway is gone: not ready: %q", s.NotReady)
	}
}

// TestAuthzSaysWhatIsNotInForce: what only a proxy of ours would do is accepted, and it is said that nobody does it.
func TestAuthzSaysWhatIsNotInForce(t *testing.T) {
	b, err := startAuthz(t, func(o *app.AuthzOptions) {
		o.Socket.Path = filepath.Join(filepath.Dir(o.StateDir), "check.sock")
		o.Gateway = policy.Name{Namespace: "default", Name: "edge"}
		must(t, os.WriteFile(filepath.Join(o.Dir, "second.yaml"), []byte(secondGateway+`
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: moved}
spec:
  parentRefs: [{name: edge}]
  hostnames: [moved.test]
  rules:
    - filters: [{type: RequestRedirect, requestRedirect: {hostname: shop.test}}]
---
apiVersion: credence.mesh/v1alpha1
kind: Workload
metadata: {name: orders}
spec:
  selectors: {unix: {uid: 12345}}
  ports: [{name: http, port: 8080}]
---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: orders}
spec:
  targetRefs: [{group: credence.mesh, kind: Workload, name: orders}]
  rules: [{name: all, authentication: [anonymous]}]
---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: peers}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: moved}]
  rules: [{name: web, from: [{spiffeID: spiffe://beside.test/web}]}]
`), 0o600))
	})
	must(t, err)
	var got []string
	for _, d := range b.status().Diagnostics {
		if d.Code == "rule-never-matches" {
			t.Errorf("a client of the other Envoy may have an SVID: %+v", d)
		}
		if d.Code == "not-in-force" {
			if !strings.Contains(d.Position, "second.yaml:") {
				t.Errorf("no position: %+v", d)
			}
			got = append(got, d.Message)
		}
	}
	slices.Sort(got)
	want := []string{
		"RequestRedirect of HTTPRoute default/moved: the other control plane's proxy does that, or nobody",
		"requests at Gateway default/other are not judged here",
		"the policies of Workload default/orders are not in force: only requests at Gateway default/edge are judged here",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("diagnostics (-want +got):\n%s", diff)
	}
}

// TestAuthzNotReady: before anything valid was read, it can't be told.
func TestAuthzNotReady(t *testing.T) {
	var socket string
	_, err := startAuthz(t, func(o *app.AuthzOptions) {
		socket = filepath.Join(filepath.Dir(o.StateDir), "check.sock")
		o.Socket.Path = socket
		must(t, os.WriteFile(filepath.Join(o.Dir, "mesh.yaml"), []byte("kind: Mes"), 0o600))
	})
	must(t, err)
	if got := dial(t, "unix:"+socket, insecure.NewCredentials()).get(t.Context(), "shop.test", "/public"); got != "Unavailable" {
		t.Errorf("without manifests: %s", got)
	}
}

func TestAuthzSockets(t *testing.T) {
	for what, c := range map[string]struct {
		make func(dir string) (socket string)
		want string
	}{
		"a file in its place": {func(dir string) string {
			file := filepath.Join(dir, "precious")
			must(t, os.WriteFile(file, nil, 0o600))
			return file
		}, "is there and is no socket"},
		"no directory": {func(dir string) string { return filepath.Join(dir, "none", "s") }, "no such file"},
		"a directory that others may write": {func(dir string) string {
			open := filepath.Join(dir, "open")
			must(t, errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o777)))
			return filepath.Join(open, "s")
		}, "others may write the directory"},
		"a socket that is of another kind, and in use": {func(dir string) string {
			l, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "unixgram", filepath.Join(dir, "log.sock"))
			must(t, err)
			t.Cleanup(func() { _ = l.Close() })
			return filepath.Join(dir, "log.sock")
		}, "another process listens"},
		"a long path": {func(dir string) string { return filepath.Join(dir, strings.Repeat("x", 120)) }, "at most 107"},
	} {
		_, err := startAuthz(t, func(o *app.AuthzOptions) { o.Socket.Path = c.make(filepath.Dir(o.StateDir)) })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
	}
	var socket string
	_, err := startAuthz(t, func(o *app.AuthzOptions) {
		socket = filepath.Join(filepath.Dir(o.StateDir), "check.sock")
		o.Socket = app.UnixOptions{Path: socket, UIDs: []uint32{12345}}
	})
	must(t, err)
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("a socket for another user: %v %v", info.Mode(), err)
	}
	if _, err := startAuthz(t, func(o *app.AuthzOptions) { o.Socket.Path = socket }); err == nil || !strings.Contains(err.Error(), "another process listens") {
		t.Errorf("a socket that is in use: %v", err)
	}
}

// authority is a CA for tests.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return &authority{t, cert, key}
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// issue makes a certificate for names: SPIFFE IDs, DNS names and IP addresses.
func (a *authority) issue(usage x509.ExtKeyUsage, until time.Time, names ...string) (cert, key []byte) {
	a.t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(a.t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage}, BasicConstraintsValid: true,
	}
	for _, n := range names {
		if id, err := spiffeid.FromString(n); err == nil {
			tmpl.URIs = append(tmpl.URIs, id.URL())
		} else if ip := net.ParseIP(n); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, k.Public(), a.key)
	must(a.t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	must(a.t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// tlsFiles are written to a directory of the test.
func writeTLS(t *testing.T, ca *authority) (app.TLSOptions, func(clientCA []byte)) {
	t.Helper()
	dir := t.TempDir()
	o := app.TLSOptions{
		CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key"), ClientCAFile: filepath.Join(dir, "ca.crt"),
		Clients: []string{"spiffe://beside.test/envoy", "envoy.internal"},
	}
	cert, key := ca.issue(x509.ExtKeyUsageServerAuth, time.Now().Add(time.Hour), "127.0.0.1")
	must(t, errors.Join(os.WriteFile(o.CertFile, cert, 0o600), os.WriteFile(o.KeyFile, key, 0o600), os.WriteFile(o.ClientCAFile, ca.pem(), 0o600)))
	return o, func(clientCA []byte) {
		must(t, errors.Join(os.WriteFile(o.ClientCAFile+"~", clientCA, 0o600), os.Rename(o.ClientCAFile+"~", o.ClientCAFile)))
	}
}

func clientTLS(t *testing.T, server *authority, cert, key []byte) *tls.Config {
	t.Helper()
	c := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	c.RootCAs.AddCert(server.cert)
	if cert != nil {
		pair, err := tls.X509KeyPair(cert, key)
		must(t, err)
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// TestAuthzOverTLS: one of the CA and of the list, nobody else, and no longer than both hold.
func TestAuthzOverTLS(t *testing.T) {
	ca, foreign := newAuthority(t), newAuthority(t)
	files, replaceCA := writeTLS(t, ca)
	var log lockedBuffer
	b, err := startAuthz(t, func(o *app.AuthzOptions) {
		o.Address, o.TLS = "127.0.0.1:0", files
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	must(t, err)
	e, err := app.ReadEndpoints(b.state)
	must(t, err)
	addr := e.Checks[0]
	hour := time.Now().Add(time.Hour)
	for _, c := range []struct {
		what  string
		ca    *authority
		usage x509.ExtKeyUsage
		until time.Time
		names []string
		want  string
	}{
		{"a SPIFFE ID of the list", ca, x509.ExtKeyUsageClientAuth, hour, []string{"spiffe://beside.test/envoy"}, "allowed"},
		{"a DNS name of the list", ca, x509.ExtKeyUsageClientAuth, hour, []string{"x.internal", "Envoy.internal"}, "allowed"},
		{"another SPIFFE ID", ca, x509.ExtKeyUsageClientAuth, hour, []string{"spiffe://beside.test/envoy/x"}, "Unavailable"},
		{"two SPIFFE IDs", ca, x509.ExtKeyUsageClientAuth, hour, []string{"spiffe://beside.test/envoy", "spiffe://beside.test/x"}, "Unavailable"},
		{"a wildcard", ca, x509.ExtKeyUsageClientAuth, hour, []string{"*.internal"}, "Unavailable"},
		{"no name", ca, x509.ExtKeyUsageClientAuth, hour, nil, "Unavailable"},
		{"a foreign CA", foreign, x509.ExtKeyUsageClientAuth, hour, []string{"spiffe://beside.test/envoy"}, "Unavailable"},
		{"a server's certificate", ca, x509.ExtKeyUsageServerAuth, hour, []string{"spiffe://beside.test/envoy"}, "Unavailable"},
		{"one that has run out", ca, x509.ExtKeyUsageClientAuth, time.Now().Add(-time.Minute), []string{"spiffe://beside.test/envoy"}, "Unavailable"},
	} {
		cert, key := c.ca.issue(c.usage, c.until, c.names...)
		a := dial(t, addr, credentials.NewTLS(clientTLS(t, ca, cert, key)))
		if got := a.get(t.Context(), "shop.test", "/public"); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
	if got := dial(t, addr, credentials.NewTLS(clientTLS(t, ca, nil, nil))).get(t.Context(), "shop.test", "/public"); got != "Unavailable" {
		t.Errorf("without a certificate: %s", got)
	}
	if got := dial(t, addr, insecure.NewCredentials()).get(t.Context(), "shop.test", "/public"); got != "Unavailable" {
		t.Errorf("in clear text: %s", got)
	}
	cert, key := ca.issue(x509.ExtKeyUsageClientAuth, hour, "envoy.internal")
	old := clientTLS(t, ca, cert, key)
	old.MaxVersion = tls.VersionTLS12
	if got := dial(t, addr, credentials.NewTLS(old)).get(t.Context(), "shop.test", "/public"); got != "Unavailable" {
		t.Errorf("with TLS 1.2: %s", got)
	}
	// No session is resumed: it would skip the CAs of that time.
	resuming := clientTLS(t, ca, cert, key)
	resuming.ClientSessionCache, resuming.NextProtos, resuming.ServerName = tls.NewLRUClientSessionCache(8), []string{"h2"}, "127.0.0.1"
	for range 2 {
		c, err := (&tls.Dialer{Config: resuming}).DialContext(t.Context(), "tcp", addr)
		must(t, err)
		must(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
		_, err = c.Read(make([]byte, 1)) // the server's SETTINGS, and what would be a ticket before them
		must(t, err)
		if tc, ok := c.(*tls.Conn); !ok || tc.ConnectionState().DidResume {
			t.Error("a session is resumed")
		}
		must(t, c.Close())
	}
	open := dial(t, addr, credentials.NewTLS(clientTLS(t, ca, cert, key)))
	if got := open.get(t.Context(), "shop.test", "/public"); got != "allowed" {
		t.Fatalf("before the CA is replaced: %s", got)
	}
	// A file that does not load changes nothing; the CA that leaves it takes its clients along, on open connections too.
	replaceCA([]byte("none"))
	log.await(t, "can't be used")
	if got := open.get(t.Context(), "shop.test", "/public"); got != "allowed" {
		t.Errorf("with a broken CA file: %s", got)
	}
	replaceCA(foreign.pem())
	log.await(t, "have changed")
	if got := open.get(t.Context(), "shop.test", "/public"); got != "PermissionDenied" {
		t.Errorf("on the open connection, after the CA has left: %s", got)
	}
	cert, key = foreign.issue(x509.ExtKeyUsageClientAuth, hour, "envoy.internal")
	if got := dial(t, addr, credentials.NewTLS(clientTLS(t, ca, cert, key))).get(t.Context(), "shop.test", "/public"); got != "allowed" {
		t.Errorf("of the new CA: %s", got)
	}
}

// TestAuthzCertificateRunsOut: on an open connection, while it is asked over it.
func TestAuthzCertificateRunsOut(t *testing.T) {
	ca := newAuthority(t)
	files, _ := writeTLS(t, ca)
	b, err := startAuthz(t, func(o *app.AuthzOptions) { o.Address, o.TLS = "127.0.0.1:0", files })
	must(t, err)
	e, err := app.ReadEndpoints(b.state)
	must(t, err)
	until := time.Now().Add(3 * time.Second)
	cert, key := ca.issue(x509.ExtKeyUsageClientAuth, until, "envoy.internal")
	a := dial(t, e.Checks[0], credentials.NewTLS(clientTLS(t, ca, cert, key)))
	last := ""
	for tick := time.NewTicker(50 * time.Millisecond); time.Now().Before(until.Add(time.Second)); <-tick.C {
		before := time.Now()
		last = a.get(t.Context(), "shop.test", "/public")
		if last == "allowed" && before.After(until.Truncate(time.Second).Add(time.Second)) {
			t.Fatalf("allowed %v after the certificate has run out", before.Sub(until))
		}
	}
	if last != "PermissionDenied" {
		t.Errorf("in the end: %s", last)
	}
}

func TestAuthzTLSOptions(t *testing.T) {
	ca := newAuthority(t)
	good, _ := writeTLS(t, ca)
	must(t, good.Check())
	for what, edit := range map[string]func(*app.TLSOptions){
		"no certificate": func(o *app.TLSOptions) { o.CertFile = "" },
		"no key":         func(o *app.TLSOptions) { o.KeyFile = "" },
		"no CA":          func(o *app.TLSOptions) { o.ClientCAFile = "" },
		"nobody":         func(o *app.TLSOptions) { o.Clients = nil },
		"a wildcard":     func(o *app.TLSOptions) { o.Clients = []string{"*.internal"} },
		"a trust domain": func(o *app.TLSOptions) { o.Clients = []string{"spiffe://beside.test"} },
		"a URL":          func(o *app.TLSOptions) { o.Clients = []string{"https://envoy.internal"} },
		"an empty name":  func(o *app.TLSOptions) { o.Clients = []string{""} },
		"a key of another": func(o *app.TLSOptions) {
			_, key := ca.issue(x509.ExtKeyUsageServerAuth, time.Now(), "x")
			must(t, os.WriteFile(o.CertFile+".k", key, 0o600))
			o.KeyFile = o.CertFile + ".k"
		},
		"a CA that is none":       func(o *app.TLSOptions) { o.ClientCAFile = o.KeyFile },
		"a file that isn't there": func(o *app.TLSOptions) { o.CertFile += "x" },
	} {
		o := good
		o.Clients = slices.Clone(good.Clients)
		edit(&o)
		if _, err := startAuthz(t, func(a *app.AuthzOptions) { a.Address, a.TLS = "127.0.0.1:0", o }); err == nil {
			t.Errorf("%s: it runs", what)
		}
	}
}

// lockedBuffer is a log that is written and read at the same time.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) await(t *testing.T, text string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-tick.C {
		l.mu.Lock()
		found := strings.Contains(l.b.String(), text)
		l.mu.Unlock()
		if found {
			return
		}
	}
	t.Fatalf("the log never says %q", text)
}
