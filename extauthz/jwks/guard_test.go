package jwks_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/policy"
)

// Requirement 6: what counts as an address of the public Internet.
func TestKeys6Public(t *testing.T) {
	for text, want := range map[string]bool{
		"93.184.216.34": true, "8.8.8.8": true, "2606:2800:220:1::1": true, "2001:4860:4860::8888": true, "100.63.255.255": true, "172.32.0.1": true,
		"0.0.0.0": false, "0.1.2.3": false, "10.1.2.3": false, "100.64.0.1": false, "100.127.255.255": false, "127.0.0.1": false, "127.255.255.255": false,
		"169.254.169.254": false, "172.16.0.1": false, "172.31.255.255": false, "192.0.0.1": false, "192.0.2.1": false, "192.88.99.1": false,
		"192.168.1.1": false, "198.18.0.1": false, "198.51.100.1": false, "203.0.113.1": false, "224.0.0.1": false, "239.255.255.255": false,
		"240.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "::7f00:1": false, "::ffff:127.0.0.1": false, "::ffff:8.8.8.8": false, "64:ff9b::7f00:1": false, "64:ff9b::808:808": false,
		"64:ff9b:1::1": false, "100::1": false, "2001::1": false, "2001:db8::1": false, "2002:7f00:1::": false, "3fff::1": false, "fc00::1": false,
		"fd00::1": false, "fe80::1": false, "fe80::1%eth0": false, "fec0::1": false, "ff02::1": false, "4000::1": false,
	} {
		if got := jwks.Public(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	if jwks.Public(netip.Addr{}) {
		t.Error("no address at all")
	}
}

// dns is a name server that really listens and says the same of every name.
func dns(t *testing.T, answer func(query int) netip.Addr) *net.Resolver {
	t.Helper()
	conn, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = conn.Close(); <-done })
	go func() { // ends with Close
		defer close(done)
		buf := make([]byte, 1500)
		for query := 0; ; {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			end := 12
			for end < n && buf[end] != 0 {
				end += int(buf[end]) + 1
			}
			end += 5 // root label, type, class
			reply := append([]byte{buf[0], buf[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, buf[12:end]...)
			if binary.BigEndian.Uint16(buf[end-4:]) == 1 { // A
				reply[7] = 1
				ip := answer(query).As4()
				reply = append(append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4), ip[:]...)
				query++
			}
			_, _ = conn.WriteTo(reply, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// tlsIDP serves metadata and keys under example.com, by https; $ in the metadata is its port.
func tlsIDP(t *testing.T, keysURL string) (port, caFile string, keys *atomic.Int32) {
	t.Helper()
	keys = &atomic.Int32{}
	var server *httptest.Server
	server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == metadataPath {
			_, _ = w.Write([]byte(metadata(ourIssuer, strings.ReplaceAll(keysURL, "$", server.URL[strings.LastIndex(server.URL, ":")+1:]))))
			return
		}
		keys.Add(1)
		_, _ = w.Write(ecSet("good"))
	}))
	t.Cleanup(server.Close)
	return server.URL[strings.LastIndex(server.URL, ":")+1:], pemFile(t, server.Certificate()), keys
}

// Requirement 6: a configured host may be anywhere and permits exactly itself; of any other name the address that is connected to decides,
// whatever DNS said before.
func TestKeys6Rebinding(t *testing.T) {
	t.Parallel()
	loopback, public := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1")
	for _, c := range []struct {
		name, keys string
		answer     func(int) netip.Addr
		good       bool
	}{
		{"the configured host", "https://example.com:$/keys", func(int) netip.Addr { return loopback }, true},
		{"in other letters", "https://EXAMPLE.com:$/keys", func(int) netip.Addr { return loopback }, true},
		{"another port of it", "https://example.com:1/keys", func(int) netip.Addr { return loopback }, false},
		{"a private name", "https://keys.example.com:$/keys", func(int) netip.Addr { return loopback }, false},
		{"with a dot at the end", "https://example.com.:$/keys", func(int) netip.Addr { return loopback }, false},
		{"a name that turns private", "https://keys.example.com:$/keys", func(n int) netip.Addr {
			if n == 1 {
				return public
			}
			return loopback
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			port, ca, keys := tlsIDP(t, c.keys)
			k := jwks.New(jwks.Options{Log: quiet, Resolver: dns(t, c.answer)})
			s, st := once(t, k, policy.KeySource{Discovery: "https://example.com:" + port + metadataPath, DiscoveryIssuer: ourIssuer, CAFile: ca})
			if has(s, "good") != c.good || (keys.Load() == 1) != c.good {
				t.Errorf("keys: %v, %d requests for them, failure %q", has(s, "good"), keys.Load(), st.Failure)
			}
			if !c.good && !strings.Contains(st.Failure, "is not public") {
				t.Errorf("failure %q", st.Failure)
			}
		})
	}
}

// A proxy resolves names by itself: what only metadata names is not asked through one, and what is configured is.
func TestKeys6Proxy(t *testing.T) {
	t.Parallel()
	var asked, foreign atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch r.URL.String() {
		case "http://idp.example" + metadataPath:
			_, _ = w.Write([]byte(metadata(ourIssuer, "https://keys.example/keys")))
		case "http://idp.example/keys":
			_, _ = w.Write(ecSet("good"))
		default:
			foreign.Add(1)
		}
	}))
	defer proxy.Close()
	at, err := url.Parse(proxy.URL) //nolint:forbidigo // the address of a server of this test
	must(err)
	o := jwks.Options{Log: quiet, Proxy: func(*http.Request) (*url.URL, error) { return at, nil }}
	s, st := once(t, jwks.New(o), policy.KeySource{URL: "http://idp.example/keys", Insecure: true})
	if !has(s, "good") || asked.Load() != 1 {
		t.Errorf("a configured host: %+v", st)
	}
	s, st = once(t, jwks.New(o), policy.KeySource{Discovery: "http://idp.example" + metadataPath, DiscoveryIssuer: ourIssuer, Insecure: true})
	if s.Set() != nil || foreign.Load() != 0 || asked.Load() != 2 || !strings.Contains(st.Failure, "write its address into keys.url") {
		t.Errorf("a host of the metadata: %+v, %d requests", st, asked.Load())
	}
}
