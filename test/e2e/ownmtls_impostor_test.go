//go:build e2e

package e2e_test

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/credence-mesh/credence/identity"
	"github.com/credence-mesh/credence/internal/testenv"
)

// impostor listens where ledger will, with a certificate of nobody.
func (s *ownSite) impostor(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1"+s.booksPort())
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the impostor was called") }))
	_ = srv.Listener.Close() // another takes its place
	srv.Listener, srv.EnableHTTP2 = l, true
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	srv.StartTLS()
	defer srv.Close()
	got, err := testenv.Get(t.Context(), s.through(s.payments, s.booksPort()))
	if err != nil || got.Status != 503 {
		t.Errorf("got %d %q, %v", got.Status, got.Body, err)
	}
}

// otherWorkload listens where safe will, with an SVID of the mesh that is not safe's.
func (s *ownSite) otherWorkload(t *testing.T, src *identity.Source) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", s.safe))
	if err != nil {
		t.Fatal(err)
	}
	came := &trackedConns{Listener: l}
	s.serve(t, src.Listener(came, identity.AnyOf("e2e.test")), http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("ledger was called as safe") }))
	got, err := testenv.Get(t.Context(), testenv.Request{Proxy: fmt.Sprintf("127.0.0.1:%d", s.payments), Host: fmt.Sprintf("safe:%d", s.safe), Path: "/"})
	if err != nil || got.Status != 503 {
		t.Errorf("got %d %q, %v", got.Status, got.Body, err)
	}
	came.mu.Lock()
	defer came.mu.Unlock()
	if len(came.all) == 0 {
		t.Error("nobody came to be refused")
	}
}
