package decode_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/decode"
	"github.com/credence-mesh/credence/manifests/v1alpha1"
)

// A Gateway names a GatewaySettings; what else spec.infrastructure may hold is refused.
func TestGatewayParameters(t *testing.T) {
	const ref = "spec.infrastructure.parametersRef"
	for infrastructure, want := range map[string][]string{
		"{}": {}, "{parametersRef: {group: credence.mesh, kind: GatewaySettings, name: edge}}": {},
		"{parametersRef: {group: '', kind: ConfigMap, name: edge}}":                             {ref + " unsupported-reference"},
		"{parametersRef: {group: credence.mesh, kind: Mesh, name: edge}}":                       {ref + " unsupported-reference"},
		"{parametersRef: {group: credence.mesh, kind: GatewaySettings, name: 'A b'}}":           {ref + ".name invalid-name"},
		"{parametersRef: {group: credence.mesh, kind: GatewaySettings, name: a, namespace: b}}": {"spec.infrastructure.parametersRef has no field \"namespace\" unknown-field"},
		"{labels: {a: b}}":      {"spec.infrastructure.labels is not supported unsupported-field"},
		"{annotations: {a: b}}": {"spec.infrastructure.annotations is not supported unsupported-field"},
	} {
		got := found("Gateway", "{gatewayClassName: credence, listeners: [{name: a, port: 80, protocol: HTTP}], infrastructure: "+infrastructure+"}")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", infrastructure, diff)
		}
	}
}

func TestGatewaySettingsIsStrict(t *testing.T) {
	const head = "apiVersion: credence.mesh/v1alpha1\nkind: GatewaySettings\nmetadata: {name: edge}\nspec:\n"
	r := decode.File("m.yaml", []byte(head+"  healthPath: /healthz\n"))
	if len(r.Objects) != 1 || len(r.Diagnostics) != 0 {
		t.Fatalf("%+v", r)
	}
	want := manifests.Key{Group: v1alpha1.Group, Kind: v1alpha1.KindGatewaySettings, Namespace: "default", Name: "edge"}
	if got := r.Objects[0]; got.Key != want || got.Value.(*v1alpha1.GatewaySettings).Spec.UnderscoreHeaders != "drop" {
		t.Errorf("%+v", got)
	}
	for _, spec := range []string{"  paths: {escapedSlash: keep}\n", "  trustedHops: 1\n", "  clientAddress: {trustedHops: '1'}\n", "  limits: {streamIdle: 5}\n"} {
		if r := decode.File("m.yaml", []byte(head+spec)); len(r.Objects) != 0 || len(r.Diagnostics) != 1 {
			t.Errorf("%q: %+v", spec, r.Diagnostics)
		}
	}
}
