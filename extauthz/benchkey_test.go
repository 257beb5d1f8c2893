package extauthz_test

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/extauthz/apikey"
	"github.com/credence-mesh/credence/policy"
)

// benchKey is an existing key, of any form.
const benchKey = "5f2b0a4c9d8e4f6fa1b2c3d4e5f60718"

// newKeyServer is newBenchServer for API keys in a header of their own.
func newKeyServer() (*extauthz.Server, error) {
	partners := policy.Credentials{Name: name("partners"), APIKeys: []policy.APIKeyEntry{
		{SHA256: apikey.Hash(benchKey), Subject: "billing", Grants: policy.Grants{Scopes: []string{"orders:read"}}},
	}}
	v := apikey.New(apikey.Options{})
	v.Publish([]policy.Credentials{partners})
	s, err := extauthz.New(extauthz.Options{
		Callers:  callers(func(context.Context) (policy.ProxyID, error) { return own, nil }),
		Verifier: v.Snapshot(),
		Snapshot: func() extauthz.Verifiers { return extauthz.Verifiers{APIKeys: v.Snapshot()} },
		PeerID: func(c string) (string, error) {
			id, _, _ := strings.Cut(c, "#")
			return peerIDs(id)
		},
		Log: slog.New(slog.NewJSONHandler(io.Discard, nil)), //nolint:sloglint // what a record costs is measured
	})
	if err != nil {
		return nil, err
	}
	set := orders()
	set.Credentials = []policy.Credentials{partners}
	for i := range set.Policies {
		if p := &set.Policies[i]; p.Name == name("tokens") {
			p.Issuers, p.APIKeys = nil, []policy.APIKeyUse{{Credentials: partners.Name, Header: "x-api-key"}}
		}
	}
	s.Publish(set, 1)
	return s, nil
}

// fullKey is full with an API key.
func fullKey() *authv3.CheckRequest {
	req := full("")
	req.Attributes.Request.Http.HeaderMap.Headers[0] = &corev3.HeaderValue{Key: "x-api-key", RawValue: []byte(benchKey)}
	return req
}

// BenchmarkCheckKey is BenchmarkCheck for API keys, which nothing caches.
func BenchmarkCheckKey(b *testing.B) {
	for _, kind := range []string{"empty", "key"} {
		b.Run(kind, func(b *testing.B) { load(b, startServer(b, kind), 0, fullKey()) })
	}
}

// An API key costs a Check about as many allocations as a cached JWT.
func TestAllocationsOfKey(t *testing.T) {
	s, err := newKeyServer()
	if err != nil {
		t.Fatal(err)
	}
	req := fullKey()
	if n := testing.AllocsPerRun(200, func() {
		resp, err := s.Check(context.Background(), req)
		if err != nil || resp.GetOkResponse() == nil {
			t.Fatal(resp, err)
		}
	}); n > 16 { // some are what pools forget under the race detector
		t.Errorf("%v allocations", n)
	}
}
