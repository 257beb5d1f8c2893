// Command opaque runs what stands around the gateway of this example: the authorization server, and the API behind the gateway.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/credence-mesh/credence/examples/opaque/api"
	"github.com/credence-mesh/credence/examples/opaque/authserver"
)

// The addresses of mesh/.
const (
	issuerAddress = "127.0.0.1:18690"
	apiAddress    = "127.0.0.1:18601"
)

func main() {
	secret := flag.String("secret", "examples/opaque/mesh/introspection.secret", "the file with the secret by which credence is known to the server")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *secret); err != nil {
		fmt.Fprintln(os.Stderr, "opaque:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, secretFile string) error {
	secret, err := os.ReadFile(secretFile)
	if err != nil {
		return err
	}
	as := authserver.New("http://"+issuerAddress, "credence", strings.TrimSpace(string(secret)))
	ended := make(chan error, 2)
	for address, handler := range map[string]http.Handler{issuerAddress: as.Handler(), apiAddress: api.Handler()} {
		srv := &http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
		defer func() { _ = srv.Close() }()
		go func() { ended <- srv.ListenAndServe() }() // ends with Close
	}
	fmt.Println("authorization server at http://" + issuerAddress + ", API behind the gateway at http://" + apiAddress + "; Ctrl-C ends them")
	select {
	case err := <-ended:
		if !errors.Is(err, http.ErrServerClosed) {
			return err
		}
	case <-ctx.Done():
	}
	return nil
}
