package compile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
)

// readsUser tells whether a policy with that authentication is to accept any user.
func readsUser(a *v1alpha1.PolicyAuthentication) bool {
	return a != nil && (len(a.Issuers)+len(a.Basic)+len(a.APIKeys)+len(a.ClientCertificates) > 0 || a.InternalToken)
}

// policyCredentials resolves what the policy accepts beside the tokens of issuers.
func (c *compiler) policyCredentials(p *authPolicy, out *policy.Policy) {
	a := p.value.Spec.Authentication
	if a == nil {
		return
	}
	at := place{p.obj, "spec.authentication"}
	use := func(field, name, part string, has func(*v1alpha1.CredentialsSpec) bool) (policy.Name, bool) {
		n := policy.Name{Namespace: p.name.Namespace, Name: name}
		if c.hasCredentials(n, at.at("%s", field), part, has) {
			return n, true
		}
		out.MissingCredentials = append(out.MissingCredentials, n)
		return n, false
	}
	for i, name := range a.Basic {
		if n, ok := use(fmt.Sprintf("basic[%d]", i), name, "basic", func(s *v1alpha1.CredentialsSpec) bool { return s.Basic != nil }); ok {
			out.Basic = append(out.Basic, n)
		}
	}
	for i := range a.APIKeys {
		k := &a.APIKeys[i]
		n, ok := use(fmt.Sprintf("apiKeys[%d].credentials", i), k.Credentials, "apiKeys", func(s *v1alpha1.CredentialsSpec) bool { return s.APIKeys != nil })
		if ok && c.keyPlace(k, at.at("apiKeys[%d]", i)) {
			out.APIKeys = append(out.APIKeys, policy.APIKeyUse{Credentials: n, Header: strings.ToLower(k.Header), Bearer: k.Bearer, Query: k.Query})
		}
	}
	for i, name := range a.ClientCertificates {
		n, ok := use(fmt.Sprintf("clientCertificates[%d]", i), name, "clientCertificates", func(s *v1alpha1.CredentialsSpec) bool { return s.ClientCertificates != nil })
		if ok {
			out.ClientCertificates = append(out.ClientCertificates, n)
		}
	}
	if out.InternalTokens = a.InternalToken; a.InternalToken && c.set.Mesh.InternalTokens == nil {
		c.errorAt(at.at("internalToken"), "internal-tokens-off", "this mesh makes no internal tokens: nobody can come with one",
			"add internalTokens: {} to the spec of the Mesh")
		out.InternalTokens = false
	}
	sortNames(out.Basic)
	sortNames(out.ClientCertificates)
	sortNames(out.MissingCredentials)
	out.Basic, out.ClientCertificates = slices.Compact(out.Basic), slices.Compact(out.ClientCertificates)
	out.MissingCredentials = slices.Compact(out.MissingCredentials)
	slices.SortFunc(out.APIKeys, compareKeyUses)
	out.APIKeys = slices.Compact(out.APIKeys)
}

func compareKeyUses(a, b policy.APIKeyUse) int {
	return cmp.Or(strings.Compare(a.Credentials.Namespace, b.Credentials.Namespace), strings.Compare(a.Credentials.Name, b.Credentials.Name),
		strings.Compare(a.Header, b.Header), strings.Compare(a.Query, b.Query), compareBool(a.Bearer, b.Bearer))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// hasCredentials tells whether the Credentials n are there, may be used, and have that part.
func (c *compiler) hasCredentials(n policy.Name, at place, part string, has func(*v1alpha1.CredentialsSpec) bool) bool {
	key := ourKey(v1alpha1.KindCredentials, n)
	i := slices.IndexFunc(c.credentials, func(it item[v1alpha1.Credentials]) bool { return it.name == n })
	switch {
	case i < 0 || c.unusable[key]:
		c.errorAt(at, "credentials-missing", c.absent(key)+": the routes of this policy are denied", "name Credentials of namespace "+n.Namespace)
	case !has(&c.credentials[i].value.Spec):
		c.errorAt(at, "credentials-missing", key.String()+" has no "+part+": the routes of this policy are denied", "add spec."+part+" to it, or name another")
	default:
		return true
	}
	return false
}

// keyPlace tells whether keys may be looked for there. Objects that were decoded have been checked; a place that is none must not become
// an entry without one.
func (c *compiler) keyPlace(k *v1alpha1.PolicyAPIKeys, at place) bool {
	if k.Header != "" && !policy.ChangeableHeader(strings.ToLower(k.Header)) {
		c.errorAt(at.at("header"), "header-reserved", fmt.Sprintf("%s may hold no API key: nobody's key is accepted there", k.Header), "for example x-api-key")
		return false
	}
	return k.Header != "" || k.Query != "" || k.Bearer
}

// ruleAuthentication compiles how an allow rule's callers must have proved who they are. False: in no way that is known, so nobody matches.
func (c *compiler) ruleAuthentication(out *policy.Rule, in *v1alpha1.PolicyRule, users bool, at place) bool {
	good := true
	var anonymous, peer bool
	for i, word := range in.Authentication {
		switch word {
		case v1alpha1.AuthenticationAnonymous:
			anonymous = true
		case v1alpha1.AuthenticationPeer:
			peer = true
		default:
			kind := kindOf(word)
			if kind == policy.NoCredential {
				c.errorAt(at.at("authentication[%d]", i), "authentication", fmt.Sprintf("%q is no kind of credential: the rule holds for nobody", word), "")
				good = false
				continue
			}
			out.Credentials = append(out.Credentials, kind)
		}
	}
	slices.Sort(out.Credentials)
	out.Credentials = slices.Compact(out.Credentials)
	out.NeedsPeer = peer && !anonymous
	out.NeedsUser = !anonymous && !peer && (users || len(out.Credentials) > 0)
	return good
}

// kindOf is the kind of credential that a rule calls by that word.
func kindOf(word string) policy.CredentialKind {
	switch word {
	case v1alpha1.AuthenticationBearer:
		return policy.BearerToken
	case v1alpha1.AuthenticationBasic:
		return policy.Basic
	case v1alpha1.AuthenticationAPIKey:
		return policy.APIKey
	case v1alpha1.AuthenticationClientCertificate:
		return policy.ClientCertificate
	case v1alpha1.AuthenticationInternalToken:
		return policy.InternalToken
	}
	return policy.NoCredential
}
