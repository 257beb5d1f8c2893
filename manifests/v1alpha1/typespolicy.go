package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
