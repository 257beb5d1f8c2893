//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/credence-mesh/credence/examples/quickstart/shoppb"
	"github.com/credence-mesh/credence/internal/envoy"
	"github.com/credence-mesh/credence/internal/testport"
)

// BenchmarkGRPC: unary calls on one connection, one after another ("one", for the time of a call) and 16 per core at once ("many", for the
// CPU of a call). "mesh" goes through gateway and sidecar, with a token, mTLS and two Checks;
// "plain" through two Envoys of the same binary that do nothing but pass it on; "direct" to the application. proxies-µs/op is the CPU of
// the Envoys, rest-µs/op that of client, application and, with mesh, Credence.
func BenchmarkGRPC(b *testing.B) {
	b.Run("mesh", func(b *testing.B) {
		s := newShop(b)
		e := s.start(b)
		ctx := metadata.AppendToOutgoingContext(b.Context(), "authorization", "Bearer "+e.Token(audience, "read"))
		var pids []int
		for _, p := range e.Status().Proxies {
			if !strings.HasSuffix(p.ID, "/caller") {
				pids = append(pids, p.PID)
			}
		}
		benchCalls(ctx, b, shopClient(b, fmt.Sprintf("127.0.0.1:%d", s.plain), shopHost, false), pids)
	})
	b.Run("plain", func(b *testing.B) {
		s := newShop(b)
		ports := testport.Free(b, 2)
		pids := []int{passOn(b, ports[0], ports[1]), passOn(b, ports[1], s.port)}
		benchCalls(b.Context(), b, shopClient(b, fmt.Sprintf("127.0.0.1:%d", ports[0]), shopHost, false), pids)
	})
	b.Run("direct", func(b *testing.B) {
		s := newShop(b)
		benchCalls(b.Context(), b, shopClient(b, fmt.Sprintf("127.0.0.1:%d", s.port), shopHost, false), nil)
	})
}

func benchCalls(ctx context.Context, b *testing.B, c shoppb.OrdersClient, pids []int) {
	b.Helper()
	one := func() {
		if _, err := c.GetOrder(ctx, &shoppb.GetOrderRequest{Id: "7"}); err != nil {
			b.Fatal(err)
		}
	}
	for range 200 {
		one()
	}
	measure := func(b *testing.B, run func()) {
		proxies, rest := cpuOf(b, pids...), cpuOf(b, os.Getpid())
		run()
		per := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(b.N) }
		b.ReportMetric(per(cpuOf(b, pids...)-proxies), "proxies-µs/op")
		b.ReportMetric(per(cpuOf(b, os.Getpid())-rest), "rest-µs/op")
	}
	b.Run("one", func(b *testing.B) {
		measure(b, func() {
			for range b.N {
				one()
			}
		})
	})
	b.Run("many", func(b *testing.B) {
		b.SetParallelism(16)
		measure(b, func() {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := c.GetOrder(ctx, &shoppb.GetOrderRequest{Id: "7"}); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	})
}

// cpuOf is the time that processes have computed, in ticks of 10 ms (proc(5), /proc/pid/stat: utime and stime).
func cpuOf(b *testing.B, pids ...int) time.Duration {
	b.Helper()
	var sum time.Duration
	for _, pid := range pids {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			b.Fatal(err)
		}
		_, after, _ := strings.Cut(string(data), ") ")
		fields := strings.Fields(after)
		for _, f := range fields[11:13] {
			ticks, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			sum += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return sum
}

// passOn runs an Envoy that sends everything from one port to the other, HTTP/2 in clear text, and returns its process.
func passOn(b *testing.B, from, to int) int {
	b.Helper()
	binary, err := envoy.Find(b.Context(), "")
	if err != nil {
		b.Fatal(err)
	}
	config := filepath.Join(b.TempDir(), "envoy.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, passOnConfig, from, to), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), binary.Path, "--config-path", config, "--disable-hot-restart", "--concurrency", "1", "--log-level", "error")
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	end, tick := time.After(20*time.Second), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(b.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", from))
		if err == nil {
			_ = c.Close()
			return cmd.Process.Pid
		}
		select {
		case <-end:
			b.Fatal(err)
		case <-tick.C:
		}
	}
}

const passOnConfig = `
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: %d}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: plain
          codec_type: AUTO
          route_config:
            virtual_hosts:
            - {name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: next, timeout: 0s}}]}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: next
    connect_timeout: 5s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment:
      cluster_name: next
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}]}]
`
