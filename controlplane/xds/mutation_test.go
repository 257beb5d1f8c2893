package xds_test

import (
	"regexp"
	"strings"
	"testing"

	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	"pgregory.net/rapid"

	"github.com/credence-mesh/credence/policy"
)

// Envoy lets Check change exactly the headers that the compiler lets a policy name, and Check's own. A name that only one of the two
// takes is a request that ends with 500, or a header that Check could forge.
func TestMutationRulesAreTheCompilers(t *testing.T) {
	rules := &extauthzv3.ExtAuthz{}
	for _, m := range managers(t, translate(t, mesh(), proxies["gateway"])) {
		if at := authzPlace(m); at >= 0 {
			into(t, m.GetHttpFilters()[at].GetTypedConfig(), rules)
		}
	}
	d := rules.GetDecoderHeaderMutationRules()
	if !d.GetDisallowAll().GetValue() || !d.GetDisallowIsError().GetValue() {
		t.Fatalf("%v", d)
	}
	// Envoy matches the whole name.
	allow, deny := regexp.MustCompile(`\A(?:`+d.GetAllowExpression().GetRegex()+`)\z`), regexp.MustCompile(`\A(?:`+d.GetDisallowExpression().GetRegex()+`)\z`)
	check := func(name string) (mismatch string) {
		lets := allow.MatchString(name) && !deny.MatchString(name)
		own := name == "txn-token" || strings.HasPrefix(name, "x-credence-") && policy.ChangeableHeader("y"+name)
		if want := policy.ChangeableHeader(name) || own; lets != want {
			return name
		}
		return ""
	}
	words := []string{
		"host", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings", "expect", "range", "via", "date", "origin",
		"referer", "cookie", "forwarded", "x-real-ip", "x-request-id", "x-http-method", "x-http-method-override", "x-method-override", "x-original-url",
		"x-rewrite-url", "traceparent", "tracestate", "x-forwarded-for", "x-envoy-a", "grpc-timeout", "access-control-a", "sec-fetch-mode", "content-length",
		"content-type", "accept", "accept-language", "proxy-connection", "proxy-authorization", "if-match", "txn-token", "x-credence-subject", "x-credence-",
		"authorization", "dpop", "x-api-key", "x-user", "", "-", "a-", "-a", "a--b", "a_b", "A", ":path", "x", "x-forwarded", "x.y", "a b", "ifx", "secx", "acceptx", "x-accept",
	}
	for _, w := range words {
		if bad := check(w); bad != "" {
			t.Errorf("Envoy and the compiler disagree on %q", bad)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"", "x-", "x-forwarded-", "x-envoy-", "accept", "if", "sec-", "content-", "txn-token", "x-credence-"}).Draw(t, "prefix") +
			rapid.OneOf(rapid.SampledFrom(words), rapid.StringMatching(`[a-z0-9A-Z_.:-]{0,6}`)).Draw(t, "rest")
		if bad := check(name); bad != "" {
			t.Fatalf("Envoy and the compiler disagree on %q", bad)
		}
	})
}
