package site

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed page
var files embed.FS

// Session is what the page is told: where the gateway is, and the user's token. A real page would get its token from a login.
type Session struct {
	// Plain and Secure are origins of the gateway ("http://localhost:18240").
	Plain  string `json:"plain"`
	Secure string `json:"secure"`
	Token  string `json:"token"`
}

// Page serves the page and its session. session is called for each.
func Page(session func(*http.Request) (Session, error)) (http.Handler, error) {
	page, err := fs.Sub(files, "page")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(page))
	mux.HandleFunc("GET /session", func(w http.ResponseWriter, r *http.Request) {
		s, err := session(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		answer(w, s)
	})
	return mux, nil
}
