package devissuer

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Defaults of a Request.
const (
	DefaultTTL    = 5 * time.Minute
	DefaultClient = "credence-dev"
)

// Issuer mints tokens with one ES256 key. Immutable; safe for concurrent use.
type Issuer struct {
	url  string
	key  *ecdsa.PrivateKey
	kid  string
	jwks []byte
	now  func() time.Time
}

// Open reads the issuer's key in dir (which must exist), or makes it: mode 0600, kept over restarts, never overwritten. issuerURL is
// the exact iss; it must be http or https, loopback and without a path. A key that is corrupt or readable by others is an error.
func Open(dir, issuerURL string) (*Issuer, error) {
	if err := checkURL(issuerURL); err != nil {
		return nil, fmt.Errorf("development issuer %q: %w", issuerURL, err)
	}
	key, err := openKey(dir)
	if err != nil {
		return nil, err
	}
	i := &Issuer{url: issuerURL, key: key, now: time.Now}
	if err := i.publicKey(); err != nil {
		return nil, err
	}
	return i, nil
}

func checkURL(raw string) error {
	u, err := url.Parse(raw) //nolint:forbidigo // an operator's URL, no request target
	switch {
	case err != nil:
		return errors.New("is not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return errors.New("must be http:// or https://")
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.ForceQuery:
		return errors.New("must be a scheme, host and port, nothing else")
	case u.Hostname() == "localhost":
		return nil
	}
	if a, err := netip.ParseAddr(u.Hostname()); err != nil || !a.Unmap().IsLoopback() {
		return errors.New("must be on a loopback address: anybody who reaches it is trusted")
	}
	return nil
}

// publicKey fills jwks and kid, the thumbprint of the key (RFC 7638).
func (i *Issuer) publicKey() error {
	point, err := i.key.PublicKey.Bytes()
	if err != nil {
		return fmt.Errorf("development issuer's key: %w", err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	x, y := enc(point[1:33]), enc(point[33:])
	sum := sha256.Sum256([]byte(`{"crv":"P-256","kty":"EC","x":"` + x + `","y":"` + y + `"}`))
	i.kid = enc(sum[:])
	i.jwks, err = json.Marshal(map[string]any{"keys": []map[string]string{
		{"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": i.kid, "alg": "ES256", "use": "sig"},
	}})
	if err != nil {
		return fmt.Errorf("development issuer's key: %w", err)
	}
	return nil
}

// URL is the exact iss of its tokens.
func (i *Issuer) URL() string { return i.url }

// JWKS is its public key as a JWK Set (RFC 7517). The caller owns the bytes.
func (i *Issuer) JWKS() []byte { return slices.Clone(i.jwks) }

// Request says what a token holds.
type Request struct {
	// Subject and Audience are required.
	Subject  string
	Audience []string
	Scopes   []string
	// Client is client_id. Empty: DefaultClient.
	Client string
	// TTL from now. 0: DefaultTTL; negative: a token that has expired so long ago.
	TTL time.Duration
	// NotBefore adds nbf. Zero: none.
	NotBefore time.Time
	// Claims are further claims, or take the place of those above: tests need tokens that are expired, early or for others.
	Claims map[string]any
}

// Mint makes an access token (RFC 9068). It errs on an incomplete request and on a claim that can't be encoded.
func (i *Issuer) Mint(r Request) (string, error) {
	switch {
	case r.Subject == "":
		return "", errors.New("mint token: no subject")
	case len(r.Audience) == 0 || slices.Contains(r.Audience, ""):
		return "", errors.New("mint token: no audience")
	}
	t := jwt.NewWithClaims(&jwt.SigningMethodECDSA{
		Name: "ES256", Hash: jwt.SigningMethodES256.Hash, KeySize: 32, CurveBits: 256,
	}, i.claims(r))
	t.Header["typ"] = "at+jwt"
	t.Header["kid"] = i.kid
	raw, err := t.SignedString(i.key)
	if err != nil {
		return "", fmt.Errorf("mint token: %w", err)
	}
	return raw, nil
}

func (i *Issuer) claims(r Request) jwt.MapClaims {
	ttl := r.TTL
	if ttl == 0 {
		ttl = DefaultTTL
	}
	issued := i.now()
	exp := issued.Add(ttl)
	if ttl < 0 {
		issued = exp.Add(-DefaultTTL)
	}
	client := r.Client
	if client == "" {
		client = DefaultClient
	}
	c := jwt.MapClaims{
		"iss": i.url, "sub": r.Subject, "client_id": client, "jti": rand.Text(), "iat": issued.Unix(), "exp": exp.Unix(),
	}
	if len(r.Audience) == 1 {
		c["aud"] = r.Audience[0]
	} else {
		c["aud"] = r.Audience
	}
	if len(r.Scopes) > 0 {
		c["scope"] = strings.Join(r.Scopes, " ")
	}
	if !r.NotBefore.IsZero() {
		c["nbf"] = r.NotBefore.Unix()
	}
	for name, v := range r.Claims {
		c[name] = v
	}
	return c
}
