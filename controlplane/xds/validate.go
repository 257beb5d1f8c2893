package xds

import (
	"errors"
	"fmt"
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// ErrInvalid is wrapped by every error of Validate.
var ErrInvalid = errors.New("invalid resources")

// Validate says whether Envoy can take r as a whole: every message (typed configurations inside too) holds the constraints of its proto,
// names are unique and equal to those inside, every reference leads somewhere, and no route behind ext_authz leaves Check without its
// id. Envoy itself applies half of a bad cluster or listener update, so nothing that fails here may be sent.
func Validate(r *Resources) error {
	v := &validation{
		resources: r,
		clusters:  map[string]bool{}, endpoints: map[string]bool{},
		routes: map[string]*routev3.RouteConfiguration{}, judged: map[string]bool{},
	}
	v.all(r.Endpoints, v.endpoint)
	v.all(r.Clusters, v.cluster)
	v.all(r.Routes, v.routeConfiguration)
	v.all(r.Listeners, v.listener)
	for _, rc := range r.Routes {
		v.routeReferences(rc.Name)
	}
	if len(v.errs) > 0 {
		return fmt.Errorf("%w: %w", ErrInvalid, errors.Join(v.errs...))
	}
	return nil
}

type validation struct {
	resources *Resources
	clusters  map[string]bool
	endpoints map[string]bool
	routes    map[string]*routev3.RouteConfiguration
	// judged are the route configurations of managers with ext_authz.
	judged map[string]bool
	errs   []error
}

func (v *validation) fail(format string, args ...any) {
	v.errs = append(v.errs, fmt.Errorf(format, args...))
}

// all unpacks each resource, checks what holds for every kind, and hands it on.
func (v *validation) all(rs []Resource, next func(name string, m proto.Message) (inner string)) {
	seen := map[string]bool{}
	for _, r := range rs {
		if seen[r.Name] {
			v.fail("%q: there are two of that name", r.Name)
			continue
		}
		seen[r.Name] = true
		m, err := r.Body.UnmarshalNew()
		if err != nil || r.Body.GetTypeUrl() != r.TypeURL {
			v.fail("%q: not a message of type %q: %w", r.Name, r.TypeURL, err)
			continue
		}
		if err := constraints(m); err != nil {
			v.fail("%q: %w", r.Name, err)
		}
		if inner := next(r.Name, m); inner != r.Name {
			v.fail("%q: the message inside is named %q or of another kind", r.Name, inner)
		}
	}
}

func (v *validation) endpoint(name string, m proto.Message) string {
	e, _ := m.(*endpointv3.ClusterLoadAssignment)
	v.endpoints[name] = true
	return e.GetClusterName()
}

func (v *validation) cluster(name string, m proto.Message) string {
	c, _ := m.(*clusterv3.Cluster)
	v.clusters[name] = true
	if c.GetType() == clusterv3.Cluster_EDS && !v.endpoints[name] {
		v.fail("cluster %q: it has no endpoints", name)
	}
	v.socket("cluster "+name, c.GetTransportSocket().GetTypedConfig())
	return c.GetName()
}

func (v *validation) routeConfiguration(name string, m proto.Message) string {
	rc, _ := m.(*routev3.RouteConfiguration)
	v.routes[name] = rc
	return rc.GetName()
}

func (v *validation) listener(name string, m proto.Message) string {
	l, _ := m.(*listenerv3.Listener)
	for _, fc := range l.GetFilterChains() {
		v.socket("listener "+name, fc.GetTransportSocket().GetTypedConfig())
		for _, f := range fc.GetFilters() {
			manager := &hcmv3.HttpConnectionManager{}
			if err := f.GetTypedConfig().UnmarshalTo(manager); err != nil {
				v.fail("listener %q: %w", name, err)
				continue
			}
			v.manager(name, manager)
		}
	}
	return l.GetName()
}

func (v *validation) manager(listener string, m *hcmv3.HttpConnectionManager) {
	routes := m.GetRds().GetRouteConfigName()
	if v.routes[routes] == nil {
		v.fail("listener %q: no route configuration %q", listener, routes)
	}
	for _, f := range m.GetHttpFilters() {
		if f.GetName() != extAuthzFilter {
			continue
		}
		v.judged[routes] = true
		authz := &extauthzv3.ExtAuthz{}
		if err := f.GetTypedConfig().UnmarshalTo(authz); err != nil {
			v.fail("listener %q: %w", listener, err)
		} else if authz.GetGrpcService().GetEnvoyGrpc().GetClusterName() != AuthzCluster || authz.GetFailureModeAllow() {
			v.fail("listener %q: ext_authz asks somebody else, or lets through what nobody judged", listener)
		}
	}
}

// socket checks that the secrets of a TLS context are listed.
func (v *validation) socket(where string, a *anypb.Any) {
	if a == nil {
		return
	}
	m, err := a.UnmarshalNew()
	if err != nil {
		v.fail("%s: %w", where, err)
		return
	}
	with, ok := m.(interface {
		GetCommonTlsContext() *tlsv3.CommonTlsContext
	})
	if !ok {
		v.fail("%s: transport socket %s", where, a.GetTypeUrl())
		return
	}
	common := with.GetCommonTlsContext()
	secrets := slices.Clone(common.GetTlsCertificateSdsSecretConfigs())
	for _, s := range []*tlsv3.SdsSecretConfig{
		common.GetValidationContextSdsSecretConfig(), common.GetCombinedValidationContext().GetValidationContextSdsSecretConfig(),
	} {
		if s != nil {
			secrets = append(secrets, s)
		}
	}
	for _, s := range secrets {
		if _, found := slices.BinarySearch(v.resources.Secrets, s.GetName()); !found {
			v.fail("%s: secret %q is not listed", where, s.GetName())
		}
		if !proto.Equal(s.GetSdsConfig(), sdsSource()) {
			v.fail("%s: secret %q has a source of its own", where, s.GetName())
		}
	}
}

func (v *validation) routeReferences(name string) {
	domains := map[string]bool{}
	for _, vh := range v.routes[name].GetVirtualHosts() {
		for _, d := range vh.GetDomains() {
			if domains[d] {
				v.fail("routes %q: domain %q stands twice", name, d)
			}
			domains[d] = true
		}
		for _, r := range vh.GetRoutes() {
			where := fmt.Sprintf("routes %q, host %q, route %q", name, vh.GetName(), r.GetName())
			v.clustersOf(where, r.GetRoute())
			if v.judged[name] {
				v.check(where, r)
			}
		}
	}
}

func (v *validation) clustersOf(where string, a *routev3.RouteAction) {
	if a == nil {
		return
	}
	names := []string{}
	if c := a.GetCluster(); c != "" {
		names = append(names, c)
	}
	for _, c := range a.GetWeightedClusters().GetClusters() {
		names = append(names, c.GetName())
	}
	if len(names) == 0 {
		v.fail("%s: it leads nowhere", where)
	}
	for _, c := range names {
		if c == missingCluster && a.GetClusterNotFoundResponseCode() == routev3.RouteAction_INTERNAL_SERVER_ERROR {
			continue
		}
		if !v.clusters[c] {
			v.fail("%s: no cluster %q", where, c)
		}
	}
}

// check: the route names itself to Check, or is an answer that says nothing but 421, or a document for everybody.
func (v *validation) check(where string, r *routev3.Route) {
	per := &extauthzv3.ExtAuthzPerRoute{}
	config := r.GetTypedPerFilterConfig()[extAuthzFilter]
	if config == nil {
		v.fail("%s: it has no configuration for Check", where)
		return
	}
	if err := config.UnmarshalTo(per); err != nil {
		v.fail("%s: %w", where, err)
		return
	}
	if per.GetDisabled() {
		if r.GetDirectResponse().GetStatus() != 421 && !isDocument(r) {
			v.fail("%s: Check is not asked", where)
		}
		return
	}
	if id := per.GetCheckSettings().GetContextExtensions()[RouteExtension]; id == "" || id != r.GetName() {
		v.fail("%s: it gives Check the id %q", where, id)
	}
}

// constraints runs the generated checks on m and on every message packed inside it.
func constraints(m proto.Message) error {
	if c, ok := m.(interface{ ValidateAll() error }); ok {
		if err := c.ValidateAll(); err != nil {
			return err
		}
	}
	return packed(m.ProtoReflect())
}

var anyName = (*anypb.Any)(nil).ProtoReflect().Descriptor().FullName()

func packed(m protoreflect.Message) (err error) {
	if m.Descriptor().FullName() == anyName {
		a, ok := m.Interface().(*anypb.Any)
		if !ok {
			return fmt.Errorf("a packed message of type %T", m.Interface())
		}
		if a.GetTypeUrl() == "" && len(a.GetValue()) == 0 {
			return nil // it says nothing: that a filter is to be on
		}
		inner, err := a.UnmarshalNew()
		if err != nil {
			return fmt.Errorf("packed message: %w", err)
		}
		return constraints(inner)
	}
	m.Range(func(f protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case f.IsMap():
			if f.MapValue().Message() == nil {
				break
			}
			value.Map().Range(func(_ protoreflect.MapKey, e protoreflect.Value) bool {
				err = packed(e.Message())
				return err == nil
			})
		case f.Message() == nil:
		case f.IsList():
			for i := 0; i < value.List().Len() && err == nil; i++ {
				err = packed(value.List().Get(i).Message())
			}
		default:
			err = packed(value.Message())
		}
		return err == nil
	})
	return err
}
