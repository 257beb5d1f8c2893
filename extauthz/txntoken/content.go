package txntoken

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// Type is the typ of a token's header.
const Type = "txntoken+jwt"

// content is the token's claims (draft-ietf-oauth-transaction-tokens §7).
type content struct {
	Issuer      string      `json:"iss"`
	Audience    string      `json:"aud"`
	IssuedAt    int64       `json:"iat"`
	Expires     int64       `json:"exp"`
	ID          string      `json:"jti"`
	Transaction string      `json:"txn"`
	Subject     string      `json:"sub"`
	Scope       string      `json:"scope"`
	Requester   string      `json:"req_wl"`
	Client      string      `json:"azp,omitempty"`
	Context     userContext `json:"tctx"`
	Request     *request    `json:"rctx,omitempty"`
}

// userContext is what the token says of the user; nothing in it comes from the request.
type userContext struct {
	UserIssuer string `json:"u_iss"`
	User       string `json:"u_sub"`
	// Origin is the kind of the credential, Object the manifest that vouched for it.
	Origin   string         `json:"origin"`
	Object   string         `json:"issuer,omitempty"`
	Service  bool           `json:"service,omitempty"`
	ACR      string         `json:"acr,omitempty"`
	AMR      []any          `json:"amr,omitempty"`
	AuthTime int64          `json:"auth_time,omitempty"`
	Roles    []string       `json:"roles,omitempty"`
	Groups   []string       `json:"groups,omitempty"`
	TokenID  string         `json:"u_jti,omitempty"`
	IssuedAt int64          `json:"u_iat,omitempty"`
	Claims   map[string]any `json:"claims,omitempty"`
}

// request is what the proxy saw.
type request struct {
	Address string `json:"req_ip,omitempty"`
	Method  string `json:"htm,omitempty"`
	URL     string `json:"htu,omitempty"`
}

func contextOf(r *Request) userContext {
	u := r.User
	c := userContext{
		UserIssuer: u.IssuerURL, User: u.Subject, Origin: u.Credential.String(), Service: u.Service, ACR: u.ACR, Roles: u.Roles, Groups: u.Groups,
		TokenID: u.TokenID, AuthTime: seconds(u.AuthTime), IssuedAt: seconds(u.IssuedAt), Claims: chosen(u.Claims, r.Claims),
	}
	if u.Issuer != (policy.Name{}) {
		c.Object = u.Issuer.String()
	}
	if amr, ok := u.Claims["amr"].([]any); ok && !slices.ContainsFunc(amr, func(v any) bool { _, ok := v.(string); return !ok }) {
		c.AMR = amr
	}
	return c
}

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// subject is one name for one user that no other issuer's user has, and no name of a person: the names are in tctx for who needs them.
func subject(u *decide.User) string {
	if u.Credential == policy.PeerIdentity {
		return u.Subject
	}
	h := sha256.New()
	h.Write([]byte(u.IssuerURL))
	h.Write([]byte{0})
	h.Write([]byte(u.Subject))
	prefix := "usr_"
	if u.Service {
		prefix = "svc_"
	}
	return prefix + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}

// reduced are the scopes that the user has and that may be in the token.
func reduced(has, may []string) string {
	var out []string
	for _, s := range has {
		if slices.Contains(may, s) {
			out = append(out, s)
		}
	}
	return strings.Join(out, " ")
}

// chosen are the claims at paths, in objects as deep as they were.
func chosen(all map[string]any, paths [][]string) map[string]any {
	var out map[string]any
	for _, path := range paths {
		v, ok := at(all, path)
		if !ok || len(path) == 0 {
			continue
		}
		if out == nil {
			out = map[string]any{}
		}
		in := out
		for _, name := range path[:len(path)-1] {
			deeper, ok := in[name].(map[string]any)
			if !ok {
				deeper = map[string]any{}
				in[name] = deeper
			}
			in = deeper
		}
		in[path[len(path)-1]] = plain(v)
	}
	return out
}

func at(all map[string]any, path []string) (any, bool) {
	var v any = all
	for _, name := range path {
		object, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = object[name]; !ok {
			return nil, false
		}
	}
	return v, true
}

// plain is a claim for encoding/json, in memory of its own: numbers keep all their digits.
func plain(v any) any {
	switch v := v.(type) {
	case decide.Number:
		return json.Number(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plain(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, e := range v {
			out[name] = plain(e)
		}
		return out
	}
	return v
}
