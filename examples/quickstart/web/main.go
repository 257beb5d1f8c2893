// Command web is the shop's front end: a welcome page for everybody, and the orders of a user.
package main

import (
	"net/http"

	"github.com/credence-mesh/credence/examples/quickstart/service"
)

func main() {
	welcome := func(w http.ResponseWriter, r *http.Request) { service.Reply(w, http.StatusOK, service.For("web", r)) }
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", welcome)
	mux.HandleFunc("GET /public/status", welcome)
	mux.HandleFunc("GET /orders", service.Forward("web", "http://orders/orders", service.Client()))
	service.Serve(mux)
}
