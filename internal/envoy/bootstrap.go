package envoy

import (
	"fmt"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	connectionsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/credence-mesh/credence/controlplane/xds"
)

const (
	// maxConnections a proxy accepts over all its listeners before it refuses: without a limit, descriptors run out first.
	maxConnections = 20_000
	// maxChecks in flight: Envoy's default of 1,024 would answer 503 long before the Check server is busy.
	maxChecks = 100_000
)

// Node says which proxy a bootstrap is for and where its agent is.
type Node struct {
	// ID is the proxy's xDS node id; the control plane refuses another one than that of the process it started.
	ID string
	// AgentSocket serves ADS and ext_authz, SDSSocket the secrets, AdminSocket is made by Envoy (0600). Absolute paths.
	AgentSocket, SDSSocket, AdminSocket string
}

// Bootstrap is the configuration file of one proxy, as JSON (Envoy reads files as YAML 1.1, where `on` and `no` are booleans).
func Bootstrap(n Node) ([]byte, error) {
	for _, path := range []string{n.AgentSocket, n.SDSSocket, n.AdminSocket} {
		if err := CheckSocketPath(path); err != nil {
			return nil, err
		}
	}
	limit, err := anypb.New(&connectionsv3.DownstreamConnectionsConfig{MaxActiveDownstreamConnections: maxConnections})
	if err != nil {
		return nil, fmt.Errorf("bootstrap of %s: %w", n.ID, err)
	}
	var clusters []*clusterv3.Cluster
	for _, c := range []struct{ name, socket string }{
		{xds.ADSCluster, n.AgentSocket}, {xds.AuthzCluster, n.AgentSocket}, {xds.SDSCluster, n.SDSSocket},
	} {
		cluster, err := pipeCluster(c.name, c.socket)
		if err != nil {
			return nil, fmt.Errorf("bootstrap of %s: %w", n.ID, err)
		}
		clusters = append(clusters, cluster)
	}
	ads := &corev3.ConfigSource{
		ResourceApiVersion:    corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
	}
	runtime, err := structpb.NewStruct(map[string]any{xds.RegexSizeKey: xds.RegexSize})
	if err != nil {
		return nil, fmt.Errorf("bootstrap of %s: %w", n.ID, err)
	}
	b := &bootstrapv3.Bootstrap{
		Node: &corev3.Node{Id: n.ID, Cluster: "credence"},
		LayeredRuntime: &bootstrapv3.LayeredRuntime{Layers: []*bootstrapv3.RuntimeLayer{{
			Name: "credence", LayerSpecifier: &bootstrapv3.RuntimeLayer_StaticLayer{StaticLayer: runtime},
		}}},
		DynamicResources: &bootstrapv3.Bootstrap_DynamicResources{
			AdsConfig: adsSource(), CdsConfig: ads, LdsConfig: proto.CloneOf(ads),
		},
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{Clusters: clusters},
		Admin:           &bootstrapv3.Admin{Address: pipe(n.AdminSocket, 0o600)},
		OverloadManager: &overloadv3.OverloadManager{ResourceMonitors: []*overloadv3.ResourceMonitor{{
			Name:       "envoy.resource_monitors.global_downstream_max_connections",
			ConfigType: &overloadv3.ResourceMonitor_TypedConfig{TypedConfig: limit},
		}}},
	}
	if err := b.ValidateAll(); err != nil {
		return nil, fmt.Errorf("bootstrap of %s: %w", n.ID, err)
	}
	return protojson.Marshal(b)
}

func adsSource() *corev3.ApiConfigSource {
	return &corev3.ApiConfigSource{
		ApiType:                   corev3.ApiConfigSource_DELTA_GRPC,
		TransportApiVersion:       corev3.ApiVersion_V3,
		SetNodeOnFirstMessageOnly: true,
		GrpcServices: []*corev3.GrpcService{{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{
			ClusterName: xds.ADSCluster,
			RetryPolicy: &corev3.RetryPolicy{RetryBackOff: &corev3.BackoffStrategy{
				BaseInterval: durationpb.New(20 * time.Millisecond), MaxInterval: durationpb.New(500 * time.Millisecond),
			}},
		}}}},
	}
}

func pipeCluster(name, socket string) (*clusterv3.Cluster, error) {
	http2, err := anypb.New(&httpv3.HttpProtocolOptions{UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{
		ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
				Http2ProtocolOptions: &corev3.Http2ProtocolOptions{},
			},
		},
	}})
	if err != nil {
		return nil, err
	}
	many := wrapperspb.UInt32(maxChecks)
	return &clusterv3.Cluster{
		Name:                 name,
		ConnectTimeout:       durationpb.New(time.Second),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		TypedExtensionProtocolOptions: map[string]*anypb.Any{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2,
		},
		CircuitBreakers: &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
			MaxConnections: many, MaxPendingRequests: many, MaxRequests: many,
		}}},
		LoadAssignment: &endpointv3.ClusterLoadAssignment{
			ClusterName: name,
			Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
				HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: pipe(socket, 0)}},
			}}}},
		},
	}, nil
}

func pipe(path string, mode uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: path, Mode: mode}}}
}

// socketLimit is what sockaddr_un holds, less the closing NUL (unix(7)).
const socketLimit = 107

// CheckSocketPath refuses a unix socket path that the kernel would cut or refuse.
func CheckSocketPath(path string) error {
	if len(path) > socketLimit {
		return fmt.Errorf("the socket path %s has %d bytes and at most %d are possible: choose a shorter --run-dir", path, len(path), socketLimit)
	}
	return nil
}
