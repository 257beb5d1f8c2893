package extauthz_test

import (
	"context"
	"io"
	"log/slog"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"

	"github.com/credence-mesh/credence/extauthz"
)

// What a Check leaves behind is a good part of what it costs, decision log included. The limits leave room for the race detector, under
// which pools forget; the verifier of these tests has four allocations of its own.
func TestAllocations(t *testing.T) {
	r := newRig(t, func(o *extauthz.Options) { o.Log = slog.New(slog.NewTextHandler(io.Discard, nil)) }) //nolint:sloglint // what a record allocates counts
	data, err := proto.Marshal(full("alice~orders:read"))
	if err != nil {
		t.Fatal(err)
	}
	measure := func(name string, limit float64, run func() error) {
		t.Helper()
		got := testing.AllocsPerRun(100, func() {
			if err := run(); err != nil {
				t.Fatal(err)
			}
		})
		t.Logf("%s: %.0f allocations", name, got)
		if got > limit {
			t.Errorf("%s takes %.0f allocations, at most %.0f", name, got, limit)
		}
	}
	measure("decoding", 6, func() error { return extauthz.DecodeCheckRequest(data, &authv3.CheckRequest{}) })
	for name, c := range map[string]struct {
		bearer string
		limit  float64
	}{"an allow": {"alice~orders:read", 15}, "a missing scope": {"alice~x", 15}, "a bad token": {"bad", 15}} {
		req := full(c.bearer)
		measure(name, c.limit, func() error {
			_, err := r.Check(context.Background(), req)
			return err
		})
	}
}
