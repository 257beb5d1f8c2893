// Command ledger lists what was booked, for payments and nobody else. It has no need of a sidecar to be called: it takes its SVID from the
// Workload API, serves mTLS itself and decides in its own code, below, who may call. No manifest changes that.
package main

import (
	"context"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/credence-mesh/credence/examples/quickstart/service"
	"github.com/credence-mesh/credence/identity"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	src, err := identity.Open(ctx, identity.Options{})
	if err != nil {
		return err
	}
	// Any workload of the mesh may connect, so that it can be told why it may not call.
	l, err := src.Listen(ctx, os.Getenv("LISTEN"), identity.AnyOf("quickstart.test"))
	if err != nil {
		return err
	}
	payments := identity.Only("spiffe://quickstart.test/ns/default/wl/payments")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /entries", func(w http.ResponseWriter, r *http.Request) {
		a := service.For("ledger", r)
		if caller, err := src.Peer(r); err == nil {
			a.Caller = caller.String()
		}
		service.Reply(w, http.StatusOK, a)
	})
	srv := &http.Server{Handler: src.Handler(payments, mux), ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	if err := srv.Serve(l); ctx.Err() == nil {
		return err
	}
	return src.Close()
}
