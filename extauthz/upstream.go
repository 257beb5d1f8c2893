package extauthz

import (
	"math"
	"slices"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/credence-mesh/credence/extauthz/txntoken"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

const (
	// reasonClaimSize: what the service is to receive of the user does not fit into a request.
	reasonClaimSize = "claim_too_long"
	// reasonQuery: a parameter that is the policy's to set came in too many spellings, or in one that cannot be named.
	reasonQuery = "query_ambiguous"
)

// Limits of what is put into a request, in bytes once encoded, of one value and of all: proxies refuse requests with more headers.
const (
	maxClaim  = 4096
	maxClaims = 16384
)

// maxSpellings is how many parameters of a client are taken out of one request at most.
const maxSpellings = 256

// upstream puts into the answer what the service receives beside the identity headers: no external credential, the internal token, and the
// claims that policies name, of which no client's copy stays. Not nil: the request cannot pass that way.
func upstream(c *check, room *allowedRoom) *outcome {
	up := c.route.Upstream()
	if header := c.presented.header; header != "" && removed(c, up) {
		room.removed = append(room.removed, header)
		if c.presented.scheme == schemeDPoP {
			room.removed = append(room.removed, dpopHeader)
		}
	}
	if c.presented.stray && (up == nil || !up.Forward && !up.Relay) {
		room.removed = append(room.removed, authorization)
	}
	switch {
	case c.internal != "":
		room.headers.add(txntoken.Header, c.internal)
	case c.mints && c.presented.kind != policy.InternalToken:
		// One that nobody has verified says nothing.
		room.removed = append(room.removed, txntoken.Header)
	}
	if name := c.presented.query; name != "" && removed(c, up) {
		room.ok.QueryParametersToRemove = append(room.ok.QueryParametersToRemove, name)
	}
	c.removeOthersClaims(up, room)
	if up == nil {
		return nil
	}
	size := 0
	for i := range up.Headers {
		o := &up.Headers[i]
		value := outputText(c.user, o, encodeClaim)
		size += len(value)
		if len(value) > maxClaim || size > maxClaims {
			return &outcome{kind: forbidden, reason: reasonClaimSize}
		}
		room.set(o.Name, value)
	}
	for i := range up.Query {
		o := &up.Query[i]
		value := outputText(c.user, o, encodeQuery)
		size += len(value)
		if len(value) > maxClaim || size > maxClaims {
			return &outcome{kind: forbidden, reason: reasonClaimSize}
		}
		if !setQuery(&room.ok, queryOf(c.http.GetPath()), o.Name, value) {
			return &outcome{kind: badRequest, reason: reasonQuery}
		}
	}
	for i := range up.Metadata {
		o := &up.Metadata[i]
		if v := metadataValue(output(c.user, o), 0); v != nil {
			room.metadata.fields.Fields[o.Name] = v
		}
	}
	return nil
}

// removeOthersClaims removes what a client has sent under the name of a header that another route of the gateway has for a claim: the service
// behind both cannot tell whose word it is.
func (c *check) removeOthersClaims(up *policy.Upstream, room *allowedRoom) {
	for _, name := range c.claimHeaders {
		own := up != nil && slices.ContainsFunc(up.Headers, func(o policy.ClaimOutput) bool { return o.Name == name })
		if !own && name != c.presented.header && len(headerValues(c.http, name)) > 0 {
			room.removed = append(room.removed, name)
		}
	}
}

// removed tells whether the service must not see the credential that was presented. An internal token is the mesh's own; what is in
// Authorization stays where the workload's own proxy reads it, which removes it then.
func removed(c *check, up *policy.Upstream) bool {
	switch c.presented.kind {
	case policy.NoCredential, policy.InternalToken, policy.PeerIdentity:
		return false
	case policy.BearerToken:
		return up == nil || !up.Forward && !up.Relay
	case policy.Basic, policy.APIKey, policy.ClientCertificate:
	}
	return up == nil || !up.Forward
}

func queryOf(path string) string {
	_, query, _ := strings.Cut(path, "?")
	return query
}

// setQuery sets one parameter, or removes it without a value, and removes every other spelling of its name: servers decode names, and some
// take any odd character in one for "_". False: there are too many of them, or one that cannot be named.
func setQuery(ok *authv3.OkHttpResponse, query, name, value string) bool {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		sent, _, _ := strings.Cut(pair, "=")
		if hides(pair, name) {
			return false
		}
		if sent != name && resembles(sent, name) || sent == name && value == "" {
			if len(ok.QueryParametersToRemove) == maxSpellings || !all(sent, isVisible) {
				return false
			}
			ok.QueryParametersToRemove = append(ok.QueryParametersToRemove, sent)
		}
	}
	if value != "" {
		ok.QueryParametersToSet = append(ok.QueryParametersToSet, &corev3.QueryParameter{Key: name, Value: value})
	}
	return true
}

