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
