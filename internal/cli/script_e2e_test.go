//go:build e2e

package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/credence-mesh/credence/internal/envoy"
	"github.com/credence-mesh/credence/internal/testport"
)

// TestScriptsOnEnvoy runs the product as a user does.
func TestScriptsOnEnvoy(t *testing.T) {
	real, err := envoy.Find(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "e2e"), RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			if err := isolate(env); err != nil {
				return err
			}
			env.Setenv("CREDENCE_ENVOY", real.Path)
			run, err := os.MkdirTemp("", "run") // a socket path has 107 bytes
			if err != nil {
				return err
			}
			env.Defer(func() { _ = os.RemoveAll(run) })
			env.Setenv("RUN", run)
			for i, port := range testport.Free(t, 4) {
				env.Setenv(fmt.Sprintf("PORT%d", i+1), strconv.Itoa(port))
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "expand": expand, "until": until},
	})
}

// expand replaces $NAME in files: expand file...
func expand(ts *testscript.TestScript, _ bool, args []string) {
	for _, file := range args {
		body := os.Expand(ts.ReadFile(file), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(body), 0o600))
	}
}
