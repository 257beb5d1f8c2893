package extauthz_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// idp signs RS256 tokens for benchmarks.
type idp struct{ key *rsa.PrivateKey }

var newIDP = sync.OnceValue(func() idp {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return idp{key}
})

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func (i idp) issuer() policy.Issuer {
	set := fmt.Sprintf(`{"keys":[{"kty":"RSA","kid":"k","alg":"RS256","n":"%s","e":"%s"}]}`, b64(i.key.N.Bytes()), b64(big.NewInt(int64(i.key.E)).Bytes()))
	return policy.Issuer{Name: dev, Issuer: "https://dev.test", Audiences: []string{"shop"}, Algorithms: []string{"RS256"}, Strict: true,
		Keys: policy.KeySource{Inline: set}}
}

// mint makes one of the size that identity providers make: about 900 bytes.
func (i idp) mint(b testing.TB, jti, scope string) string {
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{"iss": "https://dev.test", "aud": "shop", "sub": "alice", "client_id": "cli", "jti": jti, "scope": scope,
		"iat": now, "exp": now + 3600, "groups": strings.Split(strings.Repeat("some-group ", 15), " ")})
	if err != nil {
		b.Fatal(err)
	}
	text := b64([]byte(`{"alg":"RS256","typ":"at+jwt","kid":"k"}`)) + "." + b64(claims)
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(nil, i.key, crypto.SHA256, sum[:])
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

func benchServer(b *testing.B, wrap ...func(*token.Verifier) extauthz.Verifier) (*extauthz.Server, *token.Verifier) {
	b.Helper()
	v, err := token.New(token.Options{Keys: jwks.New(jwks.Options{Log: slog.New(slog.DiscardHandler)})})
	if err != nil {
		b.Fatal(err)
	}
	v.Publish([]policy.Issuer{newIDP().issuer()})
	return newRig(b, func(o *extauthz.Options) {
		o.Verifier, o.Now = v, nil
		for _, w := range wrap {
			o.Verifier = w(v)
		}
		o.Log = slog.New(slog.NewJSONHandler(io.Discard, nil))
		o.PeerID = func(c string) (string, error) {
			id, _, _ := strings.Cut(c, "#")
			return peerIDs(id)
		}
	}).Server, v
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

func load(b *testing.B, conn *grpc.ClientConn, want int32, requests ...*authv3.CheckRequest) {
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
		return conn.Invoke(context.Background(), authv3.Authorization_Check_FullMethodName, message, answer, grpc.ForceCodecV2(raw{}))
	}
	var first []byte
	resp := &authv3.CheckResponse{}
	if err := errors.Join(ask(messages[0], &first), proto.Unmarshal(first, resp)); err != nil || resp.GetStatus().GetCode() != want {
		b.Fatal(resp, err)
	}
	var n atomic.Int64
	b.SetParallelism(16)
	b.ReportAllocs()
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
}

// BenchmarkCheck compares a whole Check over a unix socket, decision log included, with a server that does nothing, over the same
// transport and with the same options. Client and server share the process and its cores, so the difference is what a Check costs.
func BenchmarkCheck(b *testing.B) {
	signed := newIDP().mint(b, "1", "orders:read")
	b.Run("empty", func(b *testing.B) {
		ok := &authv3.CheckResponse{Status: &rpcstatus.Status{}, HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}}}
		empty := fixed{answer: func() (*authv3.CheckResponse, error) { return ok, nil }}
		load(b, serve(b, func(r grpc.ServiceRegistrar) { authv3.RegisterAuthorizationServer(r, empty) }, extauthz.ServerOptions()...), 0, full(signed))
	})
	b.Run("cached", func(b *testing.B) {
		s, _ := benchServer(b)
		load(b, serve(b, s.Register, extauthz.ServerOptions()...), 0, full(signed))
	})
	b.Run("scope missing", func(b *testing.B) {
		s, _ := benchServer(b)
		load(b, serve(b, s.Register, extauthz.ServerOptions()...), 7, full(newIDP().mint(b, "2", "other")))
	})
	b.Run("fresh", func(b *testing.B) {
		s, v := benchServer(b, func(v *token.Verifier) extauthz.Verifier { return &forgetful{Verifier: v} })
		v.Publish([]policy.Issuer{newIDP().issuer()})
		requests := make([]*authv3.CheckRequest, 256)
		for i := range requests {
			requests[i] = full(newIDP().mint(b, fmt.Sprint("f", i), "orders:read"))
		}
		load(b, serve(b, s.Register, extauthz.ServerOptions()...), 0, requests...)
	})
}

// forgetful changes the issuer's configuration every 200 tokens: what was cached before counts no more, so every token of 256 is new.
type forgetful struct {
	*token.Verifier
	n atomic.Int64
}

func (f *forgetful) Verify(ctx context.Context, raw string, accepted []policy.Name) (*decide.User, error) {
	if n := f.n.Add(1); n%200 == 0 {
		i := newIDP().issuer()
		i.Audiences = append(i.Audiences, fmt.Sprint(n))
		f.Publish([]policy.Issuer{i})
	}
	return f.Verifier.Verify(ctx, raw, accepted)
}

// BenchmarkCheckCached is a Check without transport.
func BenchmarkCheckCached(b *testing.B) {
	s, _ := benchServer(b)
	req := full(newIDP().mint(b, "1", "orders:read"))
	b.ReportAllocs()
	for b.Loop() {
		resp, err := s.Check(context.Background(), req)
		if err != nil || resp.GetOkResponse() == nil {
			b.Fatal(resp, err)
		}
	}
}
