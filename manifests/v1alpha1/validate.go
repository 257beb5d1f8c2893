package v1alpha1

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	minSVIDTTL  = 10 * time.Second
	minSVIDProd = 60 * time.Second
	maxSVIDTTL  = 24 * time.Hour
	maxCATTL    = 10 * 365 * 24 * time.Hour
	overflowUID = 65534     // what the kernel shows for an id that has no mapping in a user namespace: it names nobody
	maxUnixID   = 1<<32 - 2 // 2^32-1 is "no id" to the kernel
)

// FieldError is one thing that is wrong with one object by itself.
type FieldError struct {
	// Path of the field: "spec.rules[0].to[1].paths[0]".
	Path string
	// Code is stable, lower-case-with-dashes.
	Code    string
	Message string
	Hint    string
	// Warning: the object is valid all the same.
	Warning bool
}

// Validate checks what needs no other object. obj is a pointer to one of the kinds of this package with defaults applied. It
// returns everything that it finds, in the order of the fields; other types have no findings.
func Validate(obj any) []FieldError {
	var c checker
	switch o := obj.(type) {
	case *Mesh:
		c.mesh(&o.Spec)
	case *Workload:
		c.workload(&o.Spec)
	case *Certificate:
		c.certificate(&o.Spec)
	case *TokenIssuer:
		c.tokenIssuer(&o.Spec)
	case *AuthPolicy:
		c.authPolicy(&o.Spec)
	case *GatewaySettings:
		c.gatewaySettings(&o.Spec)
	case *RevocationList:
		c.revocationList(&o.Spec)
	case *Credentials:
		c.credentials(&o.Spec)
	}
	return c.found
}

type checker struct{ found []FieldError }

func (c *checker) fail(path, code, message, hint string) {
	c.found = append(c.found, FieldError{Path: path, Code: code, Message: path + ": " + message, Hint: hint})
}

func (c *checker) warn(path, code, message, hint string) {
	c.found = append(c.found, FieldError{Path: path, Code: code, Message: path + ": " + message, Hint: hint, Warning: true})
}

func (c *checker) required(path, value string) bool {
	if value == "" {
		c.fail(path, "required", "a value is required", "there is no default for it")
	}
	return value != ""
}

func (c *checker) oneOf(path, value string, values ...string) {
	for _, v := range values {
		if v == value {
			return
		}
	}
	c.fail(path, "unsupported-value", fmt.Sprintf("%q is not one of the values", value), "one of: "+strings.Join(values, ", "))
}

func (c *checker) duration(path string, d *metav1.Duration, least, most time.Duration) {
	if d != nil && (d.Duration < least || d.Duration > most) {
		c.fail(path, "out-of-range", fmt.Sprintf("%s is out of range", written(d.Duration)), fmt.Sprintf("from %s to %s", written(least), written(most)))
	}
}

