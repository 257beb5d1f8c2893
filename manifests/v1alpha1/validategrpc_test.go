package v1alpha1_test

import (
	"strings"
	"testing"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
)

// Services and methods by the names that protocol buffers can give, instead of methods and paths; ports by the protocols that are there.
func TestGRPCOperations(t *testing.T) {
	to := func(s string) string { return policy(true, "{name: a, to: ["+s+"]}") }
	const at = "rules[0].to[0]"
	check(t, func() any { return new(v1alpha1.AuthPolicy) }, []row{
		{to("{grpc: [{service: shop.v1.Orders}]}"), nil},
		{to("{grpc: [{service: _a.B_2, methods: [GetOrder, _x]}, {service: Orders}], hosts: [a.test]}"), nil},
		{to("{grpc: [{service: a}], methods: [POST]}"), []string{at + " one-of"}},
		{to("{grpc: [{service: a}], paths: [/a]}"), []string{at + " one-of"}},
		{to("{grpc: [{}]}"), []string{at + ".grpc[0].service required"}},
		{to("{grpc: [{service: /a}, {service: 'a/b'}, {service: 'a.*'}, {service: .a}, {service: a.}, {service: 'a%2e'}, {service: 1a}]}"), []string{
			at + ".grpc[0].service invalid-name", at + ".grpc[1].service invalid-name", at + ".grpc[2].service invalid-name", at + ".grpc[3].service invalid-name",
			at + ".grpc[4].service invalid-name", at + ".grpc[5].service invalid-name", at + ".grpc[6].service invalid-name",
		}},
		{to("{grpc: [{service: " + strings.Repeat("a", 1025) + "}]}"), []string{at + ".grpc[0].service invalid-name"}},
		{to("{grpc: [{service: a, methods: [M, 'M*', '', a.B, M, m]}]}"), []string{
			at + ".grpc[0].methods[1] invalid-name", at + ".grpc[0].methods[2] invalid-name", at + ".grpc[0].methods[3] invalid-name", at + ".grpc[0].methods[4] duplicate-value",
		}},
		{
			"{targetRefs: [{group: gateway.networking.k8s.io, kind: GRPCRoute, name: r, sectionName: s}, {group: credence.mesh, kind: GRPCRoute, name: r}], rules: []}",
			[]string{"targetRefs[1].group unsupported-value"},
		},
	})
	check(t, func() any { return new(v1alpha1.Workload) }, []row{
		{"{selectors: {unix: {uid: 1}}, ports: [{port: 1}, {port: 2, protocol: HTTP2}, {port: 3, protocol: GRPC}]}", nil},
		{"{selectors: {unix: {uid: 1}}, ports: [{port: 1, protocol: grpc}]}", []string{"ports[0].protocol unsupported-value"}},
	})
}
