package extauthz

import (
	"slices"
	"strings"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/credence-mesh/credence/extauthz/txntoken"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// Why the credential of a request cannot be told. All are answered with 400 invalid_request (RFC 6750 §3.1).
const (
	reasonCredentials = "credentials_ambiguous"
	reasonCredential  = "credential_malformed" //nolint:gosec // a reason, no credential
)

const authorization = "authorization"

// Schemes of Authorization, as presented.scheme has them.
const (
	schemeBearer = "bearer"
	schemeDPoP   = "dpop"
	schemeBasic  = "basic"
)

// presented says where the one credential of a request is, for whoever removes it. It holds nothing of the credential. The zero value: none.
type presented struct {
	kind policy.CredentialKind
	// header that holds it, in lower case; scheme with authorization, one of the schemes above.
	header, scheme string
	// query is the name of the parameter that holds it, spelled as in the request.
	query string
	// stray: Authorization, which the route reads, is of a scheme that it does not. Nobody has verified that.
	stray bool
}

// offered is the credential on its way to its verifier. It is kept nowhere.
type offered struct {
	presented
	// raw is what the verifier takes; it must be in no log.
	raw string
	// accepted are the objects that it may be verified by.
	accepted []policy.Name
	// certified: the connection has a client certificate besides, which the route would take for a credential. The token must be bound to it.
	certified bool
}

// collector takes the one credential out of a request.
type collector struct {
	http    *authv3.AttributeContext_HttpRequest
	query   string
	accepts *decide.Accepts
	// keys tells API keys from tokens.
	keys KeyVerifier
	offered
	stray  bool
	reason string
}

// collect takes the one credential among those that the route reads; kind NoCredential: none is presented. Two are refused, also two of
// the same, and also where only one of them is wanted by the rule that would match: nobody can tell which one the client meant. certificate is that of
// a gateway's client, and internal tells whether internal tokens are read.
func (k *collector) collect(certificate string, internal bool) (offered, string) {
	k.authorization()
	for i := range k.accepts.HeaderKeys {
		k.headerKey(&k.accepts.HeaderKeys[i])
	}
	for i := range k.accepts.QueryKeys {
		k.queryKey(&k.accepts.QueryKeys[i])
	}
	if internal {
		k.internal()
	}
	if certificate != "" && len(k.accepts.Certificates) > 0 {
		k.certificate(certificate)
	}
	// RFC 6750 §2.3: a token in the query is not supported, so it is as if there were none, but not beside another credential.
	if k.kind != policy.NoCredential && (len(k.accepts.Issuers) > 0 || k.kind == policy.BearerToken) && hasParameter(k.query, "access_token") {
		k.refuse(reasonCredentials)
	}
	if k.reason != "" {
		return offered{}, k.reason
	}
	k.offered.stray = k.stray
	return k.offered, ""
}

func (k *collector) refuse(reason string) {
	if k.reason == "" {
		k.reason = reason
	}
}

func (k *collector) add(o offered) {
	if k.kind != policy.NoCredential {
		k.refuse(reasonCredentials)
		return
	}
	k.offered = o
}

// authorization reads the header of that name. One with a comma is two headers that Envoy has joined, or could be taken for them: refused
// where the route reads it, and elsewhere for the schemes that have no comma of their own. Schemes that the route does not read (AWS SigV4,
// Digest) are no credentials to it.
func (k *collector) authorization() {
	values := headerValues(k.http, authorization)
	switch {
	case len(values) == 0:
		return
	case len(values) > 1:
		k.refuse(reasonCredentials)
		return
	}
	value := strings.Trim(values[0], " \t")
	word, rest := cutScheme(value)
	scheme := schemeOf(word)
	if strings.IndexByte(value, ',') >= 0 && (k.accepts.Authorization() || scheme != "") {
		k.refuse(reasonCredentials)
		return
	}
	// Readers that take a tab, or some blank of another alphabet, for the end of the scheme would find a token in what is none here.
	if k.accepts.Authorization() && (!isToken(word) && looksLikeScheme(word) || strings.HasPrefix(rest, "\t")) {
		k.refuse(reasonCredential)
		return
	}
	raw := strings.TrimLeft(rest, " ")
	o := offered{presented: presented{header: authorization, scheme: scheme}, raw: raw}
	if o.kind, o.accepted = k.kindOf(scheme, raw); o.kind == policy.NoCredential {
		k.stray = value != "" && k.accepts.Authorization()
		return
	}
	if raw == "" || strings.IndexByte(raw, ' ') >= 0 || strings.IndexByte(raw, '\t') >= 0 {
		k.refuse(reasonCredential)
		return
	}
	k.add(o)
}

// cutScheme cuts credentials behind the scheme (RFC 9110 §11.4); rest begins with the blank.
func cutScheme(value string) (scheme, rest string) {
	if i := strings.IndexAny(value, " \t"); i >= 0 {
		return value[:i], value[i:]
	}
	return value, ""
}

// isToken tells whether s is a token (RFC 9110 §5.6.2), as a scheme must be.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if ('a' > c || c > 'z') && ('A' > c || c > 'Z') && ('0' > c || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// looksLikeScheme tells whether somebody could find one of our schemes in word.
func looksLikeScheme(word string) bool {
	word = strings.ToLower(word)
	return strings.Contains(word, schemeBearer) || strings.Contains(word, schemeDPoP) || strings.Contains(word, schemeBasic)
}

func schemeOf(word string) string {
	for _, s := range [...]string{schemeBearer, schemeDPoP, schemeBasic} {
		if strings.EqualFold(word, s) {
			return s
		}
	}
	return ""
}

// kindOf says what a value of Authorization is to the route. It is an API key where the Credentials know it, or know its form, by whatever
// scheme it comes: it is shown to no authorization server.
func (k *collector) kindOf(scheme, raw string) (policy.CredentialKind, []policy.Name) {
	a := k.accepts
	key := k.keys != nil && len(a.Keys) > 0 && (scheme == schemeBearer || scheme == schemeDPoP) && k.keys.Knows(raw, a.Keys)
	switch {
	case key && len(a.BearerKeys) > 0:
		return policy.APIKey, a.BearerKeys
	case key:
		k.refuse(reasonCredential) // its place is another
	case scheme == schemeBasic && len(a.Basic) > 0:
		return policy.Basic, a.Basic
	case scheme == schemeDPoP && len(a.Issuers) > 0:
		return policy.BearerToken, a.Issuers
	case scheme == schemeBearer && len(a.BearerKeys) > 0 && (len(a.Issuers) == 0 || k.keys == nil):
		return policy.APIKey, a.BearerKeys
	case scheme == schemeBearer && len(a.Issuers) > 0:
		return policy.BearerToken, a.Issuers
	}
	return policy.NoCredential, nil
}

// headerKey reads a header that holds an API key and nothing else.
func (k *collector) headerKey(p *decide.KeyPlace) {
	if o, ok := k.alone(p.Name); ok {
		o.kind, o.accepted = policy.APIKey, p.Credentials
		k.add(o)
	}
}

// internal reads the internal token.
func (k *collector) internal() {
	if o, ok := k.alone(txntoken.Header); ok {
		o.kind = policy.InternalToken
		k.add(o)
	}
}

// alone is the one value of a header that holds a credential and nothing else.
func (k *collector) alone(name string) (offered, bool) {
	values := headerValues(k.http, name)
	switch {
	case len(values) == 0:
		return offered{}, false
	case len(values) > 1 || strings.IndexByte(values[0], ',') >= 0:
		k.refuse(reasonCredentials)
		return offered{}, false
	}
	raw := strings.Trim(values[0], " \t")
	if raw == "" || strings.IndexByte(raw, ' ') >= 0 || strings.IndexByte(raw, '\t') >= 0 {
		k.refuse(reasonCredential)
		return offered{}, false
	}
	return offered{presented: presented{header: name}, raw: raw}, true
}

// queryKey reads a query parameter that holds an API key. Its name must be spelled plainly: what removes it before the upstream looks for
// those bytes.
func (k *collector) queryKey(p *decide.KeyPlace) {
	for query := k.query; query != ""; {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, value, _ := strings.Cut(pair, "=")
		if name != p.Name {
			if isParameter(name, p.Name) {
				k.refuse(reasonCredential)
			}
			continue
		}
		raw, reason := unescape(value, true)
		if raw == "" || reason != "" {
			k.refuse(reasonCredential)
			continue
		}
		k.add(offered{presented: presented{kind: policy.APIKey, query: name}, raw: raw, accepted: p.Credentials})
	}
}

// certificate of the connection. Beside a token it is no second credential where the token is bound to it (RFC 8705 §3), which shows once
// the token has been verified.
func (k *collector) certificate(pem string) {
	if k.kind == policy.BearerToken {
		k.certified = true
		return
	}
	k.add(offered{presented: presented{kind: policy.ClientCertificate}, raw: pem, accepted: k.accepts.Certificates})
}

// headerValues are all values of a header by its lower-case name, wherever the proxy put them. Envoy joins duplicates to one value; a
// proxy that does not must not be a way around.
func headerValues(http *authv3.AttributeContext_HttpRequest, header string) []string {
	var values []string
	for _, h := range http.GetHeaderMap().GetHeaders() {
		if !strings.EqualFold(h.GetKey(), header) {
			continue
		}
		raw, value := h.GetRawValue(), h.GetValue()
		if len(raw) > 0 {
			values = append(values, string(raw))
		}
		if value != "" && value != string(raw) || len(raw) == 0 {
			values = append(values, value)
		}
	}
	for name, value := range http.GetHeaders() {
		if strings.EqualFold(name, header) && !slices.Contains(values, value) {
			values = append(values, value)
		}
	}
	return values
}

// hasParameter finds a query parameter by name; names compare after decoding.
func hasParameter(query, name string) bool {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		key, _, _ := strings.Cut(pair, "=")
		if isParameter(key, name) {
			return true
		}
	}
	return false
}

// isParameter compares the name of a query parameter, as it was sent, with a plain one.
func isParameter(sent, name string) bool {
	if sent == name {
		return true
	}
	if strings.IndexByte(sent, '%') < 0 {
		return false
	}
	decoded, reason := unescape(sent, false)
	return reason == "" && decoded == name
}
