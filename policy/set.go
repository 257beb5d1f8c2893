package policy

import (
	"fmt"
	"time"
)

// Name identifies an object of the Set: namespace and name. Comparable; Mesh has no namespace.
type Name struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// String is "namespace/name", or the name alone.
func (n Name) String() string {
	if n.Namespace == "" {
		return n.Name
	}
	return n.Namespace + "/" + n.Name
}

// Set is the compiled model of all manifests. Slices are sorted by Name (Issuers, Policies, …) or in the order stated at the field.
type Set struct {
	Mesh         Mesh          `json:"mesh"`
	Gateways     []Gateway     `json:"gateways"`
	Workloads    []Workload    `json:"workloads"`
	Certificates []Certificate `json:"certificates"`
	Issuers      []Issuer      `json:"issuers"`
	Policies     []Policy      `json:"policies"`
}

// Mesh is what holds for all.
type Mesh struct {
	TrustDomain string        `json:"trustDomain"`
	Development bool          `json:"development"`
	CATTL       time.Duration `json:"caTTL"`
	SVIDTTL     time.Duration `json:"svidTTL"`
}

// ProxyKind tells gateways from sidecars. The zero value is not valid.
type ProxyKind int

// Kinds of proxies.
const (
	_ ProxyKind = iota
	GatewayProxy
	SidecarProxy
)

// ProxyID names a proxy: "gateway/<namespace>/<name>" or "sidecar/<namespace>/<name>". It is the proxy's Envoy node.id.
type ProxyID string

// GatewayID is the proxy of the Gateway n.
func GatewayID(n Name) ProxyID { return ProxyID(fmt.Sprintf("gateway/%s/%s", n.Namespace, n.Name)) }

// SidecarID is the proxy of the Workload n.
func SidecarID(n Name) ProxyID { return ProxyID(fmt.Sprintf("sidecar/%s/%s", n.Namespace, n.Name)) }

// Gateway is an Envoy at the edge.
type Gateway struct {
	Name     Name   `json:"name"`
	SPIFFEID string `json:"spiffeID"`
	// Listeners, by address and port; one per socket.
	Listeners []Listener `json:"listeners"`
}

// Protocol of a listener or port. The zero value is not valid.
type Protocol int

// Protocols.
const (
	_ Protocol = iota
	HTTP
	HTTPS
)

// Listener is one listening socket of a gateway.
type Listener struct {
	// Address is an IP literal.
	Address  string   `json:"address"`
	Port     uint16   `json:"port"`
	Protocol Protocol `json:"protocol"`
	// Sections are the Gateway API listeners that share the socket, sorted by Name: told apart by SNI (HTTPS) and Host.
	Sections []Section `json:"sections"`
}

// Section is one Gateway API listener.
type Section struct {
	Name string `json:"name"`
	// Hostname is empty (any), exact, or "*.example.com".
	Hostname string `json:"hostname,omitempty"`
	// Certificates of an HTTPS section, in the order of the manifest.
	Certificates []Name `json:"certificates,omitempty"`
	// VirtualHosts have disjoint Hosts over the whole Listener for HTTP, over the Section for HTTPS. Sorted by Host.
	VirtualHosts []VirtualHost `json:"virtualHosts"`
}

// VirtualHost holds the routes of one host.
type VirtualHost struct {
	// Host is "*" (the manifests leave hostnames out), an exact name, or "*.example.com".
	Host string `json:"host"`
	// Routes in the order in which they match: Gateway API precedence.
	Routes []Route `json:"routes"`
}

// RouteID is a hash of exactly what Envoy matches (proxy, listener, section, host, match, rewrites) and of the backends that get traffic,
// never an index: same id, same traffic.
type RouteID string

// Route is one match of one rule.
type Route struct {
	ID RouteID `json:"id"`
	// Origin is for people: the manifest and the rule it came from.
	Origin Origin     `json:"origin"`
	Match  RouteMatch `json:"match"`
	// Request changes headers on the way to the upstream.
	Request HeaderChange `json:"request"`
	// Response changes headers on the way back.
	Response HeaderChange `json:"response"`
	// Redirect answers at once; nil: forward to Backends.
	Redirect *Redirect `json:"redirect,omitempty"`
	Rewrite  *Rewrite  `json:"rewrite,omitempty"`
	// Backends by the order of the manifest. Empty and no Redirect: 500.
	Backends []Backend `json:"backends"`
	// RequestTimeout and BackendTimeout: 0 is none.
	RequestTimeout time.Duration `json:"requestTimeout"`
	BackendTimeout time.Duration `json:"backendTimeout"`
	// Access decides who may.
	Access Access `json:"access"`
}

// Origin tells people where a Route came from.
type Origin struct {
	Kind string `json:"kind"`
	Name Name   `json:"name"`
	// Rule is the rule's name, else its index as "rules[0]".
	Rule string `json:"rule,omitempty"`
}

// PathMatchKind of a RouteMatch. The zero value is not valid.
type PathMatchKind int

// Kinds of path matches (Gateway API HTTPPathMatch).
const (
	_ PathMatchKind = iota
	PathExact
	// PathPrefix matches whole segments: "/a" matches /a, /a/ and /a/b, not /ab. Value has no trailing slash, except "/".
	PathPrefix
)

