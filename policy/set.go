package policy

import (
	"fmt"
	"strings"
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
	Credentials  []Credentials `json:"credentials,omitempty"`
	// Revocations of the manifests, by ID.
	Revocations []Revocation `json:"revocations,omitempty"`
}

// Mesh is what holds for all.
type Mesh struct {
	TrustDomain string        `json:"trustDomain"`
	Development bool          `json:"development"`
	CATTL       time.Duration `json:"caTTL"`
	SVIDTTL     time.Duration `json:"svidTTL"`
	// InternalTokens: nil: none are made, and none accepted.
	InternalTokens *InternalTokens `json:"internalTokens,omitempty"`
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

// IsGateway tells a gateway's proxy from a sidecar.
func (id ProxyID) IsGateway() bool { return strings.HasPrefix(string(id), "gateway/") }

// Gateway is an Envoy at the edge.
type Gateway struct {
	Name     Name   `json:"name"`
	SPIFFEID string `json:"spiffeID"`
	// Settings of all its listeners.
	Settings GatewaySettings `json:"settings,omitzero"`
	// Listeners, by address and port; one per socket.
	Listeners []Listener `json:"listeners"`
}

// GatewaySettings are what Gateway API has no field for. The zero value is the product's default in every field.
type GatewaySettings struct {
	// Paths is how the paths of its requests are read.
	Paths PathRules `json:"paths,omitzero"`
	// TrustedProxies are CIDRs, sorted: the x-forwarded-* of a peer in one of them are believed, of any other they are dropped. Empty: nobody's.
	TrustedProxies []string `json:"trustedProxies,omitempty"`
	// TrustedHops is how many proxies always stand before the gateway; not with TrustedProxies. 0: none.
	TrustedHops uint32 `json:"trustedHops,omitempty"`
	// Underscores is what becomes of headers with "_" in their names.
	Underscores UnderscoreHeaders `json:"underscores,omitempty"`
	// HealthPath is answered with 200 by the gateway itself, whatever the host, without a Check; also over HTTP/1.0 without Host. Empty: none.
	HealthPath string `json:"healthPath,omitempty"`
	// ConnectionIdle, StreamIdle and StreamCap replace the defaults; 0: the default.
	ConnectionIdle time.Duration `json:"connectionIdle,omitempty"`
	StreamIdle     time.Duration `json:"streamIdle,omitempty"`
	StreamCap      time.Duration `json:"streamCap,omitempty"`
	// ClientCAFile: its HTTPS listeners ask for a client certificate and end the handshake of one that no CA of this PEM file has signed.
	// Absolute; empty: they don't ask. ClientRequired: and of a client without.
	ClientCAFile   string `json:"clientCAFile,omitempty"`
	ClientRequired bool   `json:"clientRequired,omitempty"`
}

// Fronted tells whether proxies stand before the gateway, all of the time or some of it.
func (s *GatewaySettings) Fronted() bool { return s.TrustedHops > 0 || len(s.TrustedProxies) > 0 }

// PathRules is how paths are read where the default refuses or changes what some APIs need. Proxy and Check read by the same rules.
type PathRules struct {
	// KeepEscapedSlashes: %2F and %5C are part of a segment. Otherwise they are refused.
	KeepEscapedSlashes bool `json:"keepEscapedSlashes,omitempty"`
	// KeepEmptySegments: "//" stays, and an empty segment is one. Otherwise slashes are merged.
	KeepEmptySegments bool `json:"keepEmptySegments,omitempty"`
}

// UnderscoreHeaders is what becomes of request headers with "_" in their names: many servers take them for "-".
type UnderscoreHeaders int

// What may become of them. The zero value is the default.
const (
	// UnderscoresDropped: the request is served without them.
	UnderscoresDropped UnderscoreHeaders = iota
	// UnderscoresRejected: 400.
	UnderscoresRejected
	// UnderscoresKept: passed on, but for those that could pass for headers of ours.
	UnderscoresKept
)

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
	// Documents are answered before any route; sorted by Path.
	Documents []Document `json:"documents,omitempty"`
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
	// GRPC: it carries calls of gRPC. gRPC-Web is translated, and a client's grpc-timeout ends a call.
	GRPC bool `json:"grpc,omitempty"`
	// Request changes headers on the way to the upstream.
	Request HeaderChange `json:"request"`
	// Response changes headers on the way back.
	Response HeaderChange `json:"response"`
	// Redirect answers at once; nil: forward to Backends.
	Redirect *Redirect `json:"redirect,omitempty"`
	Rewrite  *Rewrite  `json:"rewrite,omitempty"`
	// CORS answers preflights at the proxy and adds CORS headers to every answer of the route, denials too; nil: none.
	CORS *CORS `json:"cors,omitempty"`
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
	// PathRegex matches the whole normalised path, still percent-encoded and without query (RE2, ASCII; see compile's regex rules).
	PathRegex
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
	// HeaderRegex and QueryRegex: the whole value must match the expression (RE2, ASCII); sorted by Name.
	HeaderRegex []NameValue `json:"headerRegex,omitempty"`
	QueryRegex  []NameValue `json:"queryRegex,omitempty"`
}

// CORS of Gateway API's CORS filter (Fetch standard §3.2).
type CORS struct {
	// AllowOrigins are "*", "scheme://host[:port]", or with "*." as first label of the host for one or more labels. Sorted.
	AllowOrigins []string `json:"allowOrigins"`
	// AllowMethods, AllowHeaders and ExposeHeaders may hold "*"; sorted.
	AllowMethods     []string      `json:"allowMethods,omitempty"`
	AllowHeaders     []string      `json:"allowHeaders,omitempty"`
	ExposeHeaders    []string      `json:"exposeHeaders,omitempty"`
	AllowCredentials bool          `json:"allowCredentials,omitempty"`
	MaxAge           time.Duration `json:"maxAge"`
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
	// HTTP2: the application speaks HTTP/2 (gRPC too), without TLS; else HTTP/1.1.
	HTTP2 bool `json:"http2,omitempty"`
	// OwnMTLS: the application serves mTLS itself at Inbound, with its SVID and HTTP/2. No sidecar listens for it and no policy is in force.
	OwnMTLS bool `json:"ownMTLS,omitempty"`
	// Paths is how the paths of its requests are read.
	Paths PathRules `json:"paths,omitzero"`
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
	// Upstream is what the service receives of the user; nil: the identity headers alone, and an internal token where there are any.
	Upstream *Upstream `json:"upstream,omitempty"`
	// Responses: nil: ours.
	Responses *Responses `json:"responses,omitempty"`
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
