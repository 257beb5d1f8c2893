// Command basic-and-keys runs the API behind the gateway of this example. It reads no password and no key, and none reaches it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const address = "127.0.0.1:18501"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	srv := &http.Server{Addr: address, Handler: http.HandlerFunc(show), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	fmt.Println("API behind the gateway at http://" + address + "; Ctrl-C ends it")
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, "basic-and-keys:", err)
		os.Exit(1)
	}
}

// seen is what reached the API.
type seen struct {
	Target string `json:"target"`
	// User is whom the sidecar has found in the mesh's own token.
	User string `json:"user"`
	// Secrets are headers that could hold a password or a key: none does, whatever the client sent.
	Secrets []string `json:"secrets"`
}

func show(w http.ResponseWriter, r *http.Request) {
	s := seen{Target: r.RequestURI, User: r.Header.Get("x-credence-subject"), Secrets: []string{}}
	for _, name := range []string{"Authorization", "X-Api-Key"} {
		s.Secrets = append(s.Secrets, r.Header.Values(name)...)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s) // the client went away: nothing to do
}
