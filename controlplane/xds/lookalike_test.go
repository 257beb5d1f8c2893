package xds_test

import (
	"regexp"
	"strings"
	"testing"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
)

// dropsPrefixOf tells whether m drops a name by how it begins.
func dropsPrefixOf(t *testing.T, m *hcmv3.HttpConnectionManager, name string) bool {
	t.Helper()
	early := &earlyv3.HeaderMutation{}
	into(t, m.GetEarlyHeaderMutationExtensions()[0].GetTypedConfig(), early)
	for _, x := range early.GetMutations() {
		if p := x.GetRemoveOnMatch().GetKeyMatcher().GetPrefix(); p != "" && strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// TestLookalikesGoEarly: every manager drops the names that some server reads as one of ours, and no name that is itself or a stranger's.
func TestLookalikesGoEarly(t *testing.T) {
	for c, proxy := range proxies {
		for where, m := range managers(t, translate(t, mesh(), proxy)) {
			early := &earlyv3.HeaderMutation{}
			into(t, m.GetEarlyHeaderMutationExtensions()[0].GetTypedConfig(), early)
			var all []*regexp.Regexp
			for _, x := range early.GetMutations() {
				if e := x.GetRemoveOnMatch().GetKeyMatcher().GetSafeRegex().GetRegex(); e != "" {
					all = append(all, regexp.MustCompile("^(?:"+e+")$"))
				}
			}
			prefixed := func(name string) bool { return dropsPrefixOf(t, m, name) }
			dropped := func(name string) bool {
				for _, e := range all {
					if e.MatchString(name) {
						return true
					}
				}
				return false
			}
			for _, name := range []string{
				"x-credence-subject", "x-credence-", "x-envoy-original-path", "txn-token", "proxy-authorization", "x-http-method-override", "x-http-method",
				"x-method-override", "x-original-url", "x-rewrite-url", "x-forwarded-for", "x-forwarded-client-cert", "content-length", "transfer-encoding",
			} {
				for _, odd := range "_.~!#$%&'*+^`|" {
					for i := range strings.Count(name, "-") {
						spelling := []byte(name)
						at := 0
						for range i + 1 {
							at += strings.IndexByte(name[at:], '-') + 1
						}
						spelling[at-1] = byte(odd)
						all := strings.ReplaceAll(name, "-", string(odd))
						if (prefixed(string(spelling)) || dropped(string(spelling))) && dropped(all) {
							continue
						}
						t.Errorf("%s %s: %s or %s stays", c, where, spelling, all)
					}
				}
				if dropped(name) {
					t.Errorf("%s %s: %s is ours to keep or to remove by its name", c, where, name)
				}
			}
			for _, name := range []string{"x_trace_id", "x-request_id", "xcredence.subject", "x.credential", "x-credences.a", "my.x-credence.a", "txn.tokens", "authorization"} {
				if dropped(name) {
					t.Errorf("%s %s: %s goes", c, where, name)
				}
			}
		}
	}
}
