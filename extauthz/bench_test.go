package extauthz_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/credence-mesh/credence/extauthz"
)

// idp signs tokens for benchmarks.
type idp struct {
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
}

var newIDP = sync.OnceValue(func() idp {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	ec, ecErr := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err, ecErr); err != nil {
		panic(err)
	}
	return idp{rsa: key, ec: ec}
})

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func (i idp) jwks() string {
	point, err := i.ec.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"keys":[{"kty":"RSA","kid":"RS256","alg":"RS256","n":"%s","e":"%s"},{"kty":"EC","crv":"P-256","kid":"ES256","alg":"ES256","x":"%s","y":"%s"}]}`,
		b64(i.rsa.N.Bytes()), b64(big.NewInt(int64(i.rsa.E)).Bytes()), b64(point[1:33]), b64(point[33:]))
}

// mint makes one of the size that identity providers make: about 900 bytes.
func (i idp) mint(b testing.TB, alg, jti, scope string) string {
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{
		"iss": "https://dev.test", "aud": "shop", "sub": "alice", "client_id": "cli", "jti": jti, "scope": scope,
		"iat": now, "exp": now + 3600, "groups": strings.Split(strings.Repeat("some-group ", 15), " "),
	})
	if err != nil {
		b.Fatal(err)
	}
	text := b64(fmt.Appendf(nil, `{"alg":"%s","typ":"at+jwt","kid":"%s"}`, alg, alg)) + "." + b64(claims)
	method, key := jwt.SigningMethod(jwt.SigningMethodRS256), any(i.rsa)
	if alg == "ES256" {
		method, key = jwt.SigningMethodES256, i.ec
	}
	sig, err := method.Sign(text, key)
	if err != nil {
		b.Fatal(err)
	}
	return text + "." + b64(sig)
}

// full is a request of the size that Envoy sends: 25 headers and the peer's certificate.
func full(bearer string) *authv3.CheckRequest {
	return ask(func(a *authv3.AttributeContext) {
		h := []*corev3.HeaderValue{{Key: "authorization", RawValue: []byte("Bearer " + bearer)}}
		for i := range 24 {
			h = append(h, &corev3.HeaderValue{Key: fmt.Sprintf("x-header-%d", i), RawValue: []byte(strings.Repeat("v", 30))})
		}
		a.Request.Http.HeaderMap.Headers = h
		a.Source.Certificate = "cert " + webID + "#" + strings.Repeat("%2B", 210)
	})
}

// raw sends and receives messages as they are, so that the client costs as little as it can.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	data, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("cannot send %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(data)}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	to, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("cannot receive into %T", v)
	}
	*to = data.Materialize()
	return nil
}

// load asks p, 16 requests at a time for each core, and reports the CPU time of its process for each.
func load(b *testing.B, p *process, want int32, requests ...*authv3.CheckRequest) {
	b.Helper()
	messages := make([][]byte, len(requests))
	for i, r := range requests {
		data, err := proto.Marshal(r)
		if err != nil {
			b.Fatal(err)
		}
		messages[i] = data
	}
	ask := func(message []byte, answer *[]byte) error {
		return p.Invoke(context.Background(), authv3.Authorization_Check_FullMethodName, message, answer, grpc.ForceCodecV2(raw{}))
	}
	var first []byte
	resp := &authv3.CheckResponse{}
	if err := errors.Join(ask(messages[0], &first), proto.Unmarshal(first, resp)); err != nil || resp.GetStatus().GetCode() != want {
		b.Fatal(resp, err)
	}
	var n atomic.Int64
	b.SetParallelism(16)
	before := p.cpu(b)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			var answer []byte
			if err := ask(messages[int(n.Add(1))%len(messages)], &answer); err != nil || len(answer) == 0 {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(p.cpu(b)-before)/float64(b.N), "server-µs/op")
}

// BenchmarkCheck compares a whole Check over a unix socket, decision log included, with a server that does nothing, over the same
// transport and with the same options. The server is a process of its own whose CPU time is measured; ns/op says how many Checks both
// processes together get done on the machine.
func BenchmarkCheck(b *testing.B) {
	i := newIDP()
	b.Run("empty", func(b *testing.B) { load(b, startServer(b, "empty"), 0, full(i.mint(b, "RS256", "1", "orders:read"))) })
	b.Run("cached", func(b *testing.B) { load(b, startServer(b, "cached"), 0, full(i.mint(b, "RS256", "1", "orders:read"))) })
	b.Run("scope_missing", func(b *testing.B) { load(b, startServer(b, "cached"), 7, full(i.mint(b, "RS256", "2", "other"))) })
	for _, alg := range []string{"RS256", "ES256"} {
		b.Run("fresh_"+alg, func(b *testing.B) {
			requests := make([]*authv3.CheckRequest, 256)
			for n := range requests {
				requests[n] = full(i.mint(b, alg, fmt.Sprint("f", n), "orders:read"))
			}
			load(b, startServer(b, "fresh"), 0, requests...)
		})
	}
}

// BenchmarkCheckCached is a Check without transport.
func BenchmarkCheckCached(b *testing.B) {
	s, err := newBenchServer(newIDP().jwks(), false)
	if err != nil {
		b.Fatal(err)
	}
	req := full(newIDP().mint(b, "RS256", "1", "orders:read"))
	b.ReportAllocs()
	for b.Loop() {
		resp, err := s.Check(context.Background(), req)
		if err != nil || resp.GetOkResponse() == nil {
			b.Fatal(resp, err)
		}
	}
}

// BenchmarkDecode is what the message of a Check costs before it is looked at.
func BenchmarkDecode(b *testing.B) {
	data, err := proto.Marshal(full(newIDP().mint(b, "RS256", "1", "orders:read")))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := extauthz.DecodeCheckRequest(data, &authv3.CheckRequest{}); err != nil {
			b.Fatal(err)
		}
	}
}