// RouteMatch is what a request must have.
type RouteMatch struct {
	PathKind PathMatchKind `json:"pathKind"`
	Path     string        `json:"path"`
	// Method is empty for any.
	Method string `json:"method,omitempty"`
	// Headers and Query: all must be equal; sorted by Name. Header names are lower case.
	Headers []NameValue `json:"headers,omitempty"`
	Query   []NameValue `json:"query,omitempty"`
}

// NameValue is a pair.
type NameValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// HeaderChange of Gateway API's header modifiers. Sorted by Name.
type HeaderChange struct {
	Set    []NameValue `json:"set,omitempty"`
	Add    []NameValue `json:"add,omitempty"`
	Remove []string    `json:"remove,omitempty"`
}

// Redirect of Gateway API's RequestRedirect. Empty fields keep what the request has.
type Redirect struct {
	Scheme string      `json:"scheme,omitempty"`
	Host   string      `json:"host,omitempty"`
	Port   uint16      `json:"port,omitempty"`
	Status int         `json:"status"`
	Path   *PathChange `json:"path,omitempty"`
}

// Rewrite of Gateway API's URLRewrite.
type Rewrite struct {
	Host string      `json:"host,omitempty"`
	Path *PathChange `json:"path,omitempty"`
}

// PathChange replaces the whole path, or the matched prefix.
type PathChange struct {
	Prefix bool   `json:"prefix"`
	Value  string `json:"value"`
}

// Backend is one weighted destination.
type Backend struct {
	// Workload and Port of the destination.
	Workload Name   `json:"workload"`
	Port     uint16 `json:"port"`
	Weight   uint32 `json:"weight"`
	// Missing: the reference leads nowhere; its share is answered with 500.
	Missing bool `json:"missing,omitempty"`
}

// Workload is a service and its sidecar.
type Workload struct {
	Name     Name   `json:"name"`
	SPIFFEID string `json:"spiffeID"`
	// Selectors recognise its processes; all that are set must hold.
	Selectors Selectors `json:"selectors"`
	Boundary  Boundary  `json:"boundary"`
	// Ports by Port.
	Ports []Port `json:"ports"`
	// Outbound is the address of the explicit proxy with BoundaryNone ("127.0.0.1:20001"); empty with BoundaryUser: a unix socket.
	Outbound string `json:"outbound,omitempty"`
	// Denied says why no identity may be issued for it; empty: may.
	Denied string `json:"denied,omitempty"`
}

// Boundary of a Workload. The zero value is not valid.
type Boundary int

// Boundaries.
const (
	_ Boundary = iota
	BoundaryUser
	BoundaryNone
)

// Selectors of unix processes. Unset: nil or empty. Path is absolute.
type Selectors struct {
	UID    *uint32 `json:"uid,omitempty"`
	GID    *uint32 `json:"gid,omitempty"`
	Path   string  `json:"path,omitempty"`
	SHA256 string  `json:"sha256,omitempty"`
}

// Port is one inbound mTLS listener of a sidecar and the application behind it.
type Port struct {
	Name string `json:"name"`
	Port uint16 `json:"port"`
	// Inbound is the address of the mTLS listener, "ip:port".
	Inbound string `json:"inbound"`
	// Route is the id that the sidecar sends with every Check of this port.
	Route RouteID `json:"route"`
	// Access decides who may.
	Access Access `json:"access"`
}

// Access is how one route or port is decided.
type Access struct {
	// Levels from the outermost (Mesh) to the innermost that have a policy, after overrides. Every one must allow. Empty: denied.
	Levels []Level `json:"levels"`
	// Denied: whatever a policy says, the answer is "no" for this reason (a policy without a last good version targets it, …).
	Denied string `json:"denied,omitempty"`
}

// LevelKind of a Level. The zero value is not valid.
type LevelKind int

// Levels, outermost first.
const (
	_ LevelKind = iota
	MeshLevel
	GatewayLevel
	RouteLevel
	WorkloadLevel
)

// Level is the union of the policies on one target.
type Level struct {
	Kind LevelKind `json:"kind"`
	// Policies by Name; each is in Set.Policies.
	Policies []Name `json:"policies"`
}

// Certificate of gateways. Exactly one source is set.
type Certificate struct {
	Name Name `json:"name"`
	// CertificateFile and KeyFile are absolute.
	CertificateFile string `json:"certificateFile,omitempty"`
	KeyFile         string `json:"keyFile,omitempty"`
	// SelfSignedHosts, sorted: made at start.
	SelfSignedHosts []string `json:"selfSignedHosts,omitempty"`
}

// Issuer of user tokens.
type Issuer struct {
	Name Name `json:"name"`
	// Issuer is the exact iss.
	Issuer     string        `json:"issuer"`
	Audiences  []string      `json:"audiences"`
	Algorithms []string      `json:"algorithms"`
	Keys       KeySource     `json:"keys"`
	Leeway     time.Duration `json:"leeway"`
	ExpLeeway  time.Duration `json:"expLeeway"`
	// MaxLifetime 0: none.
	MaxLifetime time.Duration `json:"maxLifetime"`
	// Strict is the profile of RFC 9068 (typ at+jwt and its required claims).
	Strict bool `json:"strict"`
}

// KeySource of an Issuer: exactly one field is set.
type KeySource struct {
	Inline      string `json:"inline,omitempty"`
	File        string `json:"file,omitempty"`
	URL         string `json:"url,omitempty"`
	Development bool   `json:"development,omitempty"`
}
