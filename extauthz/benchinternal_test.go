package extauthz_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/extauthz/txntoken"
	"github.com/credence-mesh/credence/policy"
)

// benchState is the directory where a server process of internal tokens keeps its keys.
const benchState = "CREDENCE_BENCH_STATE"

// newMintingServer is newBenchServer for a mesh with internal tokens, one per request, or cached.
func newMintingServer(keys, dir string, cached bool) (*extauthz.Server, error) {
	v, err := token.New(token.Options{Keys: jwks.New(jwks.Options{Log: slog.New(slog.DiscardHandler)})})
	signing, err2 := txntoken.OpenKeys(txntoken.KeysOptions{Dir: dir})
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	v.Publish([]policy.Issuer{{
		Name: dev, Issuers: []string{"https://dev.test"}, Audiences: []string{"shop"}, Algorithms: []string{"RS256", "ES256"}, Profile: policy.StrictAccessToken,
		Keys: policy.KeySource{Inline: keys},
	}})
	set := orders()
	set.Mesh.TrustDomain = "mesh.test"
	set.Mesh.InternalTokens = &policy.InternalTokens{Issuer: "https://credence.mesh.test", TTL: time.Minute, RotateEvery: 24 * time.Hour, Cached: cached}
	minter := txntoken.NewMinter(txntoken.MinterOptions{Keys: signing})
	if err := minter.Publish(&set.Mesh); err != nil {
		return nil, err
	}
	s, err := extauthz.New(extauthz.Options{
		Callers:  callers(func(context.Context) (policy.ProxyID, error) { return own, nil }),
		Verifier: v, Minter: minter,
		PeerID: func(string) (string, error) { return webID, nil },
		Log:    slog.New(slog.NewJSONHandler(io.Discard, nil)), //nolint:sloglint // what a record costs is measured
	})
	if err != nil {
		return nil, err
	}
	s.Publish(set, 1)
	return s, nil
}

// BenchmarkCheckInternal is BenchmarkCheck, cached, for a mesh that hands an internal token to the service: one that is signed for each
// request, and one that serves several.
func BenchmarkCheckInternal(b *testing.B) {
	b.Setenv(benchState, b.TempDir())
	for _, kind := range []string{"empty", "cached", "internal_minted", "internal_reused"} {
		b.Run(kind, func(b *testing.B) {
			load(b, startServer(b, kind), 0, full(newIDP().mint(b, "RS256", "1", "orders:read")))
		})
	}
}

func mintingServerOfBench(kind string) (*extauthz.Server, error) {
	return newMintingServer(os.Getenv(benchKeys), os.Getenv(benchState), kind == "internal_reused")
}

// What an internal token adds to the allocations of a Check: little where it is reused, and a bound where it is made.
func TestAllocationsOfInternalToken(t *testing.T) {
	req := full(newIDP().mint(t, "ES256", "1", "orders:read"))
	measure := func(s *extauthz.Server, err error) (allocations float64, carried bool) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		allocations = testing.AllocsPerRun(200, func() {
			resp, err := s.Check(context.Background(), req)
			if err != nil || resp.GetOkResponse() == nil {
				t.Fatal(resp, err)
			}
			carried = carriesToken(resp)
		})
		return allocations, carried
	}
	plain, none := measure(newBenchServer(newIDP().jwks(), false))
	reused, one := measure(newMintingServer(newIDP().jwks(), t.TempDir(), true))
	made, another := measure(newMintingServer(newIDP().jwks(), t.TempDir(), false))
	if none || !one || !another {
		t.Fatalf("the service gets a token: %t, %t, %t", none, one, another)
	}
	t.Logf("without %.0f, reused %.0f, made %.0f allocations", plain, reused, made)
	if reused > plain+6 || made > plain+30 { // with what pools forget under the race detector
		t.Errorf("without %.0f, reused %.0f, made %.0f allocations", plain, reused, made)
	}
}

func carriesToken(resp *authv3.CheckResponse) bool {
	for _, h := range resp.GetOkResponse().GetHeaders() {
		if h.GetHeader().GetKey() == txntoken.Header {
			return true
		}
	}
	return false
}
