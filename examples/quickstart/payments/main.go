// Command payments says what a user paid, and what ledger has booked. It asks ledger through its sidecar like any other service; at
// /payments/direct it does so by mTLS of its own.
package main

import (
	"context"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/credence-mesh/credence/examples/quickstart/service"
	"github.com/credence-mesh/credence/identity"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	src, err := identity.Open(ctx, identity.Options{})
	cancel()
	if err != nil {
		log.Fatal(err)
	}
	ledger := src.Client(identity.Only("spiffe://quickstart.test/ns/default/wl/ledger"))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /payments", service.Forward("payments", "http://ledger/entries", service.Client()))
	mux.HandleFunc("GET /payments/direct", service.Forward("payments", "https://"+os.Getenv("LEDGER")+"/entries", ledger))
	service.Serve(mux)
}
