//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// webResult is what the official client tells a program.
type webResult struct {
	Code    int               `json:"code"`
	Message string            `json:"message"`
	Order   map[string]string `json:"order"`
	Orders  []map[string]string
}

// TestGRPCWebClient: the official gRPC-Web client understands what it is answered, and hears a refusal as its code and words.
func TestGRPCWebClient(t *testing.T) {
	if _, err := os.Stat("../grpcweb/node_modules/grpc-web"); err != nil {
		t.Fatalf("the official client is not installed: npm ci --prefix test/grpcweb (%v)", err)
	}
	s, e := startShop(t)
	good := e.Token(audience, "read")
	order := func(id string) map[string]string {
		return map[string]string{"id": id, "user": "alice", "caller": edgeID}
	}
	for _, format := range []string{"text", "binary"} {
		for _, c := range []struct {
			name, method, token string
			want                webResult
		}{
			{"allowed", "GetOrder", good, webResult{Order: order("7")}},
			{"stream", "WatchOrders", good, webResult{Orders: []map[string]string{order("0"), order("1"), order("2")}}},
			{"no token", "GetOrder", "-", webResult{Code: 16, Message: "a token is needed: Authorization: Bearer TOKEN"}},
			{"no token, stream", "WatchOrders", "-", webResult{Code: 16, Message: "a token is needed: Authorization: Bearer TOKEN"}},
			{"without the scope", "GetOrder", e.Token(audience, "other"), webResult{Code: 7, Message: "the token lacks a scope: read"}},
			{"a method that nothing allows", "Forget", good, webResult{Code: 7, Message: "this is not allowed"}},
		} {
			if format == "binary" && c.method != "GetOrder" {
				continue // the client streams in text only
			}
			t.Run(format+" "+c.name, func(t *testing.T) {
				cmd := exec.CommandContext(t.Context(), "node", "../grpcweb/client.js", //nolint:gosec // a test
					fmt.Sprintf("http://127.0.0.1:%d", s.plain), shopHost, c.method, format, c.token)
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				var got webResult
				if err := json.Unmarshal(out, &got); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}
