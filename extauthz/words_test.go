package extauthz_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/credence-mesh/credence/policy"
)

// Whoever has sent no credential hears of one that the route reads.
func TestWordsOfMissingCredential(t *testing.T) {
	const token, which, internal = "a token is needed: Authorization: Bearer TOKEN", "a credential is needed: WWW-Authenticate says which",
		"an internal token is needed: services pass the header Txn-Token on"
	for _, tt := range []struct {
		name   string
		proxy  policy.ProxyID
		route  string
		reads  policy.Policy
		answer string
	}{
		{"tokens", edge, "user", policy.Policy{Issuers: []policy.Name{dev}}, token},
		{"passwords", edge, "user", policy.Policy{Basic: []policy.Name{name("people")}}, which},
		{"tokens and keys", edge, "user", policy.Policy{Issuers: []policy.Name{dev}, APIKeys: []policy.APIKeyUse{{Credentials: name("keys"), Header: "x-key"}}}, which},
		{"internal tokens", own, "in-user", policy.Policy{InternalTokens: true}, internal},
		{"internal tokens and others", own, "in-user", policy.Policy{InternalTokens: true, Issuers: []policy.Name{dev}}, token},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set := kinds()
			for i := range set.Policies {
				if p := &set.Policies[i]; p.Name == name("user") {
					tt.reads.Name, tt.reads.Rules = p.Name, p.Rules
					*p = tt.reads
				}
			}
			r := kindRig(t, nil)
			r.Publish(set, 3)
			resp, err := r.Check(context.WithValue(t.Context(), proxyKey{}, tt.proxy), offer(tt.route))
			if err != nil {
				t.Fatal(err)
			}
			var body struct{ Reason, Message string }
			if err := json.Unmarshal([]byte(resp.GetDeniedResponse().GetBody()), &body); err != nil || body.Reason != "token_missing" || body.Message != tt.answer {
				t.Errorf("%+v (%v), not %q", body, err, tt.answer)
			}
		})
	}
}
