// Command orders lists a user's orders and asks payments what was paid.
package main

import (
	"net/http"

	"github.com/credence-mesh/credence/examples/quickstart/service"
)

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders", service.Forward("orders", "http://payments/payments", service.Client()))
	service.Serve(mux)
}
