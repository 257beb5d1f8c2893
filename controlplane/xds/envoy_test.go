//go:build e2e

package xds_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	upstreamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/credence-mesh/credence/controlplane/xds"
	"github.com/credence-mesh/credence/internal/envoy"
)

// TestEnvoyAccepts hands every emitted configuration to the real Envoy: as a static one, since it checks nothing that lies behind ADS.
func TestEnvoyAccepts(t *testing.T) {
	binary, err := envoy.Find(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	for name, proxy := range proxies {
		t.Run(name, func(t *testing.T) {
			r := translate(t, mesh(), proxy)
			if err := xds.Validate(r); err != nil {
				t.Fatal(err)
			}
			s := newStatic(t)
			config, err := protojson.Marshal(s.bootstrap(r))
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "bootstrap.json")
			if err := os.WriteFile(file, config, 0o600); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			cmd := exec.Command(binary.Path, "--mode", "validate", "--disable-hot-restart", "--concurrency", "1", "-c", file)
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
		})
	}
}

// static turns resources into a static configuration: routes and endpoints inline, secrets as test certificates.
type static struct {
	t         *testing.T
	routes    map[string]*routev3.RouteConfiguration
	endpoints map[string]*endpointv3.ClusterLoadAssignment
	// check is the socket of the Check server.
	check string
	// clear takes TLS off the clusters: their endpoints are test servers.
	clear bool
}

func newStatic(t *testing.T) *static {
	return &static{
		t: t, check: "/nowhere.sock",
		routes: map[string]*routev3.RouteConfiguration{}, endpoints: map[string]*endpointv3.ClusterLoadAssignment{},
	}
}

func unpack[M proto.Message](t *testing.T, a *anypb.Any, m M) M {
	t.Helper()
	if err := a.UnmarshalTo(m); err != nil {
		t.Fatal(err)
	}
	return m
}

func pack(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (s *static) bootstrap(r *xds.Resources) *bootstrapv3.Bootstrap {
	out := &bootstrapv3.Bootstrap_StaticResources{}
	for _, x := range r.Routes {
		rc := unpack(s.t, x.Body, &routev3.RouteConfiguration{})
		// A route may lead to the cluster that is never defined; xds.Validate has checked all others.
		rc.ValidateClusters = wrapperspb.Bool(false)
		s.routes[x.Name] = rc
	}
	for _, x := range r.Endpoints {
		s.endpoints[x.Name] = unpack(s.t, x.Body, &endpointv3.ClusterLoadAssignment{})
	}
	for _, x := range r.Clusters {
		out.Clusters = append(out.Clusters, s.cluster(unpack(s.t, x.Body, &clusterv3.Cluster{})))
	}
	out.Clusters = append(out.Clusters, s.authz())
	for _, x := range r.Listeners {
		out.Listeners = append(out.Listeners, s.listener(unpack(s.t, x.Body, &listenerv3.Listener{})))
	}
	runtime, err := structpb.NewStruct(map[string]any{xds.RegexSizeKey: xds.RegexSize})
	if err != nil {
		s.t.Fatal(err)
	}
	return &bootstrapv3.Bootstrap{
		Node: &corev3.Node{Id: "test", Cluster: "test"}, StaticResources: out,
		LayeredRuntime: &bootstrapv3.LayeredRuntime{Layers: []*bootstrapv3.RuntimeLayer{{
			Name: "test", LayerSpecifier: &bootstrapv3.RuntimeLayer_StaticLayer{StaticLayer: runtime},
		}}},
	}
}

func (s *static) authz() *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name: xds.AuthzCluster,
		LoadAssignment: &endpointv3.ClusterLoadAssignment{ClusterName: xds.AuthzCluster, Endpoints: []*endpointv3.LocalityLbEndpoints{{
			LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
				Address: &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: s.check}}},
			}}}},
		}}},
		TypedExtensionProtocolOptions: map[string]*anypb.Any{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": pack(s.t, &upstreamv3.HttpProtocolOptions{
				UpstreamProtocolOptions: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig{
					ProtocolConfig: &upstreamv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: &corev3.Http2ProtocolOptions{}},
				}},
			}),
		},
	}
}

func (s *static) cluster(c *clusterv3.Cluster) *clusterv3.Cluster {
	if c.GetType() == clusterv3.Cluster_EDS {
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
		c.EdsClusterConfig = nil
		c.LoadAssignment = s.endpoints[c.GetName()]
	}
	if s.clear {
		c.TransportSocket = nil
	}
	if ts := c.GetTransportSocket(); ts != nil {
		ctx := unpack(s.t, ts.GetTypedConfig(), &tlsv3.UpstreamTlsContext{})
		s.inline(ctx.GetCommonTlsContext())
		ts.ConfigType = &corev3.TransportSocket_TypedConfig{TypedConfig: pack(s.t, ctx)}
	}
	return c
}

func (s *static) listener(l *listenerv3.Listener) *listenerv3.Listener {
	for _, fc := range l.GetFilterChains() {
		if ts := fc.GetTransportSocket(); ts != nil {
			ctx := unpack(s.t, ts.GetTypedConfig(), &tlsv3.DownstreamTlsContext{})
			s.inline(ctx.GetCommonTlsContext())
			ts.ConfigType = &corev3.TransportSocket_TypedConfig{TypedConfig: pack(s.t, ctx)}
		}
		for _, f := range fc.GetFilters() {
			m := unpack(s.t, f.GetTypedConfig(), &hcmv3.HttpConnectionManager{})
			rc := s.routes[m.GetRds().GetRouteConfigName()]
			m.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: rc}
			f.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: pack(s.t, m)}
		}
	}
	return l
}

// inline replaces secrets by a certificate made for the test.
func (s *static) inline(c *tlsv3.CommonTlsContext) {
	certificate, key := selfSigned(s.t)
	trust := pack(s.t, &tlsv3.SPIFFECertValidatorConfig{TrustDomains: []*tlsv3.SPIFFECertValidatorConfig_TrustDomain{
		{Name: "mesh.test", TrustBundle: text(certificate)},
	}})
	c.TlsCertificateSdsSecretConfigs = nil
	c.TlsCertificates = []*tlsv3.TlsCertificate{{CertificateChain: text(certificate), PrivateKey: text(key)}}
	validation := &tlsv3.CertificateValidationContext{CustomValidatorConfig: &corev3.TypedExtensionConfig{
		Name: "envoy.tls.cert_validator.spiffe", TypedConfig: trust,
	}}
	switch v := c.GetValidationContextType().(type) {
	case *tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig:
	case *tlsv3.CommonTlsContext_CombinedValidationContext:
		validation.MatchTypedSubjectAltNames = v.CombinedValidationContext.GetDefaultValidationContext().GetMatchTypedSubjectAltNames()
	default:
		return
	}
	c.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: validation}
}

func text(b []byte) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: b}}
}

func selfSigned(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}
