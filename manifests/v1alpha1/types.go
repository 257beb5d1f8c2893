package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Group and Version of our kinds.
const (
	Group   = "credence.mesh"
	Version = "v1alpha1"
)

// Kinds of the group.
const (
	KindMesh        = "Mesh"
	KindWorkload    = "Workload"
	KindCertificate = "Certificate"
	KindTokenIssuer = "TokenIssuer"
	KindAuthPolicy  = "AuthPolicy"

	KindGatewaySettings = "GatewaySettings"
	KindCredentials     = "Credentials"
	KindRevocationList  = "RevocationList"
)

// Mesh is the one object that names the trust domain and the lifetimes. It has no namespace.
type Mesh struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              MeshSpec `json:"spec"`
}

// MeshSpec is what holds for the whole mesh.
type MeshSpec struct {
	// TrustDomain is the SPIFFE trust domain (SPIFFE-ID §2.1): lower case, no scheme, at most 255 bytes.
	TrustDomain string `json:"trustDomain"`
	// Development permits what must never run in production: the development issuer, selfSigned certificates, boundary none,
	// and selectors by path alone. Default false.
	Development bool `json:"development,omitempty"`
	// CA lifetimes.
	CA *MeshCA `json:"ca,omitempty"`
	// SVID lifetimes.
	SVID *MeshSVID `json:"svid,omitempty"`
	// Ports is where sidecar listeners are placed that no Workload places itself.
	Ports *MeshPorts `json:"ports,omitempty"`
	// DelegatedIDs lets a namespace claim SPIFFE IDs outside its own prefix.
	DelegatedIDs []DelegatedID `json:"delegatedIDs,omitempty"`
	// InternalTokens: gateways and sidecars hand services a short-lived token of who the user is. Absent: none.
	InternalTokens *InternalTokens `json:"internalTokens,omitempty"`
}

// InternalTokens (Txn-Token, draft-ietf-oauth-transaction-tokens).
type InternalTokens struct {
	// Issuer is the iss. Default https://credence.TRUSTDOMAIN: it is a name, nothing is fetched from it.
	Issuer string `json:"issuer,omitempty"`
	// TTL of one token. Default 60s, 10s to 300s.
	TTL *metav1.Duration `json:"ttl,omitempty"`
	// Mode: perRequest, or cached: one token for several requests of a user on a route, which is outside the draft. Default perRequest.
	Mode string `json:"mode,omitempty"`
	// RotateEvery is how long a key signs. Default 24h, 1m to 720h (10s in a development mesh).
	RotateEvery *metav1.Duration `json:"rotateEvery,omitempty"`
}

// Values of InternalTokens.Mode.
const (
	ModePerRequest = "perRequest"
	ModeCached     = "cached"
)

// MeshCA configures the embedded CA.
type MeshCA struct {
	// TTL of a CA certificate; at least 6 times svid.ttl. Default 24h, or 6 times svid.ttl where that is longer.
	TTL *metav1.Duration `json:"ttl,omitempty"`
}

// MeshSVID configures X.509-SVIDs.
type MeshSVID struct {
	// TTL of an X.509-SVID. Default 1h, at least 10s (60s outside a development mesh), at most 24h.
	TTL *metav1.Duration `json:"ttl,omitempty"`
}

// MeshPorts is an inclusive range of TCP ports. Default 20000 to 29999.
type MeshPorts struct {
	First int32 `json:"first"`
	Last  int32 `json:"last"`
}

// DelegatedID lets Namespace claim IDs whose path begins with PathPrefix (whole segments).
type DelegatedID struct {
	Namespace  string `json:"namespace"`
	PathPrefix string `json:"pathPrefix"`
}

// Workload is a service: who it is, how its processes are recognised, where it listens.
type Workload struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              WorkloadSpec `json:"spec"`
}

// WorkloadSpec describes one Workload.
type WorkloadSpec struct {
	// SPIFFEID overrides spiffe://<td>/ns/<namespace>/wl/<name>. It must lie under the namespace's prefix unless delegated.
	SPIFFEID string `json:"spiffeID,omitempty"`
	// Selectors recognise the processes of this Workload; all of them must hold (AND).
	Selectors Selectors `json:"selectors"`
	// Boundary is what separates its listeners from other processes: user or none. Default user. none only in a development mesh.
	Boundary string `json:"boundary,omitempty"`
	// Ports that the application serves. May be empty: a Workload that only calls.
	Ports []WorkloadPort `json:"ports,omitempty"`
	// Sidecar places the proxy's listeners. Absent: placed by Credence.
	Sidecar *Sidecar `json:"sidecar,omitempty"`
}