// written is a duration as people write it: 1h, not 1h0m0s.
func written(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (c *checker) port(path string, port int32) {
	if port < 1 || port > 65535 {
		c.fail(path, "out-of-range", fmt.Sprintf("%d is not a port", port), "from 1 to 65535")
	}
}

func (c *checker) addrPort(path, value string) {
	if value == "" {
		return
	}
	ap, err := netip.ParseAddrPort(value)
	if err != nil || ap.Port() == 0 || ap.Addr().Zone() != "" {
		c.fail(path, "invalid-value", fmt.Sprintf("%q is not an IP address and port", value), `for example "127.0.0.1:20443" or "[::1]:20443"`)
	}
}

var (
	trustDomain = regexp.MustCompile(`^[a-z0-9._-]+$`)
	dnsLabel    = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	objectName  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
)

func (c *checker) name(path, value string) {
	if !c.required(path, value) {
		return
	}
	if len(value) > 253 || !objectName.MatchString(value) {
		c.fail(path, "invalid-name", fmt.Sprintf("%q is not the name of an object", value), `lower-case letters, digits, "-" and "." (RFC 1123)`)
	}
}

func (c *checker) mesh(s *MeshSpec) {
	switch td := s.TrustDomain; {
	case !c.required("spec.trustDomain", td):
	case strings.HasPrefix(td, "spiffe:"):
		c.fail("spec.trustDomain", "invalid-value", fmt.Sprintf("%q is an ID", td), "write the name alone, without spiffe://")
	case len(td) > 255 || !trustDomain.MatchString(td):
		c.fail("spec.trustDomain", "invalid-value", fmt.Sprintf("%q is not a trust domain", td),
			`at most 255 of lower-case letters, digits, ".", "-" and "_" (SPIFFE-ID 2.1)`)
	}
	least := minSVIDProd
	if s.Development {
		least = minSVIDTTL
	}
	if s.SVID != nil {
		c.duration("spec.svid.ttl", s.SVID.TTL, least, maxSVIDTTL)
	}
	if s.CA != nil && s.CA.TTL != nil {
		floor := caPerSVID * DefaultSVIDTTL
		if s.SVID != nil && s.SVID.TTL != nil {
			floor = caPerSVID * max(least, min(s.SVID.TTL.Duration, maxSVIDTTL))
		}
		c.duration("spec.ca.ttl", s.CA.TTL, floor, maxCATTL)
	}
	if p := s.Ports; p != nil {
		c.port("spec.ports.first", p.First)
		c.port("spec.ports.last", p.Last)
		if p.First > p.Last {
			c.fail("spec.ports.last", "out-of-range", "last is below first", "")
		}
	}
	c.internalTokens(s)
	for i, d := range s.DelegatedIDs {
		at := index("spec.delegatedIDs", i)
		if !dnsLabel.MatchString(d.Namespace) {
			c.fail(at+".namespace", "invalid-name", fmt.Sprintf("%q is not a namespace", d.Namespace), "")
		}
		if err := spiffeid.ValidatePath(d.PathPrefix); err != nil || d.PathPrefix == "" {
			c.fail(at+".pathPrefix", "invalid-value", fmt.Sprintf("%q is not the path of a SPIFFE ID", d.PathPrefix), "for example /legacy/billing")
		}
	}
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// spiffeID checks strictly (SPIFFE-ID §2): a path is required, since an ID without one names a trust domain and no workload.
func (c *checker) spiffeID(path, value string) {
	id, err := spiffeid.FromString(value)
	switch {
	case err != nil:
		c.fail(path, "invalid-spiffe-id", fmt.Sprintf("%q is not a SPIFFE ID: %v", value, err), "for example spiffe://example.org/ns/default/wl/web")
	case id.Path() == "":
		c.fail(path, "invalid-spiffe-id", fmt.Sprintf("%q names a trust domain and no workload", value), "add a path")
	case len(value) > 2048:
		c.fail(path, "invalid-spiffe-id", "the ID is longer than 2048 bytes", "")
	}
}

func (c *checker) workload(s *WorkloadSpec) {
	if s.SPIFFEID != "" {
		c.spiffeID("spec.spiffeID", s.SPIFFEID)
	}
	c.selectors(s.Selectors.Unix)
	c.oneOf("spec.boundary", s.Boundary, BoundaryUser, BoundaryNone)
	c.ports(s)
	if s.Sidecar != nil && s.Sidecar.Outbound != "" {
		c.addrPort("spec.sidecar.outbound", s.Sidecar.Outbound)
		if s.Boundary == BoundaryUser {
			c.fail("spec.sidecar.outbound", "unsupported-value", "a workload with boundary user calls through a unix socket, not a port",
				"remove it, or set boundary: none in a development mesh")
		}
	}
}

func (c *checker) ports(s *WorkloadSpec) {
	names, numbers, inbounds := map[string]bool{}, map[int32]bool{}, map[string]bool{}
	for i, p := range s.Ports {
		at := index("spec.ports", i)
		if !dnsLabel.MatchString(p.Name) {
			c.fail(at+".name", "invalid-name", fmt.Sprintf("%q is not a port's name", p.Name), `lower-case letters, digits and "-"`)
		}
		c.port(at+".port", p.Port)
		c.oneOf(at+".protocol", p.Protocol, ProtocolHTTP, ProtocolHTTP2, ProtocolGRPC)
		c.addrPort(at+".inbound", p.Inbound)
		c.pathSettings(at+".paths", p.Paths)
		c.ownMTLS(at, &s.Ports[i])
		if names[p.Name] {
			c.fail(at+".name", "duplicate-value", fmt.Sprintf("another port is named %q", p.Name), "give each port a name of its own")
		}
		if numbers[p.Port] {
			c.fail(at+".port", "duplicate-value", fmt.Sprintf("port %d is given twice", p.Port), "")
		}
		if p.Inbound != "" && inbounds[p.Inbound] {
			c.fail(at+".inbound", "duplicate-value", fmt.Sprintf("%s is given twice", p.Inbound), "")
		}
		names[p.Name], numbers[p.Port], inbounds[p.Inbound] = true, true, true
	}
}

func (c *checker) selectors(u *UnixSelectors) {
	const at = "spec.selectors.unix"
	if u == nil || u.UID == nil && u.GID == nil && u.Path == "" && u.SHA256 == "" {
		c.fail("spec.selectors", "required", "no selector: every process would match", "add unix with uid, gid, path or sha256")
		return
	}
	c.unixID(at+".uid", u.UID)
	c.unixID(at+".gid", u.GID)
	if u.SHA256 != "" {
		if raw, err := hex.DecodeString(u.SHA256); err != nil || len(raw) != 32 || strings.ToLower(u.SHA256) != u.SHA256 {
			c.fail(at+".sha256", "invalid-value", "not a SHA-256 in lower-case hex", "what `sha256sum FILE` prints")
		}
	}
	if strings.ContainsRune(u.Path, 0) {
		c.fail(at+".path", "invalid-value", "a path holds no NUL", "")
	}
}

func (c *checker) unixID(path string, id *int64) {
	switch {
	case id == nil:
	case *id < 0 || *id > maxUnixID:
		c.fail(path, "out-of-range", fmt.Sprintf("%d is not an id", *id), fmt.Sprintf("from 0 to %d", int64(maxUnixID)))
	case *id == overflowUID:
		c.fail(path, "unsupported-value", "65534 stands for every id that has no mapping (nobody): it identifies no one",
			"run the workload under an id of its own")
	}
}

func (c *checker) certificate(s *CertificateSpec) {
	switch {
	case (s.Files == nil) == (s.SelfSigned == nil):
		c.fail("spec", "one-of", "exactly one source is needed", "set files or selfSigned")
	case s.Files != nil:
		c.required("spec.files.certificate", s.Files.Certificate)
		c.required("spec.files.key", s.Files.Key)
	default:
		for i, h := range s.SelfSigned.Hosts {
			if _, err := netip.ParseAddr(h); err != nil && !isHost(h) {
				c.fail(index("spec.selfSigned.hosts", i), "invalid-value", fmt.Sprintf("%q is neither a DNS name nor an IP address", h), "")
			}
		}
	}
}

// isHost takes a DNS name in lower case, also with "*." before it.
func isHost(h string) bool {
	h = strings.TrimPrefix(h, "*.")
	return len(h) <= 253 && objectName.MatchString(h)
}
