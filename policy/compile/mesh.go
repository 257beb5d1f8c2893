package compile

import (
	"cmp"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
)

// Defaults of Mesh, for objects that no decoder has completed.
const (
	defaultCATTL     = 24 * time.Hour
	defaultSVIDTTL   = time.Hour
	defaultFirstPort = 20000
	defaultLastPort  = 29999
)

// useMesh finds the one Mesh, or reports why there is none.
func (c *compiler) useMesh() bool {
	switch {
	case len(c.meshes) == 0:
		message := "there is no Mesh: nothing can be compiled"
		for k := range c.missing {
			if k.Group == v1alpha1.Group && k.Kind == v1alpha1.KindMesh {
				message = "the Mesh is invalid and has no last good version: nothing can be compiled"
			}
		}
		c.diags = append(c.diags, manifests.Diagnostic{
			Severity: manifests.Error, Code: "no-mesh", Message: message,
			Hint: "add one object of kind Mesh with spec.trustDomain",
		})
		return false
	case len(c.meshes) > 1:
		for _, m := range c.meshes {
			c.errorAt(place{obj: m.obj}, "several-meshes",
				fmt.Sprintf("there are %d objects of kind Mesh, there must be one", len(c.meshes)), "remove all but one")
		}
		return false
	}
	c.mesh = c.meshes[0]
	td, err := spiffeid.TrustDomainFromString(c.mesh.value.Spec.TrustDomain)
	if err != nil || td.Name() != c.mesh.value.Spec.TrustDomain {
		c.errorAt(place{c.mesh.obj, "spec.trustDomain"}, "trust-domain",
			fmt.Sprintf("%q is not a SPIFFE trust domain", c.mesh.value.Spec.TrustDomain), "use lower-case letters, digits, '.', '-' and '_'")
		return false
	}
	c.td = td
	return true
}

func (c *compiler) meshValues() policy.Mesh {
	spec := &c.mesh.value.Spec
	m := policy.Mesh{TrustDomain: c.td.Name(), Development: spec.Development, CATTL: defaultCATTL, SVIDTTL: defaultSVIDTTL}
	if spec.CA != nil {
		m.CATTL = durationOr(spec.CA.TTL, m.CATTL)
	}
	if spec.SVID != nil {
		m.SVIDTTL = durationOr(spec.SVID.TTL, m.SVIDTTL)
	}
	if t := spec.InternalTokens; t != nil {
		m.InternalTokens = &policy.InternalTokens{
			Issuer: cmp.Or(t.Issuer, "https://credence."+m.TrustDomain), TTL: durationOr(t.TTL, v1alpha1.DefaultInternalTokenTTL),
			Cached: t.Mode == v1alpha1.ModeCached, RotateEvery: durationOr(t.RotateEvery, v1alpha1.DefaultRotateEvery),
		}
	}
	return m
}

// portRange is where listeners are placed that nobody places: first and how many.
func (c *compiler) portRange() (first int64, count uint64) {
	p := c.mesh.value.Spec.Ports
	if p == nil || p.First < 1 || p.Last < p.First || p.Last > 65535 {
		return defaultFirstPort, defaultLastPort - defaultFirstPort + 1
	}
	return int64(p.First), uint64(p.Last-p.First) + 1 //nolint:gosec // p.Last is not below p.First
}

func durationOr(d *metav1.Duration, or time.Duration) time.Duration {
	if d == nil {
		return or
	}
	return d.Duration
}
