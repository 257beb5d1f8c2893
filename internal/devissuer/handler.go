package devissuer

import (
	"encoding/json"
	"net/http"
)

// Handler serves discovery (OpenID Connect Discovery §4, RFC 8414) and the JWK Set. The caller listens, on loopback.
func (i *Issuer) Handler() http.Handler {
	metadata, err := json.Marshal(map[string]any{
		"issuer":                                i.url,
		"jwks_uri":                              i.url + "/jwks",
		"response_types_supported":              []string{},
		"grant_types_supported":                 []string{},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"ES256"},
	})
	mux := http.NewServeMux()
	for path, body := range map[string][]byte{
		"/.well-known/openid-configuration":       metadata,
		"/.well-known/oauth-authorization-server": metadata,
		"/jwks": i.jwks,
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			if err != nil {
				http.Error(w, "metadata can't be encoded", http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "max-age=60")
			_, _ = w.Write(body) // the client went away: nothing to do
		})
	}
	return mux
}