// Selectors of a process.
type Selectors struct {
	Unix *UnixSelectors `json:"unix,omitempty"`
}

// UnixSelectors are what the kernel says of a process. At least one is set; path alone only in a development mesh.
type UnixSelectors struct {
	UID *int64 `json:"uid,omitempty"`
	GID *int64 `json:"gid,omitempty"`
	// Path of the executable; a relative one is relative to the manifest's file.
	Path string `json:"path,omitempty"`
	// SHA256 of the executable in lower-case hex.
	SHA256 string `json:"sha256,omitempty"`
}

// WorkloadPort is one port that the application serves, behind its sidecar.
type WorkloadPort struct {
	// Name is unique in the Workload; a policy's sectionName refers to it. Default: the protocol in lower case.
	Name string `json:"name,omitempty"`
	// Port is the number that backendRefs and callers use. With boundary none the application listens on 127.0.0.1:Port;
	// with boundary user on the unix socket <name>.sock in the Workload's directory.
	Port int32 `json:"port"`
	// Protocol that the application speaks: HTTP (HTTP/1.1), HTTP2 or GRPC (both HTTP/2 without TLS). Default HTTP; HTTP2 with mtls application,
	// where HTTP is refused.
	Protocol string `json:"protocol,omitempty"`
	// MTLS says who serves mTLS at Inbound: sidecar, or application: it does so itself with its SVID and HTTP/2, and decides in its own
	// code whom it lets in; no AuthPolicy is in force then. Default sidecar.
	MTLS string `json:"mtls,omitempty"`
	// Paths: how the paths of requests are read.
	Paths *PathSettings `json:"paths,omitempty"`
	// Inbound is the IP address and port on which mTLS is served for this port ("127.0.0.1:20443"). Absent: placed in Mesh.spec.ports; with mtls
	// application 127.0.0.1 and Port.
	Inbound string `json:"inbound,omitempty"`
}

// Sidecar places what the application uses to call others.
type Sidecar struct {
	// Outbound is the IP address and port of the explicit HTTP proxy, used with boundary none only. Absent: placed in Mesh.spec.ports.
	Outbound string `json:"outbound,omitempty"`
}

// PathSettings are for APIs whose paths the default refuses or changes.
type PathSettings struct {
	// EscapedSlashes: reject (400) or keep %2F and %5C as part of a segment. Default reject.
	EscapedSlashes string `json:"escapedSlashes,omitempty"`
	// MergeSlashes: false leaves "//" as it is. Default true.
	MergeSlashes *bool `json:"mergeSlashes,omitempty"`
}

// Values of PathSettings and WorkloadPort.
const (
	SlashesReject   = "reject"
	SlashesKeep     = "keep"
	ProtocolHTTP    = "HTTP"
	ProtocolHTTP2   = "HTTP2"
	ProtocolGRPC    = "GRPC"
	MTLSSidecar     = "sidecar"
	MTLSApplication = "application"
)

// Boundaries of a Workload.
const (
	BoundaryUser = "user"
	BoundaryNone = "none"
)

// Certificate is the TLS certificate of a Gateway listener. Exactly one source is set.
type Certificate struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              CertificateSpec `json:"spec"`
}

// CertificateSpec says where the certificate comes from.
type CertificateSpec struct {
	Files      *CertificateFiles      `json:"files,omitempty"`
	SelfSigned *CertificateSelfSigned `json:"selfSigned,omitempty"`
}

// CertificateFiles names PEM files; relative ones are relative to the manifest's file.
type CertificateFiles struct {
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
}

// CertificateSelfSigned makes one at start, signed by itself. Only in a development mesh.
type CertificateSelfSigned struct {
	// Hosts are the DNS names and IP addresses it is for. Default localhost, 127.0.0.1, ::1.
	Hosts []string `json:"hosts,omitempty"`
}

// GatewaySettings are what Gateway API has no field for. A Gateway names one of its namespace in spec.infrastructure.parametersRef.
type GatewaySettings struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              GatewaySettingsSpec `json:"spec"`
}

