package v1alpha1

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// accepts are the kinds of credentials that the policy accepts, as rules call them.
func (a *PolicyAuthentication) accepts() []string {
	var out []string
	if a == nil {
		return nil
	}
	if len(a.Issuers) > 0 {
		out = append(out, AuthenticationBearer)
	}
	if len(a.Basic) > 0 {
		out = append(out, AuthenticationBasic)
	}
	if len(a.APIKeys) > 0 {
		out = append(out, AuthenticationAPIKey)
	}
	if len(a.ClientCertificates) > 0 {
		out = append(out, AuthenticationClientCertificate)
	}
	if a.InternalToken {
		out = append(out, AuthenticationInternalToken)
	}
	return out
}

// authentication of a policy. Where nothing could ever be presented, it is refused: a policy that waits for it denies in silence.
func (c *checker) authentication(s *AuthPolicySpec) {
	const at = "spec.authentication"
	a := s.Authentication
	if a == nil {
		return
	}
	if len(a.accepts()) == 0 {
		c.fail(at, "required", "authentication that accepts nothing accepts nobody",
			"name issuers, basic, apiKeys, clientCertificates or internalToken, or remove authentication")
	}
	c.references(at+".issuers", a.Issuers)
	c.references(at+".basic", a.Basic)
	for i := range a.APIKeys {
		c.apiKeys(index(at+".apiKeys", i), &a.APIKeys[i])
		if slices.Contains(a.APIKeys[:i], a.APIKeys[i]) {
			c.fail(index(at+".apiKeys", i), "duplicate-value", "the same keys at the same place are given twice", "")
		}
	}
	c.references(at+".clientCertificates", a.ClientCertificates)
	for i := range s.TargetRefs {
		switch kind := s.TargetRefs[i].Kind; {
		case a.InternalToken && kind != KindWorkload && kind != KindMesh:
			c.fail(at+".internalToken", "unsupported-value", fmt.Sprintf("a %s never gets an internal token: gateways drop what clients send as one", kind),
				"accept it in the policies of Workloads")
		case len(a.ClientCertificates) > 0 && kind == KindWorkload:
			c.fail(at+".clientCertificates", "unsupported-value", "the certificate of a Workload's caller is its SVID: it names a peer, no user",
				"write from, or authentication: [peer] in a rule; client certificates are for Gateways and routes")
		}
	}
}

func (c *checker) references(at string, names []string) {
	for i, n := range names {
		c.name(index(at, i), n)
		if slices.Contains(names[:i], n) {
			c.fail(index(at, i), "duplicate-value", n+" is given twice", "")
		}
	}
}

var (
	// keyHeader is a field name of letters, digits and "-": what proxies and servers between read in one way.
	keyHeader = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*$`)
	// keyQuery are the characters that no URL needs to encode (RFC 3986 §2.3).
	keyQuery = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,64}$`)
)

// takenHeaders have a meaning of their own: a key in them would be read, changed or passed on by others.
var takenHeaders = [...]string{
	"accept", "authorization", "connection", "cookie", "date", "dpop", "expect", "forwarded", "host", "http2-settings", "keep-alive", "origin",
	"range", "referer", "set-cookie", "te", "traceparent", "tracestate", "trailer", "transfer-encoding", "txn-token", "upgrade", "user-agent", "via",
	"x-http-method", "x-http-method-override", "x-method-override", "x-original-url", "x-real-ip", "x-request-id", "x-rewrite-url",
}

// takenPrefixes begin such names.
var takenPrefixes = [...]string{"accept-", "access-control-", "content-", "grpc-", "if-", "proxy-", "sec-", "x-credence-", "x-envoy-", "x-forwarded-"}

func isTaken(header string) bool {
	name := strings.ToLower(header)
	return slices.Contains(takenHeaders[:], name) ||
		slices.ContainsFunc(takenPrefixes[:], func(p string) bool { return strings.HasPrefix(name, p) })
}

func (c *checker) apiKeys(at string, k *PolicyAPIKeys) {
	c.name(at+".credentials", k.Credentials)
	if k.Header == "" && k.Query == "" && !k.Bearer {
		c.fail(at, "required", "the keys are looked for nowhere", "set header, bearer or query")
	}
	switch {
	case k.Header == "":
	case len(k.Header) > 64 || !keyHeader.MatchString(k.Header):
		c.fail(at+".header", "invalid-value", fmt.Sprintf("%q is not the name of a header for keys", k.Header), `letters, digits and "-", for example x-api-key`)
	case isTaken(k.Header):
		hint := "for example x-api-key"
		if strings.EqualFold(k.Header, "authorization") {
			hint = "write bearer: true for Authorization: Bearer KEY"
		}
		c.fail(at+".header", "unsupported-value", fmt.Sprintf("%s has a meaning of its own", k.Header), hint)
	}
	switch {
	case k.Query == "":
	case !keyQuery.MatchString(k.Query):
		c.fail(at+".query", "invalid-value", fmt.Sprintf("%q is not the name of a query parameter for keys", k.Query), `letters, digits, ".", "_", "~" and "-", for example api_key`)
	case k.Query == "access_token":
		c.fail(at+".query", "unsupported-value", "access_token is the name of a bearer token (RFC 6750 2.3), which is refused in a query", "for example api_key")
	}
}

// proofs are the values of a rule's authentication.
var proofs = [...]string{
	AuthenticationAnonymous, AuthenticationPeer, AuthenticationBearer, AuthenticationBasic, AuthenticationAPIKey, AuthenticationClientCertificate,
	AuthenticationInternalToken,
}

// ruleAuthentication of one rule in a policy that accepts these kinds.
func (c *checker) ruleAuthentication(at string, r *PolicyRule, accepts []string) {
	at += ".authentication"
	for i, a := range r.Authentication {
		item := index(at, i)
		switch {
		case !slices.Contains(proofs[:], a):
			c.oneOf(item, a, proofs[:]...)
		case slices.Contains(r.Authentication[:i], a):
			c.fail(item, "duplicate-value", a+" is given twice", "")
		case a != AuthenticationAnonymous && a != AuthenticationPeer && !slices.Contains(accepts, a):
			c.fail(item, "authentication-not-accepted", "the policy accepts no credential of the kind "+a+", so nobody could come with one",
				"add it to spec.authentication")
		}
	}
	if slices.Contains(r.Authentication, AuthenticationAnonymous) && slices.Contains(r.Authentication, AuthenticationPeer) {
		c.fail(at, "one-of", "anonymous asks for no peer, and peer does", "leave one of them out")
	}
	if r.Action == ActionDeny && len(r.Authentication) > 0 {
		c.fail(at, "unsupported-value", "a deny rule matches with and without a user", "remove it")
	}
}
