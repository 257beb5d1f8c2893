package site

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/net/websocket"
)

// API is the application behind the gateway. It knows nothing of CORS, tokens and origins: the manifests do.
func API() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/orders", func(w http.ResponseWriter, r *http.Request) {
		answer(w, map[string]any{"user": r.Header.Get("X-Credence-Subject"), "orders": []string{"tea", "cake"}})
	})
	mux.HandleFunc("POST /api/orders", func(w http.ResponseWriter, _ *http.Request) { answer(w, map[string]any{"ordered": true}) })
	mux.HandleFunc("GET /api/stream", func(w http.ResponseWriter, r *http.Request) { events(w, r, 5) })
	mux.HandleFunc("GET /public/ticker", func(w http.ResponseWriter, r *http.Request) { events(w, r, 1000) })
	mux.HandleFunc("GET /inside", func(w http.ResponseWriter, _ *http.Request) { answer(w, map[string]any{"for": "services"}) })
	mux.Handle("GET /live", websocket.Server{Handler: func(c *websocket.Conn) {
		_, _ = io.Copy(c, c) // ends with the connection
	}})
	return mux
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that is gone
}

// events sends n server-sent events.
func events(w http.ResponseWriter, r *http.Request, n int) {
	w.Header().Set("Content-Type", "text/event-stream")
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	for i := range n {
		if _, err := fmt.Fprintf(w, "data: %d\n\n", i+1); err != nil {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}
