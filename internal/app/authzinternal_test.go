package app_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/credence-mesh/credence/identity/txn"
	"github.com/credence-mesh/credence/internal/app"
)

const programKey = "0123456789abcdefghijklmnopqrstuvwxyz"

// programs is authzMesh with internal tokens, and one API key at its route.
func programs() string {
	sum := sha256.Sum256([]byte(programKey))
	return strings.NewReplacer(
		"{trustDomain: beside.test}", "{trustDomain: beside.test, internalTokens: {}}",
		"  rules:\n    - name: public\n", "  authentication: {apiKeys: [{credentials: programs, header: x-key}]}\n  rules:\n    - name: program\n    - name: public\n",
	).Replace(authzMesh) + `---
apiVersion: credence.mesh/v1alpha1
kind: Credentials
metadata: {name: programs}
spec: {apiKeys: {keys: [{sha256: ` + hex.EncodeToString(sum[:]) + `, subject: batch}]}}
`
}

// TestAuthzMakesInternalTokens: behind proxies of another control plane services get them too, and no client's own.
func TestAuthzMakesInternalTokens(t *testing.T) {
	var socket string
	b, err := startAuthz(t, func(o *app.AuthzOptions) {
		socket = filepath.Join(filepath.Dir(o.StateDir), "check.sock")
		o.Socket.Path = socket
		must(t, os.WriteFile(filepath.Join(o.Dir, "mesh.yaml"), []byte(programs()), 0o600))
	})
	must(t, err)
	a := dial(t, "unix:"+socket, insecure.NewCredentials())
	check := func(path string, headers map[string]string) *authv3.OkHttpResponse {
		t.Helper()
		resp, err := a.client.Check(t.Context(), &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
			Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{Method: "GET", Host: "shop.test", Path: path, Headers: headers}},
		}})
		must(t, err)
		if resp.GetOkResponse() == nil {
			t.Fatalf("%s: %v, %v", path, resp, b.status().Diagnostics)
		}
		return resp.GetOkResponse()
	}
	token := ""
	for _, h := range check("/other", map[string]string{"x-key": programKey, "txn-token": "forged"}).GetHeaders() {
		if h.GetHeader().GetKey() == "txn-token" {
			token += h.GetHeader().GetValue() + string(h.GetHeader().GetRawValue())
		}
	}
	if got := check("/public", map[string]string{"txn-token": "forged"}).GetHeadersToRemove(); !slices.Contains(got, "txn-token") {
		t.Errorf("of nobody it removes %q", got)
	}
	e, err := app.ReadEndpoints(b.state)
	must(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	facts, err := txn.New("http://"+e.Admin+"/.well-known/jwks.json", "beside.test", txn.WithClient(client)).VerifyToken(t.Context(), token)
	if err != nil || facts.User != "batch" || facts.Requester != "spiffe://beside.test/ns/default/gw/edge" {
		t.Errorf("%q: %+v, %v", token, facts, err)
	}
}
