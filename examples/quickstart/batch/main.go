// Command batch calls the URL that it is given, once, with the internal token in $TOKEN if there is one, and prints the status and the body. It
// serves nothing; payments does not let it in. `batch whoami` prints the SPIFFE ID that the Workload API gives it.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/workloadapi"

	"github.com/credence-mesh/credence/examples/quickstart/service"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: batch URL, or batch whoami")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	do := call
	if os.Args[1] == "whoami" {
		do = whoami
	}
	out, err := do(ctx, os.Args[1])
	if err != nil {
		log.Print(err)
		cancel()
		os.Exit(1)
	}
	fmt.Println(out)
}

// whoami asks the Workload API at $SPIFFE_ENDPOINT_SOCKET: no configuration, no secret.
func whoami(ctx context.Context, _ string) (string, error) {
	svid, err := workloadapi.FetchX509SVID(ctx)
	if err != nil {
		return "", err
	}
	return svid.ID.String(), nil
}

func call(ctx context.Context, target string) (string, error) {
	status, body, err := service.Call(ctx, service.Client(), target, os.Getenv("TOKEN"))
	return fmt.Sprintf("%d %s", status, body), err
}