// GatewaySettingsSpec holds for all listeners of the Gateway.
type GatewaySettingsSpec struct {
	// Paths: how the paths of requests are read.
	Paths *PathSettings `json:"paths,omitempty"`
	// ClientAddress: which proxies before the gateway are believed. Absent: none, and every x-forwarded-* of a client is dropped.
	ClientAddress *ClientAddress `json:"clientAddress,omitempty"`
	// UnderscoreHeaders: drop, reject (400) or keep request headers with "_" in their names. Default drop.
	UnderscoreHeaders string `json:"underscoreHeaders,omitempty"`
	// HealthPath is answered with 200 by the gateway itself, whatever the host, without a Check; also over HTTP/1.0 without Host.
	HealthPath string `json:"healthPath,omitempty"`
	// Limits of connections and streams.
	Limits *GatewayLimits `json:"limits,omitempty"`
	// ClientCertificates: HTTPS listeners ask clients for a certificate. Absent: they don't.
	ClientCertificates *ClientCertificates `json:"clientCertificates,omitempty"`
}

// ClientCertificates says whose certificates a client may show.
type ClientCertificates struct {
	// CAFile is a PEM file of CAs; relative to the manifest's file where it is not absolute. A certificate of no other ends the handshake.
	CAFile string `json:"caFile"`
	// Required: no handshake without one. Default false.
	Required bool `json:"required,omitempty"`
}

// ClientAddress says which proxies before the gateway are believed; exactly one field is set.
type ClientAddress struct {
	// TrustedProxies are CIDRs: the x-forwarded-* of a peer in one of them are believed, of any other they are dropped.
	TrustedProxies []string `json:"trustedProxies,omitempty"`
	// TrustedHops is how many proxies always stand before the gateway (1 to 10): only where nobody can reach it around them.
	TrustedHops *int32 `json:"trustedHops,omitempty"`
}

// GatewayLimits of connections and streams.
type GatewayLimits struct {
	// ConnectionIdle ends a connection without streams. Default 1h, 1s to 24h.
	ConnectionIdle *metav1.Duration `json:"connectionIdle,omitempty"`
	// StreamIdle ends a stream on which nothing moves. Default 5m, 1s to 24h.
	StreamIdle *metav1.Duration `json:"streamIdle,omitempty"`
	// StreamDuration ends any stream, WebSockets included. Default 24h, 1s to 168h.
	StreamDuration *metav1.Duration `json:"streamDuration,omitempty"`
}

// Values of GatewaySettingsSpec.UnderscoreHeaders.
const (
	UnderscoresDrop   = "drop"
	UnderscoresReject = "reject"
	UnderscoresKeep   = "keep"
)

// AuthPolicy says which authentication is accepted and which rules allow or deny. It attaches by targetRefs (GEP-713).
type AuthPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              AuthPolicySpec `json:"spec"`
}

// AuthPolicySpec of one policy. What no rule allows is denied.
type AuthPolicySpec struct {
	TargetRefs []PolicyTarget `json:"targetRefs"`
	// Override "allowed" lets the most specific policy below replace this one as a whole. Default: a child can only narrow.
	Override string `json:"override,omitempty"`
	// Authentication accepted for users. Absent: no user token is read at this level.
	Authentication *PolicyAuthentication `json:"authentication,omitempty"`
	Rules          []PolicyRule          `json:"rules"`
	// Upstream says what the service behind receives of the user. What several policies in force say is joined; the innermost wins where they
	// differ.
	Upstream *PolicyUpstream `json:"upstream,omitempty"`
	// Responses change what refused clients are told; the same.
	Responses *PolicyResponses `json:"responses,omitempty"`
}

// PolicyUpstream is what the service behind receives.
type PolicyUpstream struct {
	// Credential: remove or forward the one that the client has sent. Default remove.
	Credential string `json:"credential,omitempty"`
	// Headers, QueryParameters and Metadata (dynamic metadata of the ext_authz filter, for access logs and rate limits) carry claims.
	Headers         []ClaimOutput `json:"headers,omitempty"`
	QueryParameters []ClaimOutput `json:"queryParameters,omitempty"`
	Metadata        []ClaimOutput `json:"metadata,omitempty"`
	// InternalToken: what it carries beside what the rules of the route and of the workloads behind ask for.
	InternalToken *InternalTokenContent `json:"internalToken,omitempty"`
}

// Values of PolicyUpstream.Credential.
const (
	CredentialRemove  = "remove"
	CredentialForward = "forward"
)

// ClaimOutput is one value. Exactly one of Claim, Pointer and Field is set.
type ClaimOutput struct {
	Name string `json:"name"`
	// Claim is the list of segments that leads to it; Pointer the same as a JSON pointer (RFC 6901).
	Claim   []string `json:"claim,omitempty"`
	Pointer string   `json:"pointer,omitempty"`
	// Field: subject, issuer, client, scopes, roles, groups or credential.
	Field string `json:"field,omitempty"`
}

