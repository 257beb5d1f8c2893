//go:build e2e

package e2e_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"testing"
	"time"
)

// A client certificate is a credential where a route accepts it: alone it is the user, beside another one it is the second, and one whose
// subject is not allowed does not pass for nobody.
func TestClientCertificateIsACredential(t *testing.T) {
	p, ca := startProvenWith(t, false, func(caFile string, s *site, m map[string]string) {
		m["machines.yaml"] = fmt.Sprintf(`apiVersion: credence.mesh/v1alpha1
kind: Credentials
metadata: {name: machines}
spec: {clientCertificates: {caFile: %q, subject: dns, allowed: [billing.test]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: machines}
spec:
  parentRefs: [{name: edge}]
  rules:
  - {name: user, matches: [{path: {value: /machine}}], backendRefs: [{group: credence.mesh, kind: Workload, name: lobby, port: %[2]d}]}
  - {name: open, matches: [{path: {value: /open}}], backendRefs: [{group: credence.mesh, kind: Workload, name: lobby, port: %[2]d}]}
---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: machines}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: machines, sectionName: user}]
  authentication: {issuers: [dev], clientCertificates: [machines]}
  rules: [{name: machine, authentication: [clientCertificate]}]
---
apiVersion: credence.mesh/v1alpha1
kind: AuthPolicy
metadata: {name: open}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: machines, sectionName: open}]
  authentication: {issuers: [dev], clientCertificates: [machines]}
  rules: [{name: anybody, authentication: [anonymous]}]
`, caFile, s.workloads["lobby"].port)
	})
	later := time.Now().Add(time.Hour)
	mine, another := ca.client(t, "billing.test", later), ca.client(t, "other.test", later)
	sum := sha256.Sum256(mine.Certificate[0])
	bound := p.token(t, map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])})
	plain := p.token(t, nil)
	for _, tt := range []struct {
		name, path, auth string
		cert             *tls.Certificate
		want             int
	}{
		{"certificate", "/machine", "", mine, 200},
		{"nobody", "/machine", "", nil, 401},
		{"token where a certificate is wanted", "/machine", "Bearer " + plain, nil, 401},
		{"certificate on an optional route", "/open", "", mine, 200},
		{"nobody on an optional route", "/open", "", nil, 200},
		{"subject that is not allowed", "/machine", "", another, 401},
		{"subject that is not allowed on an optional route", "/open", "", another, 401},
		{"two credentials", "/open", "Bearer " + plain, mine, 400},
		{"token that is bound to the certificate", "/open", "Bearer " + bound, mine, 200},
		{"token that is bound to another one", "/open", "Bearer " + bound, another, 401},
		{"where none is accepted it is none", "/x", "Bearer " + plain, another, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, _ := p.ask(t, tt.cert, "GET", tt.path, tt.auth); got != tt.want {
				t.Errorf("%d, want %d", got, tt.want)
			}
		})
	}
}
