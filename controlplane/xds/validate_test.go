package xds_test

import (
	"errors"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/credence-mesh/credence/controlplane/xds"
)

const authzFilter = "envoy.filters.http.ext_authz"

// TestValidateRefuses breaks one thing at a time in what Translate made.
func TestValidateRefuses(t *testing.T) {
	editRoutes := func(edit func(t *testing.T, rc *routev3.RouteConfiguration)) func(*testing.T, *xds.Resources) {
		return func(t *testing.T, r *xds.Resources) {
			rc := &routev3.RouteConfiguration{}
			into(t, r.Routes[0].Body, rc)
			edit(t, rc)
			r.Routes[0].Body = packed(t, rc)
		}
	}
	first := func(rc *routev3.RouteConfiguration) *routev3.Route { return rc.GetVirtualHosts()[1].GetRoutes()[0] }
	perRoute := func(per *extauthzv3.ExtAuthzPerRoute) func(*testing.T, *xds.Resources) {
		return editRoutes(func(t *testing.T, rc *routev3.RouteConfiguration) {
			first(rc).TypedPerFilterConfig[authzFilter] = packed(t, per)
		})
	}
	for _, c := range []struct {
		name, says string
		spoil      func(*testing.T, *xds.Resources)
	}{
		{"route without Check configuration", "no configuration for Check", editRoutes(func(_ *testing.T, rc *routev3.RouteConfiguration) {
			first(rc).TypedPerFilterConfig = nil
		})},
		{"route that switches Check off", "Check is not asked", perRoute(&extauthzv3.ExtAuthzPerRoute{
			Override: &extauthzv3.ExtAuthzPerRoute_Disabled{Disabled: true},
		})},
		{"route with another's id", "gives Check the id", perRoute(&extauthzv3.ExtAuthzPerRoute{
			Override: &extauthzv3.ExtAuthzPerRoute_CheckSettings{CheckSettings: &extauthzv3.CheckSettings{
				ContextExtensions: map[string]string{xds.RouteExtension: "other"},
			}},
		})},
		{"route to an unknown cluster", "no cluster", editRoutes(func(_ *testing.T, rc *routev3.RouteConfiguration) {
			first(rc).GetRoute().ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: "gone"}
		})},
		{"domain twice", "stands twice", editRoutes(func(_ *testing.T, rc *routev3.RouteConfiguration) {
			rc.VirtualHosts[1].Domains = append(rc.VirtualHosts[1].Domains, rc.GetVirtualHosts()[0].GetDomains()...)
		})},
		{"name inside", "named", editRoutes(func(_ *testing.T, rc *routev3.RouteConfiguration) { rc.Name = "x" })},
		{"proto constraint", "Domains", editRoutes(func(_ *testing.T, rc *routev3.RouteConfiguration) { rc.VirtualHosts[0].Domains = nil })},
		{"proto constraint in a packed message", "packed", func(t *testing.T, r *xds.Resources) {
			c := &clusterv3.Cluster{}
			into(t, r.Clusters[0].Body, c)
			c.TypedExtensionProtocolOptions["x"] = &anypb.Any{TypeUrl: "type.googleapis.com/none.Such"}
			r.Clusters[0].Body = packed(t, c)
		}},
		{"constraint of a cluster", "ConnectTimeout", func(t *testing.T, r *xds.Resources) {
			c := &clusterv3.Cluster{}
			into(t, r.Clusters[0].Body, c)
			c.ConnectTimeout = durationpb.New(-1)
			r.Clusters[0].Body = packed(t, c)
		}},
		{"route configuration gone", "no route configuration", func(_ *testing.T, r *xds.Resources) { r.Routes = r.Routes[1:] }},
		{"endpoints gone", "no endpoints", func(_ *testing.T, r *xds.Resources) { r.Endpoints = nil }},
		{"secret not listed", "not listed", func(_ *testing.T, r *xds.Resources) { r.Secrets = r.Secrets[:1] }},
		{"name twice", "two of that name", func(_ *testing.T, r *xds.Resources) { r.Clusters = append(r.Clusters, r.Clusters[0]) }},
		{"another type", "not a message of type", func(_ *testing.T, r *xds.Resources) { r.Clusters[0].TypeURL = "x" }},
		{"ext_authz fails open", "nobody judged", func(t *testing.T, r *xds.Resources) {
			editManager(t, r, func(a *extauthzv3.ExtAuthz) { a.FailureModeAllow = true })
		}},
		{"ext_authz asks another", "asks somebody else", func(t *testing.T, r *xds.Resources) {
			editManager(t, r, func(a *extauthzv3.ExtAuthz) { a.GetGrpcService().GetEnvoyGrpc().ClusterName = "x" })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := translate(t, mesh(), proxies["gateway"])
			c.spoil(t, r)
			if err := xds.Validate(r); !errors.Is(err, xds.ErrInvalid) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want an error with %q", err, c.says)
			}
		})
	}
}

func packed(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func editManager(t *testing.T, r *xds.Resources, edit func(*extauthzv3.ExtAuthz)) {
	t.Helper()
	l := &listenerv3.Listener{}
	into(t, r.Listeners[0].Body, l)
	filter := l.GetFilterChains()[0].GetFilters()[0]
	m := managers(t, r)[r.Listeners[0].Name+" "+l.GetFilterChains()[0].GetName()]
	authz := &extauthzv3.ExtAuthz{}
	at := authzPlace(m)
	into(t, m.GetHttpFilters()[at].GetTypedConfig(), authz)
	edit(authz)
	m.GetHttpFilters()[at].GetTypedConfig().Value = packed(t, authz).GetValue()
	filter.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: packed(t, m)}
	r.Listeners[0].Body = packed(t, l)
}
