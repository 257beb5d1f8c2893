package xds_test

import (
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/credence-mesh/credence/controlplane/xds"
	"github.com/credence-mesh/credence/policy"
)

// Envoy's cors filter does not act on a redirect: a Set that has both (compile makes none) is not sent.
func TestCORSOfRedirectIsRefused(t *testing.T) {
	for what, redirect := range map[string]*policy.Redirect{"backend": nil, "redirect": {Host: "other.test", Status: 302}} {
		set := mesh()
		r := route("r", policy.PathPrefix, "/")
		r.Redirect, r.CORS = redirect, &policy.CORS{AllowOrigins: []string{"https://app.test"}}
		set.Gateways[0].Listeners[0].Sections[1].VirtualHosts = []policy.VirtualHost{host("*", r)}
		if _, err := xds.Translate(set, policy.GatewayID(name("edge")), paths); (err != nil) != (redirect != nil) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A gateway that may not reach a port does not loosen what its sidecar lets in.
func TestSidecarBehindRefusedBackend(t *testing.T) {
	for _, missing := range []bool{false, true} {
		set := mesh()
		b := backend("web", 8080, 1)
		b.Missing = missing
		set.Gateways = []policy.Gateway{{
			Name: name("loose"), SPIFFEID: "spiffe://mesh.test/ns/default/gw/loose",
			Settings: policy.GatewaySettings{Underscores: policy.UnderscoresKept, StreamIdle: time.Hour},
			Listeners: []policy.Listener{{Address: "127.0.0.1", Port: 8080, Protocol: policy.HTTP, Sections: []policy.Section{
				{Name: "http", VirtualHosts: []policy.VirtualHost{host("*", route("r", policy.PathPrefix, "/", b))}},
			}}},
		}}
		m := managerOf(t, listenerNamed(t, translate(t, set, policy.SidecarID(name("web"))), "inbound/http0").GetFilterChains()[0])
		kept := m.GetCommonHttpProtocolOptions().GetHeadersWithUnderscoresAction() == corev3.HttpProtocolOptions_ALLOW
		if long := m.GetStreamIdleTimeout().AsDuration() == time.Hour; kept == missing || long == missing {
			t.Errorf("missing %t: underscores are kept: %t, streams may rest for an hour: %t", missing, kept, long)
		}
	}
}
