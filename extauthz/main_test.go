package extauthz_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain also serves the benchmarks: the same binary is then the server process that they load.
func TestMain(m *testing.M) {
	if kind := os.Getenv(benchKind); kind != "" {
		os.Exit(benchServe(kind))
	}
	goleak.VerifyTestMain(m)
}
