package extauthz_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
)

// The page's policy permits its one style by hash and nothing else; whatever the reason holds is text in it.
func TestPage(t *testing.T) {
	r := newRig(t)
	asHTML := func(a *authv3.AttributeContext) {
		m := a.Request.Http.HeaderMap
		m.Headers = append(m.Headers, &corev3.HeaderValue{Key: "accept", RawValue: []byte("text/html")})
	}
	set := orders()
	set.Policies[2].Rules[0].AllScopes = []string{`<script>"x"&`}
	r.Publish(set, 2)
	resp, err := r.Check(context.Background(), ask(withAuth("Bearer alice~x"), asHTML))
	if err != nil {
		t.Fatal(err)
	}
	page := resp.GetDeniedResponse().GetBody()
	_, rest, _ := strings.Cut(page, "<style>")
	style, rest, found := strings.Cut(rest, "</style>")
	if !found || strings.Contains(rest, "<style") || strings.Contains(page, "style=") || strings.Contains(strings.ToLower(page), "<script") {
		t.Fatalf("%s", page)
	}
	sum := sha256.Sum256([]byte(style))
	policy := ""
	for _, h := range resp.GetDeniedResponse().GetHeaders() {
		if h.GetHeader().GetKey() == "content-security-policy" {
			policy = h.GetHeader().GetValue()
		}
	}
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if policy != want {
		t.Errorf("content-security-policy %s, want %s", policy, want)
	}
	for _, text := range []string{"<h1><span>403</span> Forbidden</h1>", "&lt;script&gt;&#34;x&#34;&amp;", "<code>insufficient_scope</code>"} {
		if !strings.Contains(page, text) {
			t.Errorf("no %s in %s", text, page)
		}
	}
}
