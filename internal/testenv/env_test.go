package testenv_test

import (
	"testing"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/internal/testenv"
)

// The product without its proxies: manifests, issuer, CA and Workload API, in this process.
func TestWithoutEnvoy(t *testing.T) {
	e := testenv.Start(t, testenv.Options{NoEnvoy: true, Manifests: map[string]string{"mesh.yaml": `
apiVersion: credence.mesh/v1alpha1
kind: Mesh
metadata: {name: mesh}
spec: {trustDomain: env.test, development: true}
---
apiVersion: credence.mesh/v1alpha1
kind: Workload
metadata: {name: other}
spec:
  selectors: {unix: {path: /nowhere/other}}
  boundary: none
`}})
	s := e.Status()
	if !s.Ready || s.TrustDomain != "env.test" || len(s.Workloads) != 1 {
		t.Errorf("status %+v", s)
	}
	_, err := workloadapi.FetchX509SVID(t.Context(), workloadapi.WithAddr(e.Endpoints().WorkloadAPI))
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("a process that no Workload describes: %v", err)
	}
}
