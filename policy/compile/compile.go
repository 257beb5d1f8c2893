package compile

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/condition"
)

// Input is everything that the manifests say at one moment.
type Input struct {
	// Objects in force, in any order. They are not changed.
	Objects []*manifests.Object
	// Missing are objects that exist but are invalid and have no last good version: what they target is denied.
	Missing []manifests.Key
	// GatewayPeers: callers of gateways may have SPIFFE IDs, because proxies of another control plane ask. It changes diagnostics alone.
	GatewayPeers bool
}

// Compile makes the Set of in. The Set is nil only when there is no single valid Mesh; any other fault is a diagnostic and denies
// what depends on it. The diagnostics are sorted. The Set shares no memory that anyone changes later.
func Compile(in Input) (*policy.Set, []manifests.Diagnostic) {
	c := &compiler{missing: make(map[manifests.Key]bool, len(in.Missing)), unusable: make(map[manifests.Key]bool), gatewayPeers: in.GatewayPeers}
	for _, k := range in.Missing {
		c.missing[k] = true
	}
	c.collect(in.Objects)
	if !c.useMesh() {
		return nil, manifests.Sort(c.diags)
	}
	c.set = &policy.Set{Mesh: c.meshValues()}
	c.useCertificates()
	c.useIssuers()
	c.useCredentials()
	c.useRevocations()
	c.useSettings()
	c.useGateways()
	c.useWorkloads()
	c.useRoutes()
	c.usePolicies()
	c.placeRoutes()
	c.placePorts()
	c.useNeeds()
	c.lintPolicies()
	c.lintResources()
	c.lintClientCertificates()
	c.lintSettings()
	return c.set, manifests.Sort(c.diags)
}

// item is one object with its typed value.
type item[T any] struct {
	obj   *manifests.Object
	value *T
	name  policy.Name
}

// compiler holds one compilation. The fields are filled in the order of Compile.
type compiler struct {
	missing map[manifests.Key]bool
	// unusable objects are there and valid, and may not be used in this mesh.
	unusable map[manifests.Key]bool
	diags    []manifests.Diagnostic
	// language and programs of conditions, made when the first is met.
	language *condition.Compiler
	programs map[string]*condition.Program
	// gatewayPeers is Input.GatewayPeers.
	gatewayPeers bool

	meshes       []item[v1alpha1.Mesh]
	workloads    []item[v1alpha1.Workload]
	certificates []item[v1alpha1.Certificate]
	issuers      []item[v1alpha1.TokenIssuer]
	policies     []item[v1alpha1.AuthPolicy]
	settings     []item[v1alpha1.GatewaySettings]
	credentials  []item[v1alpha1.Credentials]
	revocations  []item[v1alpha1.RevocationList]
	gateways     []item[gatewayv1.Gateway]
	routes       []item[gatewayv1.HTTPRoute]
	grpcRoutes   []item[gatewayv1.GRPCRoute]
	grants       []item[gatewayv1.ReferenceGrant]

	mesh item[v1alpha1.Mesh]
	td   spiffeid.TrustDomain
	set  *policy.Set

	certificateNames map[policy.Name]bool
	issuerURLs       map[policy.Name][]string
	// opaque are the issuers with introspection.
	opaque         map[policy.Name]bool
	sockets        sockets
	settingsByName map[policy.Name]*settings
	gatewayByName  map[policy.Name]*gateway
	workloadByName map[policy.Name]*workload
	routeByName    map[routeKey]*route
	attached       attachments
}

// collect sorts the objects into their kinds, each by name.
func (c *compiler) collect(objects []*manifests.Object) {
	sorted := slices.Clone(objects)
	slices.SortFunc(sorted, func(a, b *manifests.Object) int {
		return cmp.Or(a.Key.Compare(b.Key), a.Pos.Compare(b.Pos), bytes.Compare(a.Canonical, b.Canonical))
	})
	for i, o := range sorted {
		if i > 0 && sorted[i-1].Key == o.Key {
			c.errorAt(place{obj: o}, "duplicate-object", o.Key.String()+" is there twice; the first one counts", "remove one of them")
			continue
		}
		c.add(o)
	}
}

func (c *compiler) add(o *manifests.Object) {
	name := policy.Name{Namespace: o.Key.Namespace, Name: o.Key.Name}
	switch v := o.Value.(type) {
	case *v1alpha1.Mesh:
		c.meshes = append(c.meshes, item[v1alpha1.Mesh]{o, v, name})
	case *v1alpha1.Workload:
		c.workloads = append(c.workloads, item[v1alpha1.Workload]{o, v, name})
	case *v1alpha1.Certificate:
		c.certificates = append(c.certificates, item[v1alpha1.Certificate]{o, v, name})
	case *v1alpha1.TokenIssuer:
		c.issuers = append(c.issuers, item[v1alpha1.TokenIssuer]{o, v, name})
	case *v1alpha1.AuthPolicy:
		c.policies = append(c.policies, item[v1alpha1.AuthPolicy]{o, v, name})
	case *v1alpha1.GatewaySettings:
		c.settings = append(c.settings, item[v1alpha1.GatewaySettings]{o, v, name})
	case *v1alpha1.Credentials:
		c.credentials = append(c.credentials, item[v1alpha1.Credentials]{o, v, name})
	case *v1alpha1.RevocationList:
		c.revocations = append(c.revocations, item[v1alpha1.RevocationList]{o, v, name})
	case *gatewayv1.Gateway:
		c.gateways = append(c.gateways, item[gatewayv1.Gateway]{o, v, name})
	case *gatewayv1.HTTPRoute:
		c.routes = append(c.routes, item[gatewayv1.HTTPRoute]{o, v, name})
	case *gatewayv1.GRPCRoute:
		c.grpcRoutes = append(c.grpcRoutes, item[gatewayv1.GRPCRoute]{o, v, name})
	case *gatewayv1.ReferenceGrant:
		c.grants = append(c.grants, item[gatewayv1.ReferenceGrant]{o, v, name})
	default:
		c.errorAt(place{obj: o}, "unknown-kind", o.Key.String()+" is of a kind that is not compiled", "")
	}
}