// hides tells whether a reader that takes ";" for "&" finds the parameter inside of another one.
func hides(pair, name string) bool {
	if strings.IndexByte(pair, ';') < 0 {
		return false
	}
	for part := range strings.SplitSeq(pair, ";") {
		if sent, _, _ := strings.Cut(part, "="); resembles(sent, name) {
			return true
		}
	}
	return false
}

// resembles tells whether some server takes one name for the other, or for a list or an object of that name.
func resembles(sent, name string) bool {
	decoded, reason := unescape(strings.ReplaceAll(sent, "+", " "), true)
	if reason != "" {
		return true // what cannot be read is not passed on under a name that somebody may read
	}
	folded := foldName(name)
	if foldName(decoded) == folded {
		return true
	}
	list, _, _ := strings.Cut(strings.TrimLeft(decoded, " ["), "[")
	list, _, _ = strings.Cut(list, "]")
	return foldName(list) == folded
}

func foldName(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '_'
	}, strings.Trim(s, " "))
}

// output is the value of a claim or a field of the user, as decoded JSON; nil: there is none.
func output(u *decide.User, o *policy.ClaimOutput) any {
	if u == nil {
		return nil
	}
	if len(o.Path) > 0 {
		v, _ := decide.ClaimAt(u.Claims, o.Path)
		return v
	}
	switch o.Field {
	case "subject":
		return u.Subject
	case "issuer":
		return u.IssuerURL
	case "client":
		return u.Client
	case "scopes":
		return u.Scopes
	case "roles":
		return u.Roles
	case "groups":
		return u.Groups
	case "credential":
		return u.Credential.String()
	}
	return nil
}

// outputText is the value as text: a list's elements with commas between, each encoded by itself. Objects and lists of lists have none.
func outputText(u *decide.User, o *policy.ClaimOutput, encode func(string) string) string {
	switch v := output(u, o).(type) {
	case []string:
		return joined(len(v), func(i int) string { return encode(v[i]) })
	case []any:
		for _, e := range v {
			if _, ok := decide.ScalarText(e); !ok {
				return ""
			}
		}
		return joined(len(v), func(i int) string {
			text, _ := decide.ScalarText(v[i])
			return encode(text)
		})
	default:
		text, _ := decide.ScalarText(v)
		return encode(text)
	}
}

func joined(n int, element func(int) string) string {
	if n == 1 {
		return element(0)
	}
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(element(i))
	}
	return b.String()
}

// encodeClaim is encodeValue that encodes commas too: no text passes for two elements of a list.
func encodeClaim(s string) string {
	return percent(s, func(c byte) bool { return c > ' ' && c < 0x7f && c != '%' && c != ',' })
}

// encodeQuery leaves the unreserved characters alone (RFC 3986 §2.3).
func encodeQuery(s string) string { return percent(s, isUnreserved) }

// maxNesting bounds how deep a claim in metadata may be.
const maxNesting = 16

// metadataValue keeps the type of a claim. Numbers that a double cannot hold exactly are text.
func metadataValue(v any, depth int) *structpb.Value {
	if depth > maxNesting {
		return nil
	}
	switch v := v.(type) {
	case string:
		if v == "" {
			return nil
		}
		return structpb.NewStringValue(strings.ToValidUTF8(v, "\uFFFD"))
	case bool:
		return structpb.NewBoolValue(v)
	case decide.Number:
		f, err := strconv.ParseFloat(string(v), 64)
		if err != nil || math.Abs(f) > 1<<53 {
			return structpb.NewStringValue(string(v))
		}
		return structpb.NewNumberValue(f)
	case []string:
		list := &structpb.ListValue{}
		for _, e := range v {
			list.Values = append(list.Values, structpb.NewStringValue(strings.ToValidUTF8(e, "\uFFFD")))
		}
		return structpb.NewListValue(list)
	case []any:
		list := &structpb.ListValue{}
		for _, e := range v {
			if e := metadataValue(e, depth+1); e != nil {
				list.Values = append(list.Values, e)
			}
		}
		return structpb.NewListValue(list)
	case map[string]any:
		s := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(v))}
		for name, e := range v {
			if e := metadataValue(e, depth+1); e != nil {
				s.Fields[strings.ToValidUTF8(name, "\uFFFD")] = e
			}
		}
		return structpb.NewStructValue(s)
	}
	return nil
}
