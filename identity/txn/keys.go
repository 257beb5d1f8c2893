package txn

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	maxDocument = 256 << 10
	maxKeys     = 64
	fetchFor    = 5 * time.Second
	// between two fetches, whatever tokens come.
	between = 2 * time.Second
)

// keys are those of one URL. Safe for concurrent use.
type keys struct {
	url    string
	client *http.Client
	now    func() time.Time

	mu      sync.Mutex
	byID    map[string]ed25519.PublicKey
	fetched time.Time
	failed  error
}

// get finds a key. One that is not known has the document read again, at most every two seconds, and by one caller at a time.
func (k *keys) get(ctx context.Context, id string) (ed25519.PublicKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if key, ok := k.byID[id]; ok {
		return key, nil
	}
	if now := k.now(); k.fetched.IsZero() || now.Sub(k.fetched) >= between || now.Before(k.fetched) {
		k.fetched = now
		byID, err := k.fetch(ctx)
		if k.failed = err; err == nil {
			k.byID = byID
		}
	}
	if key, ok := k.byID[id]; ok {
		return key, nil
	}
	if k.failed != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, k.failed)
	}
	return nil, fmt.Errorf("%w: no such key", ErrInvalid)
}

func (k *keys) fetch(ctx context.Context) (map[string]ed25519.PublicKey, error) {
	// What one request learns is for all: it does not end with that request.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchFor)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK || len(body) > maxDocument {
		return nil, fmt.Errorf("%s answers %d with %d bytes", k.url, resp.StatusCode, len(body))
	}
	return parse(body)
}

func parse(body []byte) (map[string]ed25519.PublicKey, error) {
	var set struct {
		Keys []struct {
			Type      string `json:"kty"`
			Curve     string `json:"crv"`
			X         string `json:"x"`
			ID        string `json:"kid"`
			Algorithm string `json:"alg"`
			Use       string `json:"use"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, err
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("%d keys", len(set.Keys))
	}
	out := make(map[string]ed25519.PublicKey, len(set.Keys))
	for _, e := range set.Keys {
		x, err := base64.RawURLEncoding.Strict().DecodeString(e.X)
		if err != nil || len(x) != ed25519.PublicKeySize || e.Type != "OKP" || e.Curve != "Ed25519" || e.ID == "" || e.Algorithm != "EdDSA" || e.Use != "sig" {
			continue
		}
		if _, twice := out[e.ID]; twice {
			return nil, errors.New("two keys with one kid")
		}
		out[e.ID] = x
	}
	return out, nil
}
