package compile

import (
	"slices"
	"time"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
)

// Defaults of TokenIssuer, for objects that no decoder has completed.
const (
	defaultLeeway      = 30 * time.Second
	defaultMaxLifetime = 24 * time.Hour
)

// useCertificates fills Set.Certificates. A certificate that may not be used is left out: references to it dangle.
func (c *compiler) useCertificates() {
	c.set.Certificates = []policy.Certificate{}
	c.certificateNames = make(map[policy.Name]bool)
	for _, it := range c.certificates {
		c.unusable[it.obj.Key] = true
		out := policy.Certificate{Name: it.name}
		switch s := &it.value.Spec; {
		case s.Files != nil:
			out.CertificateFile, out.KeyFile = s.Files.Certificate, s.Files.Key
		case s.SelfSigned == nil:
			c.errorAt(place{it.obj, "spec"}, "certificate-source", it.obj.Key.String()+" has no source", "set spec.files")
			continue
		case !c.set.Mesh.Development:
			c.errorAt(place{it.obj, "spec.selfSigned"}, "development-only",
				"a self-signed certificate is for a development mesh only", "set spec.files, or Mesh spec.development: true on a test machine")
			continue
		default:
			out.SelfSignedHosts = sortedSet(s.SelfSigned.Hosts)
			if len(out.SelfSignedHosts) == 0 {
				out.SelfSignedHosts = []string{"127.0.0.1", "::1", "localhost"}
			}
		}
		c.unusable[it.obj.Key] = false
		c.certificateNames[it.name] = true
		c.set.Certificates = append(c.set.Certificates, out)
	}
}

// useIssuers fills Set.Issuers. An issuer that may not be used is left out: policies that name it cannot tell who the user is.
func (c *compiler) useIssuers() {
	c.set.Issuers = []policy.Issuer{}
	c.issuerURLs = make(map[policy.Name]string)
	for _, it := range c.issuers {
		if it.value.Spec.Keys != nil && it.value.Spec.Keys.Development != nil && !c.set.Mesh.Development {
			c.unusable[it.obj.Key] = true
			c.errorAt(place{it.obj, "spec.keys.development"}, "development-only",
				"keys of the development issuer are for a development mesh only",
				"set spec.keys.url or spec.keys.file, or Mesh spec.development: true on a test machine")
			continue
		}
		c.issuerURLs[it.name] = it.value.Spec.Issuer
		c.set.Issuers = append(c.set.Issuers, issuerValues(it))
	}
}

func issuerValues(it item[v1alpha1.TokenIssuer]) policy.Issuer {
	s := &it.value.Spec
	out := policy.Issuer{
		Name: it.name, Issuers: sortedSet(append([]string{}, s.Issuer)), AudienceFrom: "aud", ClientFrom: append([]string{}, s.ClientFrom...),
		Audiences: sortedSet(s.Audiences), Algorithms: sortedSet(s.Algorithms),
		Leeway: durationOr(s.Leeway, defaultLeeway), ExpLeeway: durationOr(s.ExpLeeway, 0),
		Profile: policy.StrictAccessToken,
	}
	if k := s.Keys; k != nil {
		out.Keys = policy.KeySource{Inline: k.Inline, File: k.File, URL: k.URL, Development: k.Development != nil}
	}
	if s.Profile == v1alpha1.ProfileLegacy {
		out.Profile = policy.LegacyAccessToken
	}
	if len(out.ClientFrom) == 0 {
		out.ClientFrom = []string{"azp", "appid", "cid", "client_id"}
	}
	if len(out.Algorithms) == 0 {
		out.Algorithms = []string{"ES256", "EdDSA", "RS256"}
	}
	if out.Profile == policy.StrictAccessToken {
		out.MaxLifetime = defaultMaxLifetime
	}
	out.MaxLifetime = durationOr(s.MaxLifetime, out.MaxLifetime)
	return out
}

// sortedSet is in, sorted and without repeats, in memory of its own; never nil.
func sortedSet(in []string) []string {
	out := append([]string{}, in...)
	slices.Sort(out)
	return slices.Compact(out)
}
