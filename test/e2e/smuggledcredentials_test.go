//go:build e2e

package e2e_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/credence-mesh/credence/internal/testport"
)

// A credential in a form that one reader takes for a credential and another one does not: either the request is refused, or the service
// behind does not receive it. On a route where anybody may pass, and on one for users, where none of them counts either.
func TestNoOddCredentialReachesTheService(t *testing.T) {
	ports := testport.Free(t, 5)
	s := &site{front: ports[0], issuer: ports[1], workloads: map[string]workload{"lobby": {port: ports[2], inbound: ports[3], outbound: ports[4], path: "/nowhere/lobby"}}}
	echoRequests(t, ports[2])
	env := s.startKinds(t)
	token := env.Token(audience)
	basic := strings.TrimPrefix(basicOf("alice", "correct horse"), "Authorization: Basic ")
	encoded := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	secrets := []string{token, apiKey, basic}
	// Envoy makes one line of these, with one credential: it counts, and is removed.
	one := map[string]bool{"folded": true, "two lines, the first empty": true, "two lines, the second empty": true}
	for name, credentials := range map[string][]string{
		"a tab behind Bearer":          {"Authorization: Bearer\t" + token},
		"a tab behind Basic":           {"Authorization: Basic\t" + basic},
		"a blank of Latin-1":           {"Authorization: Bearer\xa0" + token},
		"a blank of Latin-1 before":    {"Authorization: \xa0Bearer " + token},
		"a next line of Latin-1":       {"Authorization: Bearer\x85" + token},
		"a vertical tab":               {"Authorization: Bearer\x0b" + token},
		"no scheme":                    {"Authorization: " + token},
		"a colon":                      {"Authorization: Bearer: " + token},
		"quotes":                       {`Authorization: "Bearer" ` + token},
		"another scheme":               {"Authorization: Token " + token},
		"another scheme with basic":    {"Authorization: Negotiate " + basic},
		"folded":                       {"Authorization: Bearer\r\n " + token},
		"folded behind a scheme":       {"Authorization: Digest a\r\n\tBearer " + token},
		"two lines, the first empty":   {"Authorization:", "Authorization: Bearer " + token},
		"two lines, the second empty":  {"Authorization: Bearer " + token, "Authorization:"},
		"two lines in two cases":       {"authorization: Bearer " + token, "AUTHORIZATION: Bearer " + token},
		"a comma before":               {"Authorization: ,Bearer " + token},
		"a comma behind":               {"Authorization: Bearer " + token + ","},
		"parameters":                   {"Authorization: Bearer " + token + " realm=a"},
		"a blank before the colon":     {"Authorization : Bearer " + token},
		"an underscore":                {"X_API_Key: " + apiKey},
		"an empty key before":          {"X-API-Key:", "X-API-Key: " + apiKey},
		"a key twice in two cases":     {"x-api-key: " + apiKey, "X-API-KEY: " + apiKey},
		"a key with a comma":           {"X-API-Key: " + apiKey + ","},
		"a key as DPoP":                {"Authorization: DPoP " + apiKey},
		"a key as Basic":               {"Authorization: Basic " + encoded(apiKey+":")},
		"a name with a NUL":            {"Authorization: Basic " + encoded("alice\x00:correct horse")},
		"a password with a line feed":  {"Authorization: Basic " + encoded("alice:correct horse\n")},
		"base64 without padding":       {"Authorization: Basic " + strings.TrimRight(encoded("alice:correct horse1"), "=")},
		"base64 of URLs":               {"Authorization: Basic " + base64.URLEncoding.EncodeToString([]byte("alice:\xff\xfe>>>???"))},
		"a key in an encoded name":     {"?api%5Fkey=" + apiKey},
		"a key twice in the query":     {"?api_key=" + apiKey, "?api_key=" + apiKey},
		"a key in two spellings":       {"?api_key=" + apiKey, "?%61pi_key=" + apiKey},
		"a key behind an empty one":    {"?api_key=&api_key=" + apiKey},
		"a NUL in the key":             {"?api_key=" + apiKey + "%00"},
		"a proof without DPoP":         {"Authorization: DPoP " + token},
		"a token that is no DPoP's":    {"Authorization: DPoP " + token, "DPoP: a.b.c"},
		"an unbound token and a proof": {"Authorization: DPoP " + token, "DPoP: a.b.c", "DPoP: a.b.c"},
	} {
		for _, path := range []string{"/optional", "/user"} {
			t.Run(name+path, func(t *testing.T) {
				status, body := s.sendCredentials(t, path, credentials...)
				switch {
				case status == 200 && path == "/user" && !one[name]:
					t.Errorf("it counts as a credential: %s", body)
				case status == 200:
					for _, secret := range secrets {
						if strings.Contains(body, secret) {
							t.Errorf("the service has received it: %s", body)
						}
					}
				case status != 400 && status != 401:
					t.Errorf("%d %s", status, body)
				default:
					for _, secret := range secrets {
						if strings.Contains(body, secret) {
							t.Errorf("the refusal repeats it: %s", body)
						}
					}
				}
			})
		}
	}
	for line := range strings.Lines(env.Log()) {
		for _, secret := range secrets {
			if strings.Contains(line, secret) {
				t.Errorf("the log has a credential: %s", line)
			}
		}
	}
}