// InternalTokenContent of tokens for one route.
type InternalTokenContent struct {
	// Scopes it may carry, as far as the user has them.
	Scopes []string `json:"scopes,omitempty"`
	// Claims it carries in tctx, as JSON pointers.
	Claims []string `json:"claims,omitempty"`
}

// PolicyResponses change answers.
type PolicyResponses struct {
	// Realm of challenges. Default credence.
	Realm           string          `json:"realm,omitempty"`
	Unauthenticated *PolicyResponse `json:"unauthenticated,omitempty"`
	Forbidden       *PolicyResponse `json:"forbidden,omitempty"`
	Unavailable     *PolicyResponse `json:"unavailable,omitempty"`
	// Resource: the gateway serves its metadata (RFC 9728), and challenges name it.
	Resource *ProtectedResource `json:"resource,omitempty"`
}

// PolicyResponse is one answer. Absent fields stay as they are.
type PolicyResponse struct {
	// Status 400 to 599.
	Status  *int32           `json:"status,omitempty"`
	Headers []ResponseHeader `json:"headers,omitempty"`
	// ContentType and Body go together. Body may hold {decision}, {reason} and {message}, each escaped for the type.
	ContentType string `json:"contentType,omitempty"`
	Body        string `json:"body,omitempty"`
}

// ResponseHeader is one header of an answer.
type ResponseHeader struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// ProtectedResource is the metadata of RFC 9728 §2.
type ProtectedResource struct {
	// Identifier is the https URL that clients know the resource by, without query and fragment.
	Identifier string `json:"identifier"`
	// Name for people.
	Name string `json:"name,omitempty"`
	// Scopes that it may need. Default: those that the rules of this policy name.
	Scopes []string `json:"scopes,omitempty"`
}

// OverrideAllowed is the one value of AuthPolicySpec.Override.
const OverrideAllowed = "allowed"

// PolicyTarget is a LocalPolicyTargetReferenceWithSectionName of GEP-713.
type PolicyTarget struct {
	Group string `json:"group"`
	// Kind: Mesh, Gateway, HTTPRoute, GRPCRoute or Workload.
	Kind string `json:"kind"`
	Name string `json:"name"`
	// SectionName: a Gateway's listener, a rule of an HTTPRoute or GRPCRoute by name, a Workload's port.
	SectionName string `json:"sectionName,omitempty"`
}

// PolicyAuthentication lists what proves who the user is.
type PolicyAuthentication struct {
	// Issuers are names of TokenIssuers in the policy's namespace.
	Issuers []string `json:"issuers,omitempty"`
	// Basic are names of Credentials with basic.
	Basic []string `json:"basic,omitempty"`
	// APIKeys are Credentials with apiKeys, and where their keys are looked for.
	APIKeys []PolicyAPIKeys `json:"apiKeys,omitempty"`
	// ClientCertificates are names of Credentials with clientCertificates.
	ClientCertificates []string `json:"clientCertificates,omitempty"`
	// InternalToken: the mesh's own tokens, whoever the user is. On Workloads alone.
	InternalToken bool `json:"internalToken,omitempty"`
}

// PolicyAPIKeys is where the keys of one Credentials are looked for. At least one place.
type PolicyAPIKeys struct {
	// Credentials in the policy's namespace.
	Credentials string `json:"credentials"`
	// Header holds the key and nothing else.
	Header string `json:"header,omitempty"`
	// Bearer: Authorization: Bearer KEY.
	Bearer bool `json:"bearer,omitempty"`
	// Query parameter: whoever sees a URL sees the key. It is removed before the service.
	Query string `json:"query,omitempty"`
}

// PolicyRule matches when From, To and Require all hold. Deny rules are looked at first.
type PolicyRule struct {
	Name string `json:"name"`
	// Action: allow or deny. Default allow.
	Action string `json:"action,omitempty"`
	// Mode: enforce or audit. Default enforce. audit never decides.
	Mode string `json:"mode,omitempty"`
	// Authentication says how an allow rule's callers must have proved who they are: anonymous (no user is needed), peer (no user is needed, a
	// calling workload is), bearer, basic, apiKey, clientCertificate, internalToken: a user with one of these. Absent: any that the policy
	// accepts, and a user is needed where it accepts any.
	Authentication []string `json:"authentication,omitempty"`
	// From: any of these peers. Absent: any peer.
	From []RulePeer `json:"from,omitempty"`
	// To: any of these operations. Absent: any operation.
	To []RuleOperation `json:"to,omitempty"`
	// Require: all of it. Absent: nothing.
	Require *RuleRequirement `json:"require,omitempty"`
}

