package hop

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/credence-mesh/credence/identity/txn"
)

// Seen is what one service saw, and what the next one did.
type Seen struct {
	Service string `json:"service"`
	// Authorization is empty: the user's own token ends at the gateway.
	Authorization string     `json:"authorization,omitempty"`
	Token         *txn.Facts `json:"token,omitempty"`
	// Raw is the token, the same at every hop. Never show one to a client; this is an example.
	Raw    string          `json:"raw,omitempty"`
	Status int             `json:"status,omitempty"`
	Next   json.RawMessage `json:"next,omitempty"`
}

// Handler serves name. Tokens verifies; next, where it is not empty, is called through the sidecar's outbound listener ("ip:port").
func Handler(name string, tokens *txn.Tokens, outbound, next string) http.Handler {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: outbound}), DisableKeepAlives: true}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		facts, err := tokens.Verify(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		seen := Seen{Service: name, Authorization: r.Header.Get("Authorization"), Token: facts, Raw: r.Header.Get(txn.Header)}
		if next != "" {
			if seen.Status, seen.Next, err = ask(r, client, next, seen.Raw); err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(seen) // the client is gone, then
	})
}

// ask passes the token on, unchanged.
func ask(r *http.Request, client *http.Client, target, token string) (int, json.RawMessage, error) {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, target, nil)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set(txn.Header, token)
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && !json.Valid(body) {
		body, err = json.Marshal(string(body))
	}
	return resp.StatusCode, body, err
}
