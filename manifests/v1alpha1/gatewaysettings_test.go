package v1alpha1_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
)

func TestGatewaySettings(t *testing.T) {
	const proxies = "clientAddress.trustedProxies"
	check(t, func() any { return new(v1alpha1.GatewaySettings) }, []row{
		{"{}", nil},
		{"{paths: {}}", nil},
		{"{clientCertificates: {caFile: clients.pem, required: true}}", nil},
		{"{clientCertificates: {}}", []string{"clientCertificates.caFile required"}},
		{"{paths: {escapedSlashes: keep, mergeSlashes: false}}", nil},
		{"{paths: {escapedSlashes: unescape}}", []string{"paths.escapedSlashes unsupported-value"}},
		{"{clientAddress: {}}", []string{"clientAddress one-of"}},
		{"{clientAddress: {trustedProxies: []}}", []string{"clientAddress one-of"}},
		{"{clientAddress: {trustedProxies: [10.0.0.0/8], trustedHops: 1}}", []string{"clientAddress one-of"}},
		{"{clientAddress: {trustedHops: 1}}", nil},
		{"{clientAddress: {trustedHops: 10}}", nil},
		{"{clientAddress: {trustedHops: 0}}", []string{"clientAddress.trustedHops out-of-range"}},
		{"{clientAddress: {trustedHops: 11}}", []string{"clientAddress.trustedHops out-of-range"}},
		{"{clientAddress: {trustedHops: -1}}", []string{"clientAddress.trustedHops out-of-range"}},
		{"{clientAddress: {trustedProxies: [10.0.0.0/8, 'fd00::/8', 127.0.0.1/32]}}", nil},
		{"{clientAddress: {trustedProxies: [10.0.0.1]}}", []string{proxies + "[0] invalid-value"}},
		{"{clientAddress: {trustedProxies: [lb.example.com, 10.0.0.0/33, '', 10.0.0.0/-1]}}", []string{
			proxies + "[0] invalid-value", proxies + "[1] invalid-value", proxies + "[2] invalid-value", proxies + "[3] invalid-value",
		}},
		{"{clientAddress: {trustedProxies: [10.0.0.1/8, '::ffff:10.0.0.0/104']}}", []string{proxies + "[0] invalid-value", proxies + "[1] invalid-value"}},
		{"{clientAddress: {trustedProxies: [0.0.0.0/0, '::/0']}}", []string{proxies + "[0] invalid-value", proxies + "[1] invalid-value"}},
		{"{clientAddress: {trustedProxies: [10.0.0.0/8, 10.0.0.0/8]}}", []string{proxies + "[1] duplicate-value"}},
		{"{underscoreHeaders: drop}", nil},
		{"{underscoreHeaders: reject}", nil},
		{"{underscoreHeaders: keep}", nil},
		{"{underscoreHeaders: allow}", []string{"underscoreHeaders unsupported-value"}},
		{"{healthPath: /healthz/live.txt}", nil},
		{"{healthPath: /}", []string{"healthPath invalid-path"}},
		{"{healthPath: healthz}", []string{"healthPath invalid-path"}},
		{"{healthPath: /healthz/}", []string{"healthPath invalid-path"}},
		{"{healthPath: //healthz}", []string{"healthPath invalid-path"}},
		{"{healthPath: /a/../b}", []string{"healthPath invalid-path"}},
		{"{healthPath: '/healthz?x'}", []string{"healthPath invalid-path"}},
		{"{healthPath: /%68}", []string{"healthPath invalid-path"}},
		{"{healthPath: '/*'}", []string{"healthPath invalid-path"}},
		{"{limits: {connectionIdle: 1s, streamIdle: 24h, streamDuration: 168h}}", nil},
		{"{limits: {connectionIdle: 0s, streamIdle: 24h1s, streamDuration: 169h}}", []string{
			"limits.connectionIdle out-of-range", "limits.streamIdle out-of-range", "limits.streamDuration out-of-range",
		}},
		{"{limits: {streamIdle: -1s}}", []string{"limits.streamIdle out-of-range"}},
	})
}

func TestPathDefaults(t *testing.T) {
	var g v1alpha1.GatewaySettings
	if err := yaml.UnmarshalStrict([]byte("spec: {paths: {}}"), &g); err != nil {
		t.Fatal(err)
	}
	v1alpha1.SetDefaults(&g)
	merge := true
	want := v1alpha1.GatewaySettingsSpec{
		UnderscoreHeaders: v1alpha1.UnderscoresDrop,
		Paths:             &v1alpha1.PathSettings{EscapedSlashes: v1alpha1.SlashesReject, MergeSlashes: &merge},
	}
	if diff := cmp.Diff(want, g.Spec); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var w v1alpha1.Workload
	if err := yaml.UnmarshalStrict([]byte("spec: {ports: [{port: 1, paths: {mergeSlashes: false}}]}"), &w); err != nil {
		t.Fatal(err)
	}
	v1alpha1.SetDefaults(&w)
	if p := w.Spec.Ports[0].Paths; p.EscapedSlashes != v1alpha1.SlashesReject || *p.MergeSlashes {
		t.Errorf("a port's paths: %+v", p)
	}
}
