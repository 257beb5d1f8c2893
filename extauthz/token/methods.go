package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	// The hashes that the methods name.
	_ "crypto/sha256"
	_ "crypto/sha512"

	"github.com/golang-jwt/jwt/v5"
)

// methods makes the signature algorithms that can be configured, as own instances: the library's PS* accept any salt length and are
// globals that anybody could change. HS* and none are not among them (RFC 8725 §3.1).
func methods() map[string]jwt.SigningMethod {
	out := map[string]jwt.SigningMethod{
		"EdDSA":   &jwt.SigningMethodEd25519{},
		"Ed25519": &jwt.SigningMethodEd25519{}, // RFC 9864
	}
	for suffix, hash := range map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512} {
		out["RS"+suffix] = &jwt.SigningMethodRSA{Name: "RS" + suffix, Hash: hash}
		out["PS"+suffix] = &jwt.SigningMethodRSAPSS{
			SigningMethodRSA: &jwt.SigningMethodRSA{Name: "PS" + suffix, Hash: hash},
			Options:          &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}, // RFC 7518 §3.5
		}
	}
	for _, m := range []jwt.SigningMethodECDSA{
		{Name: "ES256", Hash: crypto.SHA256, KeySize: 32, CurveBits: 256},
		{Name: "ES384", Hash: crypto.SHA384, KeySize: 48, CurveBits: 384},
		{Name: "ES512", Hash: crypto.SHA512, KeySize: 66, CurveBits: 521},
	} {
		out[m.Name] = &m
	}
	return out
}

// fits tells whether a key may verify alg: the type, and for ECDSA the curve (RFC 7518 §3.4), which the method does not look at.
func fits(m jwt.SigningMethod, key crypto.PublicKey) bool {
	switch m := m.(type) {
	case *jwt.SigningMethodRSA, *jwt.SigningMethodRSAPSS:
		_, ok := key.(*rsa.PublicKey)
		return ok
	case *jwt.SigningMethodECDSA:
		k, ok := key.(*ecdsa.PublicKey)
		return ok && k.Curve.Params().BitSize == m.CurveBits
	case *jwt.SigningMethodEd25519:
		_, ok := key.(ed25519.PublicKey)
		return ok
	}
	return false
}
