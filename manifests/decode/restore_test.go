package decode_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/manifests/decode"
)

// TestEveryKindIsRestored: what was in force before a restart must be in force after it, whatever kind it is of.
func TestEveryKindIsRestored(t *testing.T) {
	const own, gateway = "credence.mesh/v1alpha1", "gateway.networking.k8s.io/v1"
	for kind, text := range map[string]string{
		"Mesh":            own + "\nspec: {trustDomain: a.test}\n",
		"Workload":        own + "\nspec: {selectors: {unix: {uid: 1}}}\n",
		"Certificate":     own + "\nspec: {files: {certificate: /a, key: /b}}\n",
		"TokenIssuer":     own + "\nspec: {issuer: https://a.test, audiences: [a]}\n",
		"AuthPolicy":      own + "\nspec: {targetRefs: [{group: credence.mesh, kind: Mesh, name: m}], rules: []}\n",
		"GatewaySettings": own + "\nspec: {healthPath: /healthz}\n",
		"Gateway":         gateway + "\nspec: {gatewayClassName: credence, listeners: [{name: a, port: 80, protocol: HTTP}]}\n",
		"HTTPRoute":       gateway + "\nspec: {parentRefs: [{name: a}]}\n",
		"GRPCRoute":       gateway + "\nspec: {parentRefs: [{name: a}], rules: [{name: a}]}\n",
		"ReferenceGrant":  gateway + "\nspec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: a}], to: [{group: credence.mesh, kind: Workload}]}\n",
	} {
		t.Run(kind, func(t *testing.T) {
			r := decode.File("/in.yaml", []byte("kind: "+kind+"\nmetadata: {name: x}\napiVersion: "+text))
			if len(r.Objects) != 1 {
				t.Fatalf("it is not taken: %v", r.Diagnostics)
			}
			o := r.Objects[0]
			again, err := decode.FromCanonical(o.Key, o.Canonical, o.Pos)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(o.Value, again.Value); diff != "" {
				t.Errorf("it has changed (-was +is):\n%s", diff)
			}
		})
	}
}
