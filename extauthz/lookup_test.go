package extauthz_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/policy"
)

// shop is a Set with a gateway: /orders needs a token, /version 2 of anything is "plain" (all may), /peers is for web, the rest is
// nobody's. A second gateway lets all in everywhere.
func shop() *policy.Set {
	set := orders()
	set.Policies = append(set.Policies,
		policy.Policy{Name: name("peers"), Rules: []policy.Rule{{Name: "web", Action: policy.Allow, From: []policy.Peer{{ID: webID}}}}},
		policy.Policy{Name: name("unless"), Rules: []policy.Rule{
			{Name: "not batch", Action: policy.Deny, From: []policy.Peer{{ID: batchID}}}, {Name: "all", Action: policy.Allow},
		}})
	at := func(id policy.RouteID, path string, p string) policy.Route {
		return policy.Route{
			ID: id, Match: policy.RouteMatch{PathKind: policy.PathPrefix, Path: path},
			Access: policy.Access{Levels: []policy.Level{{Kind: policy.RouteLevel, Policies: []policy.Name{name(p)}}}},
		}
	}
	v2 := at("v2", "/", "plain")
	v2.Match.Headers = []policy.NameValue{{Name: "x-version", Value: "2"}}
	gateway := func(n, host string, routes ...policy.Route) policy.Gateway {
		return policy.Gateway{Name: name(n), Listeners: []policy.Listener{{
			Address: "0.0.0.0", Port: 80, Protocol: policy.HTTP,
			Sections: []policy.Section{{Name: "web", Hostname: host, VirtualHosts: []policy.VirtualHost{{Host: host, Routes: routes}}}},
		}}}
	}
	set.Gateways = []policy.Gateway{
		gateway("edge", "shop.test", v2, at("orders", "/orders", "tokens"), at("peers", "/peers", "peers"), at("unless", "/unless", "unless")),
		gateway("open", "open.test", at("open", "/", "plain")),
	}
	return set
}

func lookupRig(t testing.TB, change ...func(*extauthz.Options)) *rig {
	t.Helper()
	r := newRig(t, append([]func(*extauthz.Options){func(o *extauthz.Options) {
		o.Callers = callers(func(context.Context) (policy.ProxyID, error) { return "uid/101", nil })
		o.Lookup = &extauthz.Lookup{Gateway: func(*policy.Set) (policy.Name, bool) { return name("edge"), true }}
	}}, change...)...)
	r.Publish(shop(), 2)
	return r
}

// foreign is a request as another control plane's Envoy sends it: no route, headers in the map.
func foreign(path string, edits ...func(*authv3.AttributeContext)) *authv3.CheckRequest {
	a := &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: "GET", Path: path, Host: "shop.test:8080", Headers: map[string]string{":path": path, "accept": "*/*"},
		}},
	}
	for _, e := range edits {
		e(a)
	}
	return &authv3.CheckRequest{Attributes: a}
}

func header(key, value string) func(*authv3.AttributeContext) {
	return func(a *authv3.AttributeContext) { a.Request.Http.Headers[key] = value }
}

// rawHeader adds a header in the other form.
func rawHeader(key, value string) func(*authv3.AttributeContext) {
	return func(a *authv3.AttributeContext) {
		if a.Request.Http.HeaderMap == nil {
			a.Request.Http.HeaderMap = &corev3.HeaderMap{}
		}
		a.Request.Http.HeaderMap.Headers = append(a.Request.Http.HeaderMap.Headers, &corev3.HeaderValue{Key: key, RawValue: []byte(value)})
	}
}

func host(h string) func(*authv3.AttributeContext) {
	return func(a *authv3.AttributeContext) { a.Request.Http.Host = h }
}

func extension(key, value string) func(*authv3.AttributeContext) {
	return func(a *authv3.AttributeContext) { a.ContextExtensions = map[string]string{key: value} }
}

func source(certificate, principal string) func(*authv3.AttributeContext) {
	return func(a *authv3.AttributeContext) { a.Source.Certificate, a.Source.Principal = certificate, principal }
}

// said is the answer in words: "200", or the status with the reason.
func said(t *testing.T, r *rig, req *authv3.CheckRequest) string {
	t.Helper()
	resp, err := r.Check(t.Context(), req)
	if err != nil {
		return "error " + status.Code(err).String()
	}
	if resp.GetStatus().GetCode() == int32(codes.OK) {
		return "200"
	}
	denied := resp.GetDeniedResponse()
	if denied == nil {
		denied = resp.GetErrorResponse()
	}
	return fmt.Sprintf("%d %s", denied.GetStatus().GetCode(), resp.GetStatus().GetMessage())
}

