package tour

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/credence-mesh/credence/examples/quickstart/service"
)

const audience = "https://shop.localhost"

// Token is a right token with the scopes; claims ("k=v") are added to it or replace what it has.
func (m *Mesh) Token(ctx context.Context, scopes string, claims ...string) (string, error) {
	args := []string{"token", "mint", "--sub", "alice", "--scope", scopes, "--aud", audience, "--ttl", "10m"}
	for _, c := range claims {
		args = append(args, "--claim", c)
	}
	out, err := m.Run(ctx, args...)
	return strings.TrimSpace(out), err
}

func (m *Mesh) right(ctx context.Context) (string, error) { return m.Token(ctx, "orders:read") }

// internal is the internal token that services get for alice, who has the right scope.
func (m *Mesh) internal(ctx context.Context) (string, error) {
	return m.internalFor(ctx, "orders:read")
}

// internalFor is the internal token that web gets for alice with these scopes. web shows it; outside of the mesh nobody takes it.
func (m *Mesh) internalFor(ctx context.Context, scopes string) (string, error) {
	token, err := m.Token(ctx, scopes)
	if err != nil {
		return "", err
	}
	r, err := m.shop(ctx, "/", token)
	if err != nil {
		return "", err
	}
	var a service.Answer
	if err := json.Unmarshal(r.body, &a); err != nil {
		return "", err
	}
	if a.Identity["txn-token"] == "" {
		return "", fmt.Errorf("web got no internal token: %s %s", r, r.body)
	}
	return a.Identity["txn-token"], nil
}

func (m *Mesh) expired(ctx context.Context) (string, error) {
	now := time.Now().Unix()
	return m.Token(ctx, "orders:read", fmt.Sprintf("iat=%d", now-1200), fmt.Sprintf("exp=%d", now-600))
}

func (m *Mesh) notYetValid(ctx context.Context) (string, error) {
	return m.Token(ctx, "orders:read", fmt.Sprintf("nbf=%d", time.Now().Unix()+300))
}

func (m *Mesh) wrongIssuer(ctx context.Context) (string, error) {
	return m.Token(ctx, "orders:read", "iss=https://issuer.invalid")
}

func (m *Mesh) wrongAudience(ctx context.Context) (string, error) {
	return m.Token(ctx, "orders:read", "aud=https://bank.localhost")
}

// forged carries the payload and header of a right token under a signature of another key.
func (m *Mesh) forged(ctx context.Context) (string, error) {
	signed, err := m.signedPart(ctx)
	if err != nil {
		return "", err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		return "", err
	}
	sig := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig), nil
}

func (m *Mesh) signedPart(ctx context.Context) (string, error) {
	token, err := m.right(ctx)
	if err != nil {
		return "", err
	}
	return token[:strings.LastIndexByte(token, '.')], nil
}

// withHeader is the payload of a right token under another header, unsigned.
func (m *Mesh) withHeader(ctx context.Context, change map[string]any) (string, error) {
	signed, err := m.signedPart(ctx)
	if err != nil {
		return "", err
	}
	head, payload, _ := strings.Cut(signed, ".")
	raw, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return "", err
	}
	var header map[string]any
	if err := json.Unmarshal(raw, &header); err != nil {
		return "", err
	}
	for k, v := range change {
		header[k] = v
	}
	if raw, err = json.Marshal(header); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(raw) + "." + payload, nil
}

func (m *Mesh) algNone(ctx context.Context) (string, error) {
	signed, err := m.withHeader(ctx, map[string]any{"alg": "none"})
	return signed + ".", err
}

// hmacWithPublicKey is signed by HS256 with the issuer's public key set as the secret: what a verifier falls for that lets the token
// choose the algorithm.
func (m *Mesh) hmacWithPublicKey(ctx context.Context) (string, error) {
	signed, err := m.withHeader(ctx, map[string]any{"alg": "HS256"})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.Endpoints.Issuer+"/jwks", nil)
	if err != nil {
		return "", err
	}
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return "", err
	}
	public, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, public)
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), nil
}
