// Command payments says what a user paid.
package main

import (
	"net/http"

	"github.com/credence-mesh/credence/examples/quickstart/service"
)

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /payments", func(w http.ResponseWriter, r *http.Request) {
		service.Reply(w, http.StatusOK, service.For("payments", r))
	})
	service.Serve(mux)
}
