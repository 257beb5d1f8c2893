package compile

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
)

// Defaults of TokenIssuer, for objects that no decoder has completed.
const (
	defaultLeeway      = 30 * time.Second
	defaultMaxLifetime = 24 * time.Hour
	defaultMaxStale    = 24 * time.Hour
	defaultCacheFor    = 30 * time.Second
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
	c.issuerURLs = make(map[policy.Name][]string)
	c.opaque = make(map[policy.Name]bool)
	for _, it := range c.issuers {
		if it.value.Spec.Keys != nil && it.value.Spec.Keys.Development != nil && !c.set.Mesh.Development {
			c.unusable[it.obj.Key] = true
			c.errorAt(place{it.obj, "spec.keys.development"}, "development-only",
				"keys of the development issuer are for a development mesh only",
				"set spec.keys.url or spec.keys.file, or Mesh spec.development: true on a test machine")
			continue
		}
		out := issuerValues(it)
		readable := (out.Roles != nil) == (it.value.Spec.Roles != nil) && (out.Groups != nil) == (it.value.Spec.Groups != nil)
		if len(out.Issuers) == 0 && out.Introspection == nil || len(out.ServiceMarkers) != len(it.value.Spec.ServiceMarkers) || !readable {
			c.unusable[it.obj.Key] = true
			c.errorAt(place{it.obj, "spec"}, "issuer", it.obj.Key.String()+" has no iss, or a service marker that can't be read", "see what is said of the object itself")
			continue
		}
		c.issuerURLs[it.name] = out.Issuers
		if out.Introspection != nil {
			// Its tokens are told from JWTs of the same iss by their form.
			c.issuerURLs[it.name] = nil
			c.opaque[it.name] = true
		}
		c.set.Issuers = append(c.set.Issuers, out)
	}
}

func issuerValues(it item[v1alpha1.TokenIssuer]) policy.Issuer {
	s := &it.value.Spec
	out := policy.Issuer{
		Name: it.name, Audiences: sortedSet(s.Audiences), AudienceFrom: cmp.Or(s.AudienceFrom, "aud"), Algorithms: sortedSet(s.Algorithms),
		Leeway: durationOr(s.Leeway, defaultLeeway), ExpLeeway: durationOr(s.ExpLeeway, 0),
		Profile: profileOf(s.Profile), ClientFrom: append([]string{}, s.ClientFrom...), Keys: keySource(s),
	}
	out.Issuers, out.Tenant = issuersOf(s)
	out.Roles, out.Groups = listingOf(s.Roles), listingOf(s.Groups)
	out.Introspection = introspectionOf(s)
	if len(out.ClientFrom) == 0 {
		out.ClientFrom = []string{"azp", "appid", "cid", "client_id"}
	}
	if out.Introspection != nil && !out.Introspection.JWT {
		out.Algorithms, out.Keys = []string{}, policy.KeySource{}
	} else if len(out.Algorithms) == 0 {
		out.Algorithms = []string{"ES256", "EdDSA", "RS256"}
	}
	if out.Introspection != nil {
		out.Profile = 0
	}
	if out.Profile == policy.StrictAccessToken {
		out.MaxLifetime = defaultMaxLifetime
	}
	out.MaxLifetime = durationOr(s.MaxLifetime, out.MaxLifetime)
	for i := range s.ServiceMarkers {
		if mark, ok := claimOf(&s.ServiceMarkers[i]); ok {
			out.ServiceMarkers = append(out.ServiceMarkers, mark)
		}
	}
	return out
}

func introspectionOf(s *v1alpha1.TokenIssuerSpec) *policy.Introspection {
	in := s.Introspection
	if in == nil {
		return nil
	}
	return &policy.Introspection{
		URL: in.URL, ClientID: in.ClientID, SecretFile: in.ClientSecretFile, BearerTokenFile: in.BearerTokenFile, CAFile: in.CAFile,
		Insecure: in.InsecureTransport, CacheFor: durationOr(in.CacheFor, defaultCacheFor), JWT: in.Response == v1alpha1.ResponseJWT,
	}
}

func profileOf(name string) policy.Profile {
	switch name {
	case v1alpha1.ProfileLegacy:
		return policy.LegacyAccessToken
	case v1alpha1.ProfileIDToken:
		return policy.IDToken
	}
	return policy.StrictAccessToken
}

// issuersOf are the exact iss, sorted; with a template the claim that must say the same, value by value.
func issuersOf(s *v1alpha1.TokenIssuerSpec) ([]string, *policy.Tenant) {
	switch {
	case s.Issuer != "":
		return []string{s.Issuer}, nil
	case len(s.Issuers) > 0:
		return sortedSet(s.Issuers), nil
	case s.IssuerTemplate != nil:
		return expand(s.IssuerTemplate)
	case s.Keys != nil && s.Keys.Discovery != nil:
		if iss, ok := v1alpha1.IssuerOf(s.Keys.Discovery.URL); ok {
			return []string{iss}, nil
		}
	}
	return []string{}, nil
}

func expand(t *v1alpha1.IssuerTemplate) ([]string, *policy.Tenant) {
	before, variable, after, ok := t.Split()
	if !ok {
		return []string{}, nil
	}
	byIssuer := make(map[string]string, len(t.Values))
	for _, v := range t.Values {
		byIssuer[before+v+after] = v
	}
	issuers, tenant := slices.Sorted(maps.Keys(byIssuer)), &policy.Tenant{Path: append([]string{}, t.Claim...)}
	if len(tenant.Path) == 0 {
		tenant.Path = []string{variable}
	}
	for _, iss := range issuers {
		tenant.Values = append(tenant.Values, byIssuer[iss])
	}
	return issuers, tenant
}

func keySource(s *v1alpha1.TokenIssuerSpec) policy.KeySource {
	k := s.Keys
	if k == nil {
		k = &v1alpha1.TokenKeys{Discovery: &v1alpha1.KeyDiscovery{}}
	}
	out := policy.KeySource{Inline: k.Inline, File: k.File, URL: k.URL, Development: k.Development != nil}
	if k.URL == "" && k.Discovery == nil {
		return out
	}
	out.CAFile, out.BearerTokenFile, out.Insecure = k.CAFile, k.BearerTokenFile, k.InsecureTransport
	out.MaxStale = durationOr(k.MaxStale, defaultMaxStale)
	if k.UnknownKey == v1alpha1.UnknownKeyUnauthorized {
		out.UnknownKey = policy.UnknownKeyUnauthorized
	}
	if d := k.Discovery; d != nil {
		out.Discovery = d.URL
		switch iss, ok := v1alpha1.IssuerOf(d.URL); {
		case d.URL == "" && s.Issuer != "":
			out.Discovery, out.DiscoveryIssuer = v1alpha1.DiscoveryURL(s.Issuer), s.Issuer
		case s.Issuer == "" && len(s.Issuers) == 0 && s.IssuerTemplate == nil && ok:
			out.DiscoveryIssuer = iss
		}
	}
	return out
}

// sortedSet is in, sorted and without repeats, in memory of its own; never nil.
func sortedSet(in []string) []string {
	out := append([]string{}, in...)
	slices.Sort(out)
	return slices.Compact(out)
}
