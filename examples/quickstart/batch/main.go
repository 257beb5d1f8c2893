// Command batch calls the URL that it is given, once, with the token in $TOKEN if there is one, and prints the status and the body. It
// serves nothing; payments does not let it in.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/credence-mesh/credence/examples/quickstart/service"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: batch URL")
	}
	authorization := ""
	if token := os.Getenv("TOKEN"); token != "" {
		authorization = "Bearer " + token
	}
	status, body, err := service.Call(context.Background(), service.Client(), os.Args[1], authorization)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d %s\n", status, body)
}
