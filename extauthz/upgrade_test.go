package extauthz_test

import (
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
)

// TestUpgradeOfAnotherMethod: only GET opens a WebSocket; over HTTP/2 whatever opens one becomes a GET.
func TestUpgradeOfAnotherMethod(t *testing.T) {
	r := newRig(t)
	r.Publish(keeping(), 2)
	for _, x := range []struct{ method, upgrade, want string }{
		{"GET", "websocket", "allowed"},
		{"POST", "", "allowed"},
		{"POST", "h2c", "allowed"},
		{"POST", "websocket", "upgrade_method"},
		{"POST", "WebSocket", "upgrade_method"},
		{"HEAD", "websocket", "upgrade_method"},
		{"OPTIONS", "foo, \twebsocket ", "upgrade_method"},
	} {
		for name, put := range map[string]func(*authv3.AttributeContext_HttpRequest){
			"raw": func(h *authv3.AttributeContext_HttpRequest) {
				h.HeaderMap = &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: "upgrade", RawValue: []byte(x.upgrade)}}}
			},
			"value": func(h *authv3.AttributeContext_HttpRequest) {
				h.HeaderMap = &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: "Upgrade", Value: x.upgrade}}}
			},
			"map": func(h *authv3.AttributeContext_HttpRequest) { h.Headers = map[string]string{"upgrade": x.upgrade} },
		} {
			got := r.answer(t, ask(withRoute("none"), withPath("/a/b"), withMethod(x.method), func(a *authv3.AttributeContext) { put(a.GetRequest().GetHttp()) }))
			if got.Reason != x.want || (x.want == "upgrade_method") != (got.Code == 400) {
				t.Errorf("%s %q (%s): %d %s, want %s", x.method, x.upgrade, name, got.Code, got.Reason, x.want)
			}
		}
	}
}
