// Command orders lists a user's orders and asks payments what was paid. It also serves them by gRPC.
package main

import (
	"context"
	"net/http"

	"github.com/credence-mesh/credence/examples/quickstart/service"
)

func main() {
	stop := serveGRPC(context.Background())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders", service.Forward("orders", "http://payments/payments", service.Client()))
	mux.HandleFunc("GET /orders/count", func(w http.ResponseWriter, r *http.Request) {
		service.Reply(w, http.StatusOK, service.For("orders", r))
	})
	service.Serve(mux)
	stop()
}