func TestLookupByHostAndPath(t *testing.T) {
	r := lookupRig(t)
	bearer := header("authorization", "Bearer alice~orders:read")
	for _, c := range []struct {
		what string
		req  *authv3.CheckRequest
		want string
	}{
		{"no peer", foreign("/orders/7"), "403 peer_not_allowed"},
		{"no token", foreign("/orders/7", source("cert "+webID, webID)), "401 token_missing"},
		{"public part", foreign("/public"), "403 route_unknown"},
		{"a token and the peer", foreign("/orders/7", bearer, source("cert "+webID, webID)), "200"},
		{"a token in both forms", foreign("/orders/7", bearer, rawHeader("authorization", "Bearer alice~orders:read"), source("cert "+webID, "")), "200"},
		{"two tokens in two forms", foreign("/orders/7", bearer, rawHeader("authorization", "Bearer bob~orders:read")), "400 credentials_ambiguous"},
		{"two tokens, joined", foreign("/orders/7", header("authorization", "Bearer a,Bearer b")), "400 credentials_ambiguous"},
		{"no route", foreign("/other"), "403 route_unknown"},
		{"another host", foreign("/orders", host("other.test")), "403 route_unknown"},
		{"a host of a gateway that does not count", foreign("/", host("open.test")), "403 route_unknown"},
		{"a host in capitals", foreign("/x", host("SHOP.Test"), header("x-version", "2")), "200"},
		{"no host", foreign("/orders", host("")), "400 host_invalid"},
		{"two hosts", foreign("/orders", host("shop.test,open.test")), "400 host_invalid"},
		{"a dot at the end", foreign("/orders", host("shop.test.")), "400 host_invalid"},
		{"a header that chooses", foreign("/x", header("x-version", "2")), "200"},
		{"a raw header that chooses", foreign("/x", rawHeader("x-version", "2")), "200"},
		{"headers that read two ways", foreign("/orders", header("x-version", "1,2")), "403 route_ambiguous"},
		{"headers that are two, raw", foreign("/orders", rawHeader("x-version", "1"), rawHeader("x-version", "2")), "403 route_ambiguous"},
		{"headers that differ by form", foreign("/orders", header("x-version", "1"), rawHeader("x-version", "2")), "400 header_ambiguous"},
		{"a header that was not UTF-8", foreign("/orders", header("x-version", "2!")), "400 header_ambiguous"},
		{"dot segments", foreign("/x/../orders", header("x-version", "2")), "400 path_dot_segment"},
		{"an empty segment", foreign("//orders", header("x-version", "2")), "400 path_empty_segment"},
		{"an encoded slash", foreign("/x%2Forders", header("x-version", "2")), "400 path_encoded_slash"},
		{"a letter that needs no escape", foreign("/%6frders", header("x-version", "2")), "400 path_encoding"},
		{"the same, later", foreign("/a%20%41", header("x-version", "2")), "400 path_encoding"},
		{"an escape that is needed", foreign("/a%20%25%C3%A9", header("x-version", "2")), "200"},
		{"a path parameter", foreign("/orders;x", header("x-version", "2")), "400 path_parameter"},
		{"absolute form", foreign("http://shop.test/orders", header("x-version", "2")), "400 path_invalid"},
		{"no path (CONNECT)", foreign("", header("x-version", "2")), "400 path_invalid"},
		{"its own route id", foreign("/x", header("x-version", "2"), extension("route", "v2")), "200"},
		{"another route id", foreign("/orders", extension("route", "v2")), "403 route_ambiguous"},
		{"a route id and no route", foreign("/none", extension("route", "v2")), "403 route_unknown"},
		{"its listener", foreign("/x", header("x-version", "2"), extension("listener", "web")), "200"},
		{"a listener that is not there", foreign("/x", header("x-version", "2"), extension("listener", "other")), "403 listener_unknown"},
		{"no attributes", &authv3.CheckRequest{}, "400 method_invalid"},
	} {
		if got := said(t, r, c.req); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}

// TestLookupPeers: a principal without its certificate is what a proxy says it has read, and Envoy reads less strictly than SPIFFE asks. To
// go on as if there were no peer would pass by deny rules against it.
func TestLookupPeers(t *testing.T) {
	believing := func(o *extauthz.Options) {
		o.Lookup.Principal = func(p string) (string, error) {
			if !strings.HasPrefix(p, "spiffe://") {
				return "", errors.New("no SPIFFE ID")
			}
			return p, nil
		}
	}
	for _, c := range []struct {
		what, path, certificate, principal string
		strict, believed                   string
	}{
		{"nobody", "/unless", "", "", "200", "200"},
		{"nobody where one is needed", "/peers", "", "", "403 peer_not_allowed", "403 peer_not_allowed"},
		{"a certificate", "/peers", "cert " + webID, webID, "200", "200"},
		{"a certificate of another name", "/peers", "cert " + webID, batchID, "403 peer_mismatch", "403 peer_mismatch"},
		{"a certificate that is no SVID", "/peers", "x", "", "403 peer_invalid", "403 peer_invalid"},
		{"a principal", "/peers", "", webID, "403 peer_unproven", "200"},
		{"a principal that is denied", "/unless", "", batchID, "403 peer_unproven", "403 denied_by_rule"},
		{"a principal from elsewhere", "/unless", "", "spiffe://other.test/x", "403 peer_unproven", "403 peer_trust_domain"},
		{"a principal that is a DNS name", "/unless", "", "client.test", "403 peer_unproven", "403 peer_invalid"},
	} {
		req := foreign(c.path, source(c.certificate, c.principal))
		got := [2]string{said(t, lookupRig(t), req), said(t, lookupRig(t, believing), req)}
		if want := [2]string{c.strict, c.believed}; got != want {
			t.Errorf("%s: %v, want %v", c.what, got, want)
		}
	}
}

// TestLookupGateways: without its gateway everything is refused; a new Set counts from the next Check on, and nothing of the old one.
func TestLookupGateways(t *testing.T) {
	chosen, ok := name("edge"), true
	r := lookupRig(t, func(o *extauthz.Options) {
		o.Lookup.Gateway = func(*policy.Set) (policy.Name, bool) { return chosen, ok }
	})
	v2 := foreign("/x", header("x-version", "2"))
	open := foreign("/", host("open.test"))
	got := []string{said(t, r, v2), said(t, r, open)}
	chosen = name("open")
	r.Publish(shop(), 3)
	got = append(got, said(t, r, v2), said(t, r, open))
	chosen = name("gone")
	r.Publish(shop(), 4)
	got = append(got, said(t, r, v2), said(t, r, open))
	ok = false
	r.Publish(shop(), 5)
	got = append(got, said(t, r, v2), said(t, r, open))
	want := []string{"200", "403 route_unknown", "403 route_unknown", "200", "403 route_unknown", "403 route_unknown", "403 route_unknown", "403 route_unknown"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if _, err := extauthz.New(extauthz.Options{
		Callers: callers(nil), Verifier: verifier(users), PeerID: peerIDs, Lookup: &extauthz.Lookup{},
	}); err == nil {
		t.Error("a Lookup without Gateway is taken")
	}
}

// TestLookupLog names the caller and the route that was found.
func TestLookupLog(t *testing.T) {
	r := lookupRig(t)
	said(t, r, foreign("/x", header("x-version", "2")))
	last := r.log.last(t)
	got := map[string]any{"proxy": last["proxy"], "host": last["host"], "path": last["path"], "class": last["class"]}
	if diff := cmp.Diff(map[string]any{"proxy": "uid/101", "host": "shop.test", "path": "/x", "class": "allowed"}, got); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// TestLookupOnTheWire: headers that the decoder of our own proxies' Checks skips are there, and a body does no harm.
func TestLookupOnTheWire(t *testing.T) {
	r := lookupRig(t)
	server := grpc.NewServer(extauthz.LookupServerOptions()...)
	r.Register(server)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	client := authv3.NewAuthorizationClient(conn)
	req := foreign("/x", rawHeader("x-version", "2"), func(a *authv3.AttributeContext) { a.Request.Http.RawBody = []byte("\xff body") })
	resp, err := client.Check(t.Context(), req)
	if err != nil || resp.GetStatus().GetCode() != int32(codes.OK) {
		t.Fatalf("%v %v", resp, err)
	}
	// All six identity headers are set or removed.
	var names []string
	for _, h := range resp.GetOkResponse().GetHeaders() {
		names = append(names, h.GetHeader().GetKey())
	}
	if n := len(names) + len(resp.GetOkResponse().GetHeadersToRemove()); n != 6 {
		t.Errorf("%d identity headers are spoken of: %v %v", n, names, resp.GetOkResponse().GetHeadersToRemove())
	}
	req.Attributes.Request.Http.RawBody = make([]byte, 2<<20)
	if _, err := client.Check(t.Context(), req); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a body of 2 MiB: %v", err)
	}
}
