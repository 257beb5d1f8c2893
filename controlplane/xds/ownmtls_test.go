package xds_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/controlplane/xds"
	"github.com/credence-mesh/credence/policy"
)

// An application that serves mTLS itself has no inbound listener in its sidecar, and its callers reach it as they reach any workload: same
// address, same exact SPIFFE ID.
func TestOwnMTLS(t *testing.T) {
	own := mesh()
	i := slices.IndexFunc(own.Workloads, func(w policy.Workload) bool { return w.Name == name("orders") })
	own.Workloads[i].Ports[0].OwnMTLS = true
	sidecar := translate(t, own, policy.SidecarID(name("orders")))
	if err := xds.Validate(sidecar); err != nil {
		t.Fatal(err)
	}
	names := func(rs []xds.Resource) []string {
		var out []string
		for _, r := range rs {
			out = append(out, r.Name)
		}
		return out
	}
	if diff := cmp.Diff([]string{"inbound/http1", "outbound"}, names(sidecar.Listeners)); diff != "" {
		t.Errorf("listeners: %s", diff)
	}
	if diff := cmp.Diff([]string{"inbound/http1", "outbound"}, names(sidecar.Routes)); diff != "" {
		t.Errorf("route configurations: %s", diff)
	}
	if slices.Contains(names(sidecar.Clusters), "application/http0") {
		t.Error("the sidecar has a cluster for the application without mTLS")
	}
	for _, caller := range []policy.ProxyID{policy.SidecarID(name("batch")), policy.GatewayID(name("edge"))} {
		was, is := translate(t, mesh(), caller), translate(t, own, caller)
		for what, pair := range map[string][2][]xds.Resource{
			"clusters": {was.Clusters, is.Clusters}, "endpoints": {was.Endpoints, is.Endpoints}, "routes": {was.Routes, is.Routes},
		} {
			if diff := cmp.Diff(string(readable(t, pair[0])), string(readable(t, pair[1]))); diff != "" {
				t.Errorf("%s of %s: %s", what, caller, diff)
			}
		}
	}
}
