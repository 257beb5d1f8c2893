package extauthz

import (
	"strconv"
	"strings"
	"time"
)

// oauthStepUp is the error code of RFC 9470 §3.
const oauthStepUp = "insufficient_user_authentication"

// challenge gives the values of WWW-Authenticate, each for a header of its own (RFC 9110 §11.6.1). The credential that was presented is told
// what is wrong with it; whoever has sent none hears of every way that the route accepts.
func challenge(c *check, add func(string)) {
	o := &c.outcome
	if o.kind != unauthorized && o.oauth == "" {
		return
	}
	realm, link := "credence", ""
	if r := c.responses(); r != nil {
		if r.Realm != "" {
			realm = quotable(r.Realm)
		}
		if r.Resource != "" {
			link = `, resource_metadata="` + quotable(r.Resource) + `"`
		}
	}
	if o.oauth != "" {
		add(tokenChallenge(o, realm, link))
		if o.kind != unauthorized {
			return
		}
	}
	if c.route == nil {
		return
	}
	a := c.route.Accepts()
	if len(a.Issuers) > 0 && o.oauth == "" {
		add(`Bearer realm="` + realm + `"` + link)
	}
	if len(a.Basic) > 0 {
		// One for all realms: clients would ask a person once for each, and any user of them will do.
		own := realm
		if len(a.Realms) > 0 && a.Realms[0] != "" {
			own = quotable(a.Realms[0])
		}
		add(`Basic realm="` + own + `", charset="UTF-8"`)
	}
	if len(a.BearerKeys) > 0 && len(a.Issuers) == 0 && o.oauth == "" {
		add(`Bearer realm="` + realm + `"`)
	}
	for i := range a.HeaderKeys {
		add(`ApiKey realm="` + realm + `", header="` + quotable(a.HeaderKeys[i].Name) + `"`)
	}
	for i := range a.QueryKeys {
		add(`ApiKey realm="` + realm + `", query="` + quotable(a.QueryKeys[i].Name) + `"`)
	}
	if a.Internal && !c.route.Proxy().IsGateway() {
		add(`Txn-Token realm="` + realm + `"`)
	}
	if o.oauth == "" && !a.Authorization() && !a.APIKeys() && !a.Internal {
		// A 401 must have a challenge (RFC 9110 §15.5.2), and client certificates have none.
		add(`Bearer realm="` + realm + `"`)
	}
}

// tokenChallenge says what is wrong with a token (RFC 6750 §3, RFC 9449 §7.1, RFC 9470 §3), or with what was sent instead of one.
func tokenChallenge(o *outcome, realm, link string) string {
	var b strings.Builder
	b.Grow(160 + len(link))
	if o.dpop {
		b.WriteString(`DPoP realm="` + realm + `"` + dpopAlgorithms())
	} else {
		b.WriteString(`Bearer realm="` + realm + `"`)
	}
	b.WriteString(`, error="` + o.oauth + `"`)
	if scopes := o.decision.MissingScopes; len(scopes) > 0 {
		b.WriteString(`, scope="` + quotable(strings.Join(scopes, " ")) + `"`)
	}
	if len(o.acr) > 0 {
		b.WriteString(`, acr_values="` + quotable(strings.Join(o.acr, " ")) + `"`)
	}
	if o.maxAge > 0 {
		b.WriteString(`, max_age="` + strconv.FormatInt(int64(o.maxAge/time.Second), 10) + `"`)
	}
	b.WriteString(`, error_description="` + quotable(message(o)) + `"`)
	b.WriteString(link)
	return b.String()
}

// quotable drops what a scope cannot have (RFC 6749 §3.3) and what would end the quoted string.
func quotable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, s)
}