// Values of PolicyRule.
const (
	ActionAllow             = "allow"
	ActionDeny              = "deny"
	ModeEnforce             = "enforce"
	ModeAudit               = "audit"
	AuthenticationAnonymous = "anonymous"

	AuthenticationPeer              = "peer"
	AuthenticationBearer            = "bearer"
	AuthenticationBasic             = "basic"
	AuthenticationAPIKey            = "apiKey"
	AuthenticationClientCertificate = "clientCertificate"
	AuthenticationInternalToken     = "internalToken"
)

// RulePeer is a calling workload. Exactly one field is set.
type RulePeer struct {
	// SPIFFEID is the exact ID.
	SPIFFEID string `json:"spiffeID,omitempty"`
	// SPIFFEIDPrefix matches IDs whose path begins with all segments of this one.
	SPIFFEIDPrefix string `json:"spiffeIDPrefix,omitempty"`
	// Workload is a Workload of the policy's namespace, by name.
	Workload string `json:"workload,omitempty"`
	// Gateway is a Gateway of the policy's namespace, by name.
	Gateway string `json:"gateway,omitempty"`
}

// RuleOperation is what is called: all given fields must hold, in each any element.
type RuleOperation struct {
	// Methods compare exactly (RFC 9110 §9.1: case-sensitive).
	Methods []string `json:"methods,omitempty"`
	// Paths: "/a/b" is exactly that path; "/a/*" is every path below /a by whole segments, and /a itself; "/*" is any; "/a/{id}" has any one
	// segment for {id}, which conditions see as request.params.id.
	// Compared with the canonical path, percent-decoded per segment.
	Paths []string `json:"paths,omitempty"`
	// Hosts: exact names, or "*.example.com" for one or more labels before it. Without port.
	Hosts []string `json:"hosts,omitempty"`
	// GRPC: services and methods, instead of methods and paths.
	GRPC []GRPCOperation `json:"grpc,omitempty"`
	// Headers of the request: all of them.
	Headers []HeaderRequirement `json:"headers,omitempty"`
}

// HeaderRequirement holds when the header has one of the values. Exactly one of AnyOf and Present is set.
type HeaderRequirement struct {
	Name    string   `json:"name"`
	AnyOf   []string `json:"anyOf,omitempty"`
	Present bool     `json:"present,omitempty"`
}

// GRPCOperation is one gRPC service, or some of its methods.
type GRPCOperation struct {
	// Service is the full name: shop.v1.Orders.
	Service string `json:"service"`
	// Methods of it. Absent: all.
	Methods []string `json:"methods,omitempty"`
}

// RuleRequirement is what the user's token must hold.
type RuleRequirement struct {
	Scopes *ScopeRequirement  `json:"scopes,omitempty"`
	Claims []ClaimRequirement `json:"claims,omitempty"`
	// Principal: user or service. A token whose sub is its client_id, or that has a mark of its TokenIssuer, speaks for a service.
	Principal string `json:"principal,omitempty"`
	// Roles and Groups as the TokenIssuer or the Credentials give them.
	Roles  *NameRequirement `json:"roles,omitempty"`
	Groups *NameRequirement `json:"groups,omitempty"`
	// ACR: one of these authentication contexts (RFC 9470), the preferred one first. MaxAge: the user signed in no longer ago.
	ACR    []string         `json:"acr,omitempty"`
	MaxAge *metav1.Duration `json:"maxAge,omitempty"`
	// Condition is a CEL expression over request, user, peer and token.
	Condition string `json:"condition,omitempty"`
}

// NameRequirement wants every one of AllOf, and at least one of AnyOf.
type NameRequirement struct {
	AllOf []string `json:"allOf,omitempty"`
	AnyOf []string `json:"anyOf,omitempty"`
}

// Values of RuleRequirement.Principal.
const (
	PrincipalUser    = "user"
	PrincipalService = "service"
)

// ScopeRequirement (RFC 6749 §3.3). AllOf: every one; AnyOf: at least one.
type ScopeRequirement struct {
	AllOf []string `json:"allOf,omitempty"`
	AnyOf []string `json:"anyOf,omitempty"`
}

// ClaimRequirement compares one claim. An array claim holds when one of its elements does.
type ClaimRequirement struct {
	// Path is the list of segments that leads to the claim: [realm_access, roles]. Exactly one of Path and Pointer is set.
	Path []string `json:"path,omitempty"`
	// Pointer is the same as a JSON pointer (RFC 6901): /realm_access/roles.
	Pointer string `json:"pointer,omitempty"`
	// AnyOf are the values of which one must be equal. Strings compare as strings, numbers by their value, booleans by their text.
	AnyOf []string `json:"anyOf"`
}
