package xds_test

import (
	"fmt"
	"testing"

	"github.com/credence-mesh/credence/controlplane/xds"
	"github.com/credence-mesh/credence/policy"
)

// wide is a mesh whose gateway has n routes, ten to a host.
func wide(n int) *policy.Set {
	set := mesh()
	section := &set.Gateways[0].Listeners[0].Sections[1]
	section.VirtualHosts = nil
	for i := range n {
		if i%10 == 0 {
			section.VirtualHosts = append(section.VirtualHosts, host(fmt.Sprintf("h%05d.test", i)))
		}
		vh := &section.VirtualHosts[i/10]
		vh.Routes = append(vh.Routes, route(fmt.Sprintf("%032x", i), policy.PathPrefix, fmt.Sprintf("/p%d", i), backend("web", 8080, 1)))
	}
	return set
}

// Budget: compile and translate of 10,000 routes within 1 s on one core.
func BenchmarkTranslate(b *testing.B) {
	for _, n := range []int{100, 1_000, 10_000} {
		set := wide(n)
		b.Run(fmt.Sprintf("routes=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				translate(b, set, proxies["gateway"])
			}
		})
		b.Run(fmt.Sprintf("routes=%d/validate", n), func(b *testing.B) {
			r := translate(b, set, proxies["gateway"])
			b.ReportAllocs()
			for b.Loop() {
				if err := xds.Validate(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
