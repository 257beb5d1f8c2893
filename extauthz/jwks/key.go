package jwks

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of RSA keys (RFC 7518 §3.3; the upper one bounds the work of a forged token).
const (
	minRSABits = 2048
	maxRSABits = 8192
	minRSAExp  = 65537
	maxKidLen  = 256
)

// jwk are the members of RFC 7517 and 7518 that matter. Names are case-sensitive.
type jwk struct {
	Kty    string   `json:"kty"`
	Use    *string  `json:"use"`
	KeyOps []string `json:"key_ops"`
	Alg    string   `json:"alg"`
	Kid    string   `json:"kid"`
	Issuer string   `json:"issuer"` // Microsoft's
	Crv    string   `json:"crv"`
	N      string   `json:"n"`
	E      string   `json:"e"`
	X      string   `json:"x"`
	Y      string   `json:"y"`
	// Private and symmetric members: present in a published key, the key is no secret any more.
	D jsontext.Value `json:"d"`
	P jsontext.Value `json:"p"`
	K jsontext.Value `json:"k"`
}

// parsed is one usable key before it is bound to an algorithm.
type parsed struct {
	kid, alg, issuer string
	// fits are the algorithms that its type and curve can verify.
	fits   []string
	public crypto.PublicKey
	// material identifies the key.
	material []byte
}

