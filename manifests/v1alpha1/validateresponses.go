package v1alpha1

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Bounds of what a policy may put into answers: Envoy takes 60 KiB of headers, and a body of an answer is no place for a web site.
const (
	maxOutputs     = 16
	maxHeaders     = 16
	maxHeaderValue = 1024
	maxBody        = 4096
	maxRealm       = 128
	maxResource    = 512
	maxScopes      = 64
)

// Values of ClaimOutput.Field.
const (
	FieldSubject    = "subject"
	FieldIssuer     = "issuer"
	FieldClient     = "client"
	FieldScopes     = "scopes"
	FieldRoles      = "roles"
	FieldGroups     = "groups"
	FieldCredential = "credential"
)

// Segments is the path of the claim, from Claim or Pointer; empty where Field is meant.
func (o *ClaimOutput) Segments() ([]string, error) {
	return (&ClaimRequirement{Path: o.Claim, Pointer: o.Pointer}).Segments()
}

var (
	// outputHeader has no "_": servers take it for "-".
	outputHeader = regexp.MustCompile(`^[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*$`)
	// plainName is written the same with and without percent-encoding.
	plainName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9._-]{0,63}$`)
	// headerText is what a header may hold (RFC 9110 §5.5), in ASCII.
	headerText  = regexp.MustCompile(`^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$`)
	quotedText  = regexp.MustCompile(`^[\x20\x21\x23-\x5b\x5d-\x7e]+$`)
	mediaType   = regexp.MustCompile(`^[a-z]+/[a-z0-9.+-]+(; *charset=[uU][tT][fF]-8)?$`)
	placeholder = regexp.MustCompile(`\{[a-zA-Z_]+\}`)
)

// ourAnswers are headers that Credence or Envoy writes into a refusal, and those that mean more than text.
var ourAnswers = []string{
	"cache-control", "content-type", "content-encoding", "content-location", "date", "dpop-nonce", "location", "proxy-authenticate", "refresh",
	"server", "set-cookie", "strict-transport-security", "vary", "www-authenticate",
}

func (c *checker) upstream(u *PolicyUpstream) {
	const at = "spec.upstream"
	if u == nil {
		return
	}
	if u.Credential != "" {
		c.oneOf(at+".credential", u.Credential, CredentialRemove, CredentialForward)
	}
	c.outputs(at+".headers", u.Headers, outputHeader, "letters, digits and \"-\"")
	c.outputs(at+".queryParameters", u.QueryParameters, plainName, "at most 64 letters, digits, \".\", \"_\" and \"-\"")
	c.outputs(at+".metadata", u.Metadata, plainName, "at most 64 letters, digits, \".\", \"_\" and \"-\"")
	for i, m := range u.Metadata {
		if slices.Contains([]string{"decision", "subject", "client", "principal", "reason"}, m.Name) {
			c.fail(index(at+".metadata", i)+".name", "reserved-name", fmt.Sprintf("%q is a member that is there already", m.Name), "choose another name")
		}
	}
	if t := u.InternalToken; t != nil {
		c.scopes(at+".internalToken.scopes", t.Scopes)
		for i, p := range t.Claims {
			c.pointer(index(at+".internalToken.claims", i), &ClaimRequirement{Pointer: p})
			c.required(index(at+".internalToken.claims", i), p)
		}
	}
}

func (c *checker) outputs(at string, list []ClaimOutput, name *regexp.Regexp, hint string) {
	if len(list) > maxOutputs {
		c.fail(at, "out-of-range", fmt.Sprintf("%d values are more than %d", len(list), maxOutputs), "")
	}
	seen := map[string]bool{}
	for i := range list {
		o, where := &list[i], index(at, i)
		folded := strings.ToLower(o.Name)
		switch {
		case !c.required(where+".name", o.Name):
		case len(o.Name) > 64 || !name.MatchString(o.Name):
			c.fail(where+".name", "invalid-name", fmt.Sprintf("%q is no name that can be set here", o.Name), hint)
		case seen[folded]:
			c.fail(where+".name", "duplicate-value", fmt.Sprintf("%q is there twice", o.Name), "keep one of them")
		}
		seen[folded] = true
		n := 0
		for _, is := range []bool{len(o.Claim) > 0, o.Pointer != "", o.Field != ""} {
			if is {
				n++
			}
		}
		switch {
		case n != 1:
			c.fail(where, "one-of", "a value comes from exactly one place", "set one of claim, pointer, field")
		case o.Field != "":
			c.oneOf(where+".field", o.Field, FieldSubject, FieldIssuer, FieldClient, FieldScopes, FieldRoles, FieldGroups, FieldCredential)
		case o.Pointer != "":
			c.pointer(where+".pointer", &ClaimRequirement{Pointer: o.Pointer})
		}
		for j, s := range o.Claim {
			c.required(index(where+".claim", j), s)
		}
	}
}

func (c *checker) responses(s *AuthPolicySpec) {
	const at = "spec.responses"
	r := s.Responses
	if r == nil {
		return
	}
	if r.Realm != "" && (len(r.Realm) > maxRealm || !quotedText.MatchString(r.Realm)) {
		c.fail(at+".realm", "invalid-value", fmt.Sprintf("%q is no realm", r.Realm), fmt.Sprintf("at most %d printable ASCII characters, without quotes and backslashes", maxRealm))
	}
	c.response(at+".unauthenticated", r.Unauthenticated)
	c.response(at+".forbidden", r.Forbidden)
	c.response(at+".unavailable", r.Unavailable)
	if r.Resource == nil {
		return
	}
	c.resource(at+".resource", r.Resource)
	if s.Authentication == nil || len(s.Authentication.Issuers) == 0 {
		c.fail(at+".resource", "require-without-issuers", "metadata tells which issuers' tokens are accepted, and this policy accepts none", "add spec.authentication.issuers")
	}
	for i := range s.TargetRefs {
		if k := s.TargetRefs[i].Kind; k == KindMesh || k == KindWorkload {
			c.fail(at+".resource", "unsupported-value", "only gateways serve metadata, and a policy on a "+k+" is in force elsewhere too", "put it into a policy on a Gateway, HTTPRoute or GRPCRoute")
			break
		}
	}
}

func (c *checker) response(at string, r *PolicyResponse) {
	if r == nil {
		return
	}
	if r.Status == nil && len(r.Headers) == 0 && r.Body == "" && r.ContentType == "" {
		c.fail(at, "empty-value", "nothing is changed", "remove it, or set status, headers or body")
	}
	if r.Status != nil && (*r.Status < 400 || *r.Status > 599) {
		c.fail(at+".status", "out-of-range", fmt.Sprintf("%d is not the status of a refusal", *r.Status), "from 400 to 599")
	}
	c.responseHeaders(at+".headers", r.Headers)
	switch {
	case (r.Body == "") != (r.ContentType == ""):
		c.fail(at, "required", "contentType and body go together", "set both, or none of them")
	case r.Body == "":
		return
	case !mediaType.MatchString(r.ContentType):
		c.fail(at+".contentType", "invalid-value", fmt.Sprintf("%q is not a media type that can be set", r.ContentType), "for example application/json, or text/html; charset=utf-8")
	case len(r.Body) > maxBody:
		c.fail(at+".body", "out-of-range", fmt.Sprintf("%d bytes are more than %d", len(r.Body), maxBody), "link to a page")
	}
	for _, p := range placeholder.FindAllString(r.Body, -1) {
		if p != "{decision}" && p != "{reason}" && p != "{message}" {
			c.warn(at+".body", "unknown-placeholder", p+" is not replaced", "one of: {decision}, {reason}, {message}")
		}
	}
}

func (c *checker) responseHeaders(at string, list []ResponseHeader) {
	if len(list) > maxHeaders {
		c.fail(at, "out-of-range", fmt.Sprintf("%d headers are more than %d", len(list), maxHeaders), "")
	}
	seen := map[string]bool{}
	for i, h := range list {
		where, name := index(at, i), strings.ToLower(h.Name)
		switch {
		case !c.required(where+".name", h.Name):
		case len(name) > 64 || !methodToken.MatchString(name):
			c.fail(where+".name", "invalid-name", fmt.Sprintf("%q is no name of a header", h.Name), "")
		case slices.Contains(ourAnswers, name) || strings.HasPrefix(name, "access-control-") || strings.HasPrefix(name, "grpc-") || strings.HasPrefix(name, "x-envoy-"):
			c.fail(where+".name", "header-reserved", h.Name+" of a refusal is not for a policy to set", "")
		case seen[name]:
			c.fail(where+".name", "duplicate-value", fmt.Sprintf("%q is there twice", h.Name), "keep one of them")
		}
		seen[name] = true
		if c.required(where+".value", h.Value) && (len(h.Value) > maxHeaderValue || !headerText.MatchString(h.Value)) {
			c.fail(where+".value", "invalid-value", fmt.Sprintf("%q is no value of a header", h.Value), fmt.Sprintf("at most %d printable ASCII characters, without blanks at the ends", maxHeaderValue))
		}
	}
}

// resourcePath has no segment that a proxy would change.
var resourcePath = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?$`)

