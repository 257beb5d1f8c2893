package token_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
)

// crowd is a Verifier of n issuers; the token's is the last.
func crowd(b *testing.B, n int) (v *bench, names []policy.Name) {
	b.Helper()
	issuers := make([]policy.Issuer, n)
	for i := range issuers {
		conf := defaultIssuer()
		conf.Name.Name = fmt.Sprintf("idp-%04d", i)
		if i < n-1 {
			conf.Issuers = []string{fmt.Sprintf("https://idp-%04d.test", i)}
		}
		issuers[i] = conf
		names = append(names, conf.Name)
	}
	return newBench(b, issuers...), names
}

// BenchmarkIssuers: what further issuers cost, configured beside the token's or accepted on the same route.
func BenchmarkIssuers(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		v, names := crowd(b, n)
		raw := sign(header(), claims())
		for where, accepted := range map[string][]policy.Name{"configured": names[n-1:], "accepted": names} {
			b.Run(fmt.Sprintf("%s/cached/n=%d", where, n), func(b *testing.B) {
				for b.Loop() {
					if _, err := v.Verify(context.Background(), raw, accepted); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		tokens := make([]string, 256)
		for i := range tokens {
			tokens[i] = sign(header(), claims().with("jti", strconv.Itoa(i)))
		}
		b.Run(fmt.Sprintf("accepted/fresh/n=%d", n), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				if i%len(tokens) == 0 { // an empty cache again
					b.StopTimer()
					v, names = crowd(b, n)
					b.StartTimer()
				}
				if _, err := v.Verify(context.Background(), tokens[i%len(tokens)], names); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkColdKey: the first token of a key that the issuer has just published, beside a bare fetch of the key set from the same server.
func BenchmarkColdKey(b *testing.B) {
	k := testKeys()
	var kid atomic.Int64
	listening := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		_, _ = io.WriteString(w, jwkSet(jwkOf(strconv.FormatInt(kid.Load(), 10), &k.rsa.PublicKey)))
	}))
	defer listening.Close()
	server := listening.URL
	// Ten seconds pass before each token, as the limit on such fetches wants it.
	var passed atomic.Int64
	clock := func() time.Time { return now.Add(time.Duration(passed.Load()) * 10 * time.Second) }
	ks := jwks.New(jwks.Options{Log: slog.New(slog.DiscardHandler), Now: clock})
	v, err := token.New(token.Options{Keys: ks, Now: func() time.Time { return now }})
	if err != nil {
		b.Fatal(err)
	}
	conf := defaultIssuer()
	conf.Keys = policy.KeySource{URL: server}
	v.Publish([]policy.Issuer{conf})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- ks.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	}()
	for ks.Status()[0].Keys == 0 {
		<-time.After(time.Millisecond)
	}
	b.Run("first_token", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			passed.Add(1)
			n := kid.Add(1)
			raw := sign(header().with("kid", strconv.FormatInt(n, 10)), claims())
			b.StartTimer()
			if _, err := v.Verify(ctx, raw, []policy.Name{idp}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bare_fetch", func(b *testing.B) {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		for b.Loop() {
			resp, err := client.Get(server)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				b.Fatal(err)
			}
			_ = resp.Body.Close()
		}
	})
}
