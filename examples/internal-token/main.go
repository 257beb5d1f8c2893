// Command internal-token runs the three services of the example.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/credence-mesh/credence/examples/internal-token/hop"
	"github.com/credence-mesh/credence/identity/txn"
)

func main() {
	tokens := txn.New("http://127.0.0.1:15080/.well-known/jwks.json", "hops.test")
	failed := make(chan error)
	for addr, h := range map[string]http.Handler{
		"127.0.0.1:18701": hop.Handler("web", tokens, "127.0.0.1:18721", "http://orders:18702/"),
		"127.0.0.1:18702": hop.Handler("orders", tokens, "127.0.0.1:18722", "http://payments:18703/"),
		"127.0.0.1:18703": hop.Handler("payments", tokens, "", ""),
	} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			log.Fatal(err)
		}
		srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
		go func() { failed <- srv.Serve(l) }()
	}
	fmt.Println("web, orders and payments listen at 127.0.0.1:18701, 18702 and 18703; Ctrl-C ends them")
	log.Fatal(<-failed)
}