func (c *checker) resource(at string, r *ProtectedResource) {
	where := at + ".identifier"
	u, err := url.Parse(r.Identifier) //nolint:forbidigo // an operator's URL, no request target
	switch {
	case !c.required(where, r.Identifier):
	case err != nil || u.Scheme != "https" || u.User != nil || strings.ContainsAny(r.Identifier, "?#") || len(r.Identifier) > maxResource:
		c.fail(where, "invalid-url", fmt.Sprintf("%q is not the identifier of a resource (RFC 9728 1.2)", r.Identifier), "an https URL without query and fragment")
	case strings.HasPrefix(u.Host, "*") || !isHost(u.Hostname()):
		c.fail(where, "invalid-url", fmt.Sprintf("%q has no host that requests could be for", r.Identifier), "one exact name, in lower case")
	case u.RawPath != "" || !resourcePath.MatchString(u.Path):
		c.fail(where, "invalid-url", fmt.Sprintf("the path of %q is not plain", r.Identifier), `segments of letters, digits, ".", "_", "~" and "-"`)
	}
	if len(r.Name) > maxRealm {
		c.fail(at+".name", "out-of-range", fmt.Sprintf("%d bytes are more than %d", len(r.Name), maxRealm), "")
	}
	if len(r.Scopes) > maxScopes {
		c.fail(at+".scopes", "out-of-range", fmt.Sprintf("%d scopes are more than %d", len(r.Scopes), maxScopes), "")
	}
	c.scopes(at+".scopes", r.Scopes)
}