func parseKey(raw jsontext.Value) (*parsed, error) {
	var j jwk
	if err := json.Unmarshal(raw, &j); err != nil {
		return nil, errors.New("a member has another type than RFC 7517 says")
	}
	if err := j.usable(); err != nil {
		return nil, err
	}
	k := &parsed{kid: j.Kid, alg: j.Alg, issuer: j.Issuer}
	var err error
	switch j.Kty {
	case "RSA":
		err = k.rsa(&j)
	case "EC":
		err = k.ec(&j)
	case "OKP":
		err = k.okp(&j)
	default:
		err = fmt.Errorf("kty %.32q is not supported", j.Kty)
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

func (j *jwk) usable() error {
	switch {
	case j.Kty == "oct" || j.K != nil:
		return errors.New("a symmetric key: whoever reads the set could sign")
	case j.D != nil || j.P != nil:
		return errors.New("a private key: whoever reads the set could sign")
	case j.Use != nil && *j.Use != "sig":
		return fmt.Errorf("use %.32q is not sig", *j.Use)
	case j.KeyOps != nil && !slices.Contains(j.KeyOps, "verify"):
		return errors.New("key_ops has no verify")
	case len(j.Kid) > maxKidLen:
		return fmt.Errorf("kid over %d bytes", maxKidLen)
	}
	return nil
}

func (k *parsed) rsa(j *jwk) error {
	n, err := decode("n", j.N)
	if err != nil {
		return err
	}
	e, err := decode("e", j.E)
	if err != nil {
		return err
	}
	mod, exp := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
	switch bits := mod.BitLen(); {
	case bits < minRSABits || bits > maxRSABits:
		return fmt.Errorf("RSA of %d bits, %d to %d are accepted", bits, minRSABits, maxRSABits)
	case mod.Bit(0) == 0:
		return errors.New("RSA modulus is even")
	case !exp.IsInt64() || exp.Int64() < minRSAExp || exp.Int64() > math.MaxInt32 || exp.Bit(0) == 0:
		return fmt.Errorf("RSA exponent is even, below %d or over 31 bits", minRSAExp)
	case roca(mod):
		return errors.New("RSA modulus has the ROCA fingerprint (CVE-2017-15361)")
	}
	k.public = &rsa.PublicKey{N: mod, E: int(exp.Int64())}
	k.fits = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	k.material = slices.Concat([]byte("RSA"), mod.Bytes(), []byte{0}, exp.Bytes())
	return nil
}

func (k *parsed) ec(j *jwk) error {
	var curve elliptic.Curve
	switch j.Crv {
	case "P-256":
		curve, k.fits = elliptic.P256(), []string{"ES256"}
	case "P-384":
		curve, k.fits = elliptic.P384(), []string{"ES384"}
	case "P-521":
		curve, k.fits = elliptic.P521(), []string{"ES512"}
	default:
		return fmt.Errorf("crv %.32q is not supported", j.Crv)
	}
	x, err := decode("x", j.X)
	if err != nil {
		return err
	}
	y, err := decode("y", j.Y)
	if err != nil {
		return err
	}
	if size := (curve.Params().BitSize + 7) / 8; len(x) != size || len(y) != size {
		return fmt.Errorf("coordinates of %d and %d bytes, RFC 7518 §6.2.1.2 wants %d", len(x), len(y), size)
	}
	point := slices.Concat([]byte{4}, x, y)
	public, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return fmt.Errorf("point is not on %s", j.Crv)
	}
	k.public, k.material = public, slices.Concat([]byte(j.Crv), point)
	return nil
}

func (k *parsed) okp(j *jwk) error {
	if j.Crv != "Ed25519" {
		return fmt.Errorf("crv %.32q is not supported", j.Crv)
	}
	x, err := decode("x", j.X)
	if err != nil {
		return err
	}
	if len(x) != ed25519.PublicKeySize {
		return fmt.Errorf("Ed25519 key of %d bytes", len(x))
	}
	k.public, k.material = ed25519.PublicKey(x), slices.Concat([]byte(j.Crv), x)
	k.fits = []string{"EdDSA", "Ed25519"} // RFC 8037; RFC 9864 names the same algorithm fully
	return nil
}

// algorithms that the key is used for: the one it names, else those of the issuer that fit.
func (k *parsed) algorithms(allowed []string) ([]string, error) {
	if k.alg != "" {
		switch {
		case !slices.Contains(k.fits, k.alg):
			return nil, fmt.Errorf("alg %.32q does not fit the key", k.alg)
		case !slices.Contains(allowed, k.alg):
			return nil, fmt.Errorf("alg %s is not accepted of this issuer", k.alg)
		}
		return []string{k.alg}, nil
	}
	var algs []string
	for _, alg := range k.fits {
		if slices.Contains(allowed, alg) {
			algs = append(algs, alg)
		}
	}
	if len(algs) == 0 {
		return nil, fmt.Errorf("none of its algorithms (%s) is accepted of this issuer", strings.Join(k.fits, ", "))
	}
	// One RSA key serves PKCS #1 v1.5 or PSS, not both.
	family := algs[0][:2]
	return slices.DeleteFunc(algs, func(a string) bool { return family == "RS" && !strings.HasPrefix(a, family) }), nil
}

func (k *parsed) fingerprint(alg string) [sha256.Size]byte {
	var b []byte
	for _, part := range [][]byte{[]byte(k.kid), []byte(alg), k.material} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part))) //nolint:gosec // a document has at most MaxBytes
		b = append(b, part...)
	}
	return sha256.Sum256(b)
}

// decode reads canonical base64url without padding (RFC 7515 §2). Go's decoder skips line ends; they are refused.
func decode(name, s string) ([]byte, error) {
	if s == "" || strings.ContainsAny(s, "\r\n") {
		return nil, fmt.Errorf("%s is missing or not base64url", name)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("%s is not base64url", name)
	}
	return b, nil
}

// roca tells whether n has the form of CVE-2017-15361: modulo every small prime it is a power of 65537. A sound modulus passes for
// one with a chance below 2^-27.
func roca(n *big.Int) bool {
	for p := int64(3); p <= 167; p += 2 {
		if !big.NewInt(p).ProbablyPrime(0) {
			continue
		}
		residue := new(big.Int).Mod(n, big.NewInt(p)).Int64()
		power, hit := int64(1), false
		for range p {
			hit = hit || power == residue
			power = power * (65537 % p) % p
		}
		if !hit {
			return false
		}
	}
	return true
}
