package extauthz_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"net/url"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// A bound token without its proof is refused, whatever the verifier says of it (jwt row 38).
func TestProof(t *testing.T) {
	der := []byte("the DER of a certificate")
	certificate := url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	sum := sha256.Sum256(der)
	x5t := base64.RawURLEncoding.EncodeToString(sum[:])
	r := newRig(t, func(o *extauthz.Options) {
		o.PeerID = func(raw string) (string, error) {
			if raw == certificate {
				return webID, nil
			}
			return peerIDs(raw)
		}
		o.Verifier = verifier(func(ctx context.Context, raw string, accepted []policy.Name) (*decide.User, error) {
			u, err := users(ctx, "alice~orders:read", accepted)
			switch raw {
			case "jkt":
				u.Confirmation = &decide.Confirmation{JKT: "key"}
			case "x5t":
				u.Confirmation = &decide.Confirmation{X5T: x5t}
			case "both":
				u.Confirmation = &decide.Confirmation{JKT: "key", X5T: x5t}
			case "odd":
				u.Confirmation = &decide.Confirmation{}
			}
			return u, err
		})
	})
	for _, tt := range []struct {
		name, auth, certificate string
		code                    int
		challenge               string
	}{
		{"unbound", "Bearer plain", "cert " + webID, 200, ""},
		{"unbound, as DPoP", "DPoP plain", "cert " + webID, 401, "invalid_token"},
		{"bound to a key, as Bearer", "Bearer jkt", "cert " + webID, 401, "invalid_token"},
		{"bound to a key, no proof", "DPoP jkt", "cert " + webID, 401, "invalid_dpop_proof"},
		{"bound to this certificate", "Bearer x5t", certificate, 200, ""},
		{"bound to another certificate", "Bearer x5t", "cert " + webID, 401, "invalid_token"},
		{"bound to a certificate, as DPoP", "DPoP x5t", certificate, 401, "invalid_token"},
		{"bound to both, one proven", "DPoP both", certificate, 401, "invalid_dpop_proof"},
		{"bound to both, as Bearer", "Bearer both", certificate, 401, "invalid_token"},
		{"bound to what is not known", "Bearer odd", certificate, 401, "invalid_token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := r.answer(t, ask(withAuth(tt.auth), func(a *authv3.AttributeContext) { withPeer(tt.certificate, "")(a) }))
			if got.Code != tt.code || !strings.Contains(got.Challenge, tt.challenge) {
				t.Errorf("%+v, want %d %s", got, tt.code, tt.challenge)
			}
		})
	}
}
