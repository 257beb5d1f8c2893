package token_test

import (
	"testing"

	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
)

// Row 13: in a set that several issuers share, a key that names one of them verifies tokens of no other.
func TestRow13KeyOfAnotherIssuer(t *testing.T) {
	const one, two = "https://login/1/v2", "https://login/2/v2"
	for _, c := range []struct {
		name, named string
		tenants     bool
		iss, reason string
	}{
		{"no issuer", "", true, two, ""},
		{"its issuer", two, true, two, ""},
		{"the other tenant's", one, true, two, token.ReasonKeyIssuer},
		{"an issuer that nobody has", "https://login/9/v2", true, two, token.ReasonKeyIssuer},
		{"of all tenants", "https://login/{tenantid}/v2", true, two, ""},
		{"of all tenants of another place", "https://login/2/{tenantid}", true, two, token.ReasonKeyIssuer},
		{"without tenants, its issuer", two, false, two, ""},
		{"without tenants, the other's", one, false, two, token.ReasonKeyIssuer},
		{"without tenants, of all", "https://login/{tenantid}/v2", false, two, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			key := jwkOf("rsa", &testKeys().rsa.PublicKey)
			if c.named != "" {
				key["issuer"] = c.named
			}
			conf := defaultIssuer()
			conf.Issuers, conf.Keys = []string{one, two}, policy.KeySource{Inline: jwkSet(key)}
			if c.tenants {
				conf.Tenant = &policy.Tenant{Path: []string{"tid"}, Values: []string{"1", "2"}}
			}
			b := newBench(t, conf)
			raw := sign(header(), claims().with("iss", c.iss).with("tid", "2"))
			for range 2 { // the second time perhaps from the cache
				_, err := b.verify(raw)
				if c.reason == "" && err != nil {
					t.Fatal(err)
				}
				if c.reason != "" {
					wantReason(t, err, token.ErrInvalid, c.reason)
				}
			}
		})
	}
}
