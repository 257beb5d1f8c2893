package compile

import (
	"cmp"
	"slices"
	"strings"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
)

// useCredentials makes the users that need no token. Credentials that can't be read are not among them: policies that name them can't tell.
func (c *compiler) useCredentials() {
	for _, it := range c.credentials {
		if c.unusable[it.obj.Key] {
			continue
		}
		s := &it.value.Spec
		out := policy.Credentials{Name: it.name}
		if b := s.Basic; b != nil {
			out.Realm = cmp.Or(b.Realm, it.name.Name)
			for i := range b.Users {
				u := &b.Users[i]
				out.Users = append(out.Users, policy.BasicUser{Name: u.Name, Hash: u.Hash, Grants: grantsOf(&u.Grants)})
			}
			if h := b.Htpasswd; h != nil {
				out.Htpasswd = &policy.Htpasswd{File: h.File, Grants: grantsOf(&h.Grants)}
			}
		}
		if k := s.APIKeys; k != nil {
			out.KeyPrefix = k.Prefix
			for i := range k.Keys {
				out.APIKeys = append(out.APIKeys, apiKeyOf(&k.Keys[i]))
			}
		}
		if cc := s.ClientCertificates; cc != nil {
			out.Certificates = &policy.CertificateUsers{
				CAFile: cc.CAFile, Subject: subjectOf(cc.Subject), Allowed: sortedSet(cc.Allowed), Grants: grantsOf(&cc.Grants),
			}
		}
		slices.SortStableFunc(out.Users, func(a, b policy.BasicUser) int { return strings.Compare(a.Name, b.Name) })
		slices.SortStableFunc(out.APIKeys, func(a, b policy.APIKeyEntry) int {
			return cmp.Or(strings.Compare(a.ID, b.ID), strings.Compare(a.SHA256, b.SHA256))
		})
		c.set.Credentials = append(c.set.Credentials, out)
	}
}

func apiKeyOf(k *v1alpha1.APIKey) policy.APIKeyEntry {
	out := policy.APIKeyEntry{ID: k.ID, SHA256: k.SHA256, Subject: k.Subject, Grants: grantsOf(&k.Grants)}
	if k.Expires != nil {
		out.Expires = k.Expires.UTC()
	}
	return out
}

func grantsOf(g *v1alpha1.Grants) policy.Grants {
	return policy.Grants{Scopes: sortedSet(g.Scopes), Roles: sortedSet(g.Roles), Groups: sortedSet(g.Groups)}
}

// subjectOf is the part of a certificate of that name; a word that is none names nobody.
func subjectOf(word string) policy.CertificateSubject {
	switch cmp.Or(word, v1alpha1.SubjectURI) {
	case v1alpha1.SubjectURI:
		return policy.SubjectURI
	case v1alpha1.SubjectDNS:
		return policy.SubjectDNS
	case v1alpha1.SubjectEmail:
		return policy.SubjectEmail
	case v1alpha1.SubjectCommonName:
		return policy.SubjectCommonName
	}
	return 0
}
