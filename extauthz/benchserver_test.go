package extauthz_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// The environment of a server process.
const (
	benchKind   = "CREDENCE_BENCH_SERVER"
	benchSocket = "CREDENCE_BENCH_SOCKET"
	benchKeys   = "CREDENCE_BENCH_JWKS"
	// benchProfile is a directory for CPU profiles of server processes, for whoever looks for causes.
	benchProfile = "CREDENCE_BENCH_PROFILE"
)

// benchServe is the server process: it serves until stdin ends, and answers every line there with the CPU time that it has used, in
// microseconds.
func benchServe(kind string) int {
	l, err := net.Listen("unix", os.Getenv(benchSocket))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var s *grpc.Server
	switch kind {
	case "empty":
		s = grpc.NewServer(extauthz.ServerOptions(nil)...)
		ok := &authv3.CheckResponse{Status: &rpcstatus.Status{}, HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}}}
		authv3.RegisterAuthorizationServer(s, fixed{answer: func() (*authv3.CheckResponse, error) { return ok, nil }})
	case "opaque_cached", "opaque_cold":
		server, err := newOpaqueServer(os.Getenv(benchIntrospection), os.Getenv(benchSecret), kind == "opaque_cold")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		s = grpc.NewServer(extauthz.ServerOptions(server)...)
		server.Register(s)
	case "internal_minted", "internal_reused":
		server, err := mintingServerOfBench(kind)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		s = grpc.NewServer(extauthz.ServerOptions(server)...)
		server.Register(s)
	case "basic_warm", "basic_cold":
		server, err := newBasicServer(kind == "basic_cold")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		s = grpc.NewServer(extauthz.ServerOptions(server)...)
		server.Register(s)
	case "key":
		server, err := newKeyServer()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		s = grpc.NewServer(extauthz.ServerOptions(server)...)
		server.Register(s)
	default:
		server, err := newBenchServer(os.Getenv(benchKeys), kind == "fresh")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		s = grpc.NewServer(extauthz.ServerOptions(server)...)
		server.Register(s)
	}
	if dir := os.Getenv(benchProfile); dir != "" {
		f, err := os.CreateTemp(dir, kind+"-*.prof")
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer pprof.StopCPUProfile()
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(time.Duration(u.Utime.Nano() + u.Stime.Nano()).Microseconds())
	}
	s.Stop()
	if err := <-done; err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// newBenchServer is the whole server with its decision log; fresh: it forgets the tokens that it has seen.
func newBenchServer(keys string, fresh bool) (*extauthz.Server, error) {
	v, err := token.New(token.Options{Keys: jwks.New(jwks.Options{Log: slog.New(slog.DiscardHandler)})})
	if err != nil {
		return nil, err
	}
	issuer := policy.Issuer{
		Name: dev, Issuers: []string{"https://dev.test"}, Audiences: []string{"shop"}, Algorithms: []string{"RS256", "ES256"}, Profile: policy.StrictAccessToken,
		Keys: policy.KeySource{Inline: keys},
	}
	v.Publish([]policy.Issuer{issuer})
	o := extauthz.Options{
		Callers:  callers(func(context.Context) (policy.ProxyID, error) { return own, nil }),
		Verifier: v,
		PeerID: func(c string) (string, error) {
			id, _, _ := strings.Cut(c, "#")
			return peerIDs(id)
		},
		Log: slog.New(slog.NewJSONHandler(io.Discard, nil)), //nolint:sloglint // what a record costs is measured
	}
	if fresh {
		o.Verifier = &forgetful{Verifier: v, issuer: issuer}
	}
	s, err := extauthz.New(o)
	if err != nil {
		return nil, err
	}
	s.Publish(orders(), 1)
	return s, nil
}

// forgetful changes the issuer's configuration every 200 tokens: what was cached before counts no more, so every token of 256 is new.
type forgetful struct {
	*token.Verifier
	issuer policy.Issuer
	n      atomic.Int64
}

func (f *forgetful) Verify(ctx context.Context, raw string, accepted []policy.Name) (*decide.User, error) {
	if n := f.n.Add(1); n%200 == 0 {
		i := f.issuer
		i.Audiences = append([]string{fmt.Sprint(n)}, i.Audiences...)
		f.Publish([]policy.Issuer{i})
	}
	return f.Verifier.Verify(ctx, raw, accepted)
}

// process is a server process and a connection to it.
type process struct {
	*grpc.ClientConn
	in  io.Writer
	out *bufio.Scanner
}

func startServer(b *testing.B, kind string) *process {
	b.Helper()
	path := filepath.Join(b.TempDir(), "authz.sock")
	cmd := exec.Command(os.Args[0])
	// The last of two values counts: GOGC is what credence up sets unless the environment says otherwise.
	cmd.Env = append([]string{"GOGC=400"}, os.Environ()...)
	cmd.Env = append(cmd.Env, benchKind+"="+kind, benchSocket+"="+path, benchKeys+"="+newIDP().jwks())
	cmd.Stderr = os.Stderr
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr, cmd.Start()); err != nil {
		b.Fatal(err)
	}
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	p := &process{ClientConn: conn, in: in, out: bufio.NewScanner(out)}
	b.Cleanup(func() {
		if err := errors.Join(conn.Close(), in.Close(), cmd.Wait()); err != nil {
			b.Error(err)
		}
	})
	p.cpu(b) // it listens now
	return p
}

// cpu is the CPU time that the process has used so far, in microseconds.
func (p *process) cpu(b *testing.B) int64 {
	b.Helper()
	if _, err := io.WriteString(p.in, "\n"); err != nil || !p.out.Scan() {
		b.Fatal("the server process is gone", err, p.out.Err())
	}
	n, err := strconv.ParseInt(p.out.Text(), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}
