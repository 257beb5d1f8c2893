package v1alpha1

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Default values; the types say of which field.
const (
	DefaultCATTL     = 24 * time.Hour
	DefaultSVIDTTL   = time.Hour
	DefaultFirstPort = 20000
	DefaultLastPort  = 29999
	DefaultLeeway    = 30 * time.Second
	DefaultATJWTLife = 24 * time.Hour
	DefaultMaxStale  = 24 * time.Hour
	DefaultCacheFor  = 30 * time.Second

	DefaultInternalTokenTTL = 60 * time.Second
	DefaultRotateEvery      = 24 * time.Hour

	caPerSVID = 6 // the least ratio of the lifetimes of CA and SVID
)

// SetDefaults fills the fields of obj, a pointer to one of the kinds of this package, that are absent and have a default.
// It leaves other types alone. Applying it twice is the same as applying it once.
func SetDefaults(obj any) {
	switch o := obj.(type) {
	case *Mesh:
		defaultMesh(&o.Spec)
	case *Workload:
		defaultWorkload(&o.Spec)
	case *Certificate:
		if s := o.Spec.SelfSigned; s != nil && len(s.Hosts) == 0 {
			s.Hosts = []string{"localhost", "127.0.0.1", "::1"}
		}
	case *TokenIssuer:
		defaultTokenIssuer(&o.Spec)
	case *GatewaySettings:
		defaultGatewaySettings(&o.Spec)
	case *Credentials:
		if cc := o.Spec.ClientCertificates; cc != nil {
			cc.Subject = or(cc.Subject, SubjectURI)
		}
	case *AuthPolicy:
		for i := range o.Spec.Rules {
			r := &o.Spec.Rules[i]
			r.Action = or(r.Action, ActionAllow)
			r.Mode = or(r.Mode, ModeEnforce)
		}
	}
}

func defaultMesh(s *MeshSpec) {
	if s.SVID == nil {
		s.SVID = &MeshSVID{}
	}
	orDuration(&s.SVID.TTL, DefaultSVIDTTL)
	if s.CA == nil {
		s.CA = &MeshCA{}
	}
	orDuration(&s.CA.TTL, max(DefaultCATTL, caPerSVID*min(s.SVID.TTL.Duration, maxSVIDTTL)))
	if s.Ports == nil {
		s.Ports = &MeshPorts{First: DefaultFirstPort, Last: DefaultLastPort}
	}
	if t := s.InternalTokens; t != nil {
		t.Issuer = or(t.Issuer, "https://credence."+s.TrustDomain)
		t.Mode = or(t.Mode, ModePerRequest)
		orDuration(&t.TTL, DefaultInternalTokenTTL)
		orDuration(&t.RotateEvery, DefaultRotateEvery)
	}
}

func defaultWorkload(s *WorkloadSpec) {
	s.Boundary = or(s.Boundary, BoundaryUser)
	for i := range s.Ports {
		p := &s.Ports[i]
		p.MTLS = or(p.MTLS, MTLSSidecar)
		defaultPaths(p.Paths)
		if p.MTLS == MTLSApplication {
			p.Protocol = or(p.Protocol, ProtocolHTTP2) // what its callers speak within mTLS
		}
		p.Protocol = or(p.Protocol, ProtocolHTTP)
		p.Name = or(p.Name, strings.ToLower(p.Protocol))
	}
}

func defaultTokenIssuer(s *TokenIssuerSpec) {
	if in := s.Introspection; in != nil {
		in.Response = or(in.Response, ResponseJSON)
		orDuration(&in.CacheFor, DefaultCacheFor)
	} else {
		s.Profile = or(s.Profile, ProfileATJWT)
	}
	signs := s.Introspection == nil || s.Introspection.Response == ResponseJWT
	if len(s.Algorithms) == 0 && signs {
		s.Algorithms = []string{"RS256", "ES256", "EdDSA"}
	}
	s.AudienceFrom = or(s.AudienceFrom, "aud")
	if len(s.ClientFrom) == 0 {
		s.ClientFrom = []string{"azp", "appid", "cid", "client_id"}
	}
	if s.Keys == nil && signs {
		s.Keys = &TokenKeys{Discovery: &KeyDiscovery{}}
	}
	if s.Keys != nil && (s.Keys.URL != "" || s.Keys.Discovery != nil) {
		s.Keys.UnknownKey = or(s.Keys.UnknownKey, UnknownKeyUnavailable)
		orDuration(&s.Keys.MaxStale, DefaultMaxStale)
	}
	orDuration(&s.Leeway, DefaultLeeway)
	orDuration(&s.ExpLeeway, 0)
	if s.Profile == ProfileATJWT {
		orDuration(&s.MaxLifetime, DefaultATJWTLife)
	}
}

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func orDuration(p **metav1.Duration, def time.Duration) {
	if *p == nil {
		*p = &metav1.Duration{Duration: def}
	}
}
