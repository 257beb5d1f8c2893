package token

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"time"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/policy/decide"
)

// ReasonProofKey means that the key in the header of a proof is missing, is no public key of its algorithm, or is more than a public key.
const ReasonProofKey = "proof_key"

const maxProof = 4 << 10

// Proof is a JWS that is signed by the key in its own header (RFC 9449 §4.2). It proves that somebody has that key, and nothing else.
type Proof struct {
	// Claims as of decide.User.
	Claims map[string]any
	// IssuedAt is zero where iat is missing.
	IssuedAt time.Time
	// Thumbprint of the key (RFC 7638 §3, SHA-256).
	Thumbprint string
}

// VerifyProof checks form, typ, key and signature of a proof as Verify does of an access token; algorithms are those that may sign it,
// asymmetric ones. Every error is ErrInvalid.
func VerifyProof(raw, typ string, algorithms []string) (*Proof, error) {
	if len(raw) > maxProof {
		return nil, invalid(ReasonTooLarge, "proof over %d bytes", maxProof)
	}
	p, payload, err := parseJWS(raw)
	if err != nil {
		return nil, err
	}
	if p.typ != typ {
		return nil, invalid(ReasonTyp, "typ %.32q is not that of a proof", p.typ)
	}
	method, ok := methods()[p.alg]
	if !ok || !slices.Contains(algorithms, p.alg) {
		return nil, invalid(ReasonAlg, "algorithm %.16q is not accepted", p.alg)
	}
	set, thumbprint, err := p.ownKey()
	if err != nil {
		return nil, err
	}
	p.kid = ""
	if _, err := p.verify(method, set); err != nil {
		return nil, err
	}
	all, err := object(payload)
	if err != nil {
		return nil, err
	}
	out := &Proof{Claims: all, Thumbprint: thumbprint}
	iat, err := date(all, "iat")
	if err != nil {
		return nil, err
	}
	if iat != nil {
		out.IssuedAt = iat.time()
	}
	return out, nil
}

// ownKey is the header's key, by the rules for keys of issuers, and its thumbprint.
func (p *parsed) ownKey() (*jwks.Set, string, error) {
	key, ok := p.jwk.(map[string]any)
	if !ok {
		return nil, "", invalid(ReasonProofKey, "no jwk in the header")
	}
	for _, secret := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if _, found := key[secret]; found {
			return nil, "", invalid(ReasonProofKey, "a private or symmetric key in the header")
		}
	}
	kty, ok := key["kty"].(string)
	members := map[string][]string{"EC": {"crv", "x", "y"}, "OKP": {"crv", "x"}, "RSA": {"e", "n"}}[kty]
	if !ok || members == nil {
		return nil, "", invalid(ReasonProofKey, "kty %.16q is not accepted", kty)
	}
	required := map[string]string{"kty": kty}
	for _, name := range members {
		if required[name], ok = key[name].(string); !ok {
			return nil, "", invalid(ReasonProofKey, "a member of the key is missing")
		}
	}
	// RFC 7638 §3: the required members alone, sorted by name, without white space. The encoder sorts; base64url needs no escapes.
	canonical, err := json.Marshal(required)
	if err != nil {
		return nil, "", invalid(ReasonProofKey, "the key cannot be encoded")
	}
	whole := map[string]any{"alg": p.alg}
	for name, v := range required {
		whole[name] = v
	}
	for _, name := range []string{"alg", "use", "key_ops"} {
		if v, found := key[name]; found {
			whole[name] = v
		}
	}
	document, err := json.Marshal(map[string]any{"keys": []any{whole}})
	if err != nil {
		return nil, "", invalid(ReasonProofKey, "the key cannot be encoded")
	}
	set, err := jwks.Parse(document, []string{p.alg})
	if err != nil || set.Len() != 1 {
		return nil, "", invalid(ReasonProofKey, "the key in the header cannot be used for %s", p.alg)
	}
	sum := sha256.Sum256(canonical)
	return set, base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// confirmation reads cnf (RFC 7800 §3.1): nil where there is none. A key that cannot be asked for is an error: without its proof the token
// may be stolen.
func confirmation(all map[string]any) (*decide.Confirmation, error) {
	v, there := all["cnf"]
	if !there {
		return nil, nil
	}
	members, ok := v.(map[string]any)
	if !ok || len(members) == 0 {
		return nil, invalid(ReasonConfirmation, "cnf is not an object, or an empty one")
	}
	out := &decide.Confirmation{}
	for name, value := range members {
		thumbprint, ok := value.(string)
		if sum, err := base64url.DecodeString(thumbprint); !ok || err != nil || len(sum) != sha256.Size {
			return nil, invalid(ReasonConfirmation, "a member of cnf is no SHA-256 thumbprint")
		}
		switch name {
		case "jkt":
			out.JKT = thumbprint
		case "x5t#S256":
			out.X5T = thumbprint
		default:
			return nil, invalid(ReasonConfirmation, "cnf binds to what is not understood")
		}
	}
	return out, nil
}
