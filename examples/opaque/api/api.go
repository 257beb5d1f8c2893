// Package api is the service behind the gateway. It reads no token, and none reaches it.
package api

import (
	"encoding/json"
	"net/http"
)

// Seen is what reached it.
type Seen struct {
	Path string `json:"path"`
	// User is whom the sidecar has found in the mesh's own token.
	User string `json:"user"`
	// Authorization is the header of that name: empty, whatever the client sent.
	Authorization string `json:"authorization"`
}

// Handler shows what reaches it.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(Seen{r.URL.Path, r.Header.Get("x-credence-subject"), r.Header.Get("authorization")}) // the client went away: nothing to do
	})
}
