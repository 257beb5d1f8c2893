package xds

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/credence-mesh/credence/policy"
)

// Clusters that the bootstrap of every proxy defines; all of them are unix sockets of the agent.
const (
	// ADSCluster serves the aggregated discovery service.
	ADSCluster = "credence_xds"
	// AuthzCluster serves Check. Its circuit breakers must be raised: above 1024 requests in flight Envoy answers 503 by itself.
	AuthzCluster = "credence_authz"
	// SDSCluster serves secrets.
	SDSCluster = "credence_sds"
)

// RegexSizeKey and RegexSize are the runtime value that every bootstrap sets: RE2's size of the largest regular expression that Translate
// writes, that of the longest path of a route (1,024 characters, each of which may be written in two ways), with room. With Envoy's
// default of 100 one long path would keep the routes of a whole listener from being taken.
const (
	RegexSizeKey = "re2.max_program_size.error_level"
	RegexSize    = 1 << 16
)

// TrustSecret is the SDS secret that holds the bundles of all trust domains (a validation context with Envoy's SPIFFE validator).
const TrustSecret = "ALL"

// CertificateSecret is the SDS secret of a gateway's Certificate: "certificate/<namespace>/<name>".
func CertificateSecret(n policy.Name) string { return "certificate/" + n.Namespace + "/" + n.Name }

// ClientsSecret is the SDS secret of the CAs of a gateway's clients: "clients/<namespace>/<name of the Gateway>".
func ClientsSecret(gateway policy.Name) string {
	return "clients/" + gateway.Namespace + "/" + gateway.Name
}

// ErrUnknownProxy is returned by Translate where the Set has no such proxy.
var ErrUnknownProxy = errors.New("unknown proxy")

// Paths are places on the proxy's machine.
type Paths struct {
	// WorkloadDir is the directory of the workload's unix sockets with policy.BoundaryUser: outbound.sock and <port name>.sock. It is
	// not used for gateways and with policy.BoundaryNone.
	WorkloadDir string
}

// Resource is one xDS resource. It is immutable.
type Resource struct {
	Name    string
	TypeURL string
	// Version is a prefix of the SHA-256 of Body.Value: equal versions are equal content, across restarts and replicas.
	Version string
	// Body holds the deterministic encoding.
	Body *anypb.Any
}

// Resources are all that one proxy is sent, each kind sorted by name. They are immutable and may be shared.
type Resources struct {
	Clusters  []Resource
	Endpoints []Resource
	Listeners []Resource
	Routes    []Resource
	// Secrets are the names that listeners and clusters refer to, sorted.
	Secrets []string
}

// Translate makes the resources of one proxy. The error says which object of the Set cannot be put to Envoy; then nothing is returned.
// An unknown proxy is ErrUnknownProxy.
func Translate(set *policy.Set, proxy policy.ProxyID, p Paths) (*Resources, error) {
	t := newTranslation(set, p)
	switch {
	case t.gateway(proxy):
	case t.sidecar(proxy):
	default:
		return nil, fmt.Errorf("%w: %q", ErrUnknownProxy, proxy)
	}
	if len(t.errs) > 0 {
		return nil, fmt.Errorf("translate %s: %w", proxy, errors.Join(t.errs...))
	}
	return t.result(), nil
}

// destination is one port of one workload.
type destination struct {
	workload policy.Name
	port     uint16
}

// cluster is the name of the destination's cluster and of its endpoints.
func (d destination) cluster() string {
	return fmt.Sprintf("workload/%s/%s/%d", d.workload.Namespace, d.workload.Name, d.port)
}

// translation is the state of one Translate: what has been made, what is still needed, and what went wrong.
type translation struct {
	set   *policy.Set
	paths Paths
	// self is the SPIFFE ID of the proxy: the name of its own secret.
	self string
	// settings of the gateway; zero for a sidecar.
	settings policy.GatewaySettings
	// claims are the headers that carry claims to what is behind the proxy; sorted.
	claims []string

	workloads    map[policy.Name]*policy.Workload
	certificates map[policy.Name]bool

	clusters, endpoints, listeners, routes []Resource

	// configured are the filters that some route of a route configuration says something to.
	configured map[filterOf]bool

	secrets map[string]bool
	// wanted are the destinations that some route sends to.
	wanted map[destination]bool
	errs   []error
}

// filterOf is an HTTP filter for the routes of one route configuration.
type filterOf struct{ routes, filter string }

func newTranslation(set *policy.Set, p Paths) *translation {
	t := &translation{
		set: set, paths: p,
		workloads:    make(map[policy.Name]*policy.Workload, len(set.Workloads)),
		certificates: make(map[policy.Name]bool, len(set.Certificates)),
		configured:   map[filterOf]bool{},
		secrets:      map[string]bool{},
		wanted:       map[destination]bool{},
	}
	for i := range set.Workloads {
		t.workloads[set.Workloads[i].Name] = &set.Workloads[i]
	}
	for _, c := range set.Certificates {
		t.certificates[c.Name] = true
	}
	return t
}

func (t *translation) fail(format string, args ...any) {
	t.errs = append(t.errs, fmt.Errorf(format, args...))
}

// pack encodes m deterministically. Failures (text that is not UTF-8) are collected.
func (t *translation) pack(m proto.Message) *anypb.Any {
	a := new(anypb.Any)
	if err := anypb.MarshalFrom(a, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		t.fail("encode %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return a
}

func (t *translation) resource(name string, m proto.Message) Resource {
	body := t.pack(m)
	sum := sha256.Sum256(body.GetValue())
	return Resource{Name: name, TypeURL: body.GetTypeUrl(), Version: hex.EncodeToString(sum[:16]), Body: body}
}

func (t *translation) result() *Resources {
	byName := func(rs []Resource) []Resource {
		slices.SortFunc(rs, func(a, b Resource) int { return strings.Compare(a.Name, b.Name) })
		return rs
	}
	return &Resources{
		Clusters: byName(t.clusters), Endpoints: byName(t.endpoints), Listeners: byName(t.listeners), Routes: byName(t.routes),
		Secrets: sortedKeys(t.secrets),
	}
}

func sortedKeys(m map[string]bool) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
