package decode_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// One row for each check of the CORS filter.
func TestCORSFilter(t *testing.T) {
	many := func(format string) string {
		var list []string
		for i := range 65 {
			list = append(list, fmt.Sprintf(format, i))
		}
		return "[" + strings.Join(list, ", ") + "]"
	}
	origins := ".allowOrigins[0] invalid-value"
	for cors, want := range map[string]string{
		`{}`:                          "",
		`{allowOrigins: ["*"]}`:       "",
		`{allowOrigins: [https://*]}`: "",
		`{allowOrigins: ["https://app.example.com", "http://localhost:3000", "https://*.example.com:8443", "http://127.0.0.1"]}`: "",
		`{allowOrigins: ["*", "https://a.test"]}`:              ".allowOrigins conflict",
		`{allowOrigins: ["https://a.test", "https://a.test"]}`: ".allowOrigins[1] duplicate-value",
		`{allowOrigins: [https://a.test/]}`:                    origins,
		`{allowOrigins: ["https://a.test/x"]}`:                 origins,
		`{allowOrigins: [a.test]}`:                             origins,
		`{allowOrigins: [ftp://a.test]}`:                       origins,
		`{allowOrigins: ["null"]}`:                             origins,
		`{allowOrigins: ["https://a.*.test"]}`:                 origins,
		`{allowOrigins: ["https://*a.test"]}`:                  origins,
		`{allowOrigins: ["https://.*"]}`:                       origins,
		`{allowOrigins: ["https://u@a.test"]}`:                 origins,
		`{allowOrigins: ["https://a.test:0"]}`:                 ".allowOrigins[0] out-of-range",
		`{allowOrigins: ["https://a.test:65536"]}`:             ".allowOrigins[0] out-of-range",
		`{allowOrigins: ` + many("https://a%d.test") + `}`:     ".allowOrigins out-of-range",
		`{allowMethods: [GET, PUT]}`:                           "",
		`{allowMethods: ["*"]}`:                                "",
		`{allowMethods: ["*", GET]}`:                           ".allowMethods conflict",
		`{allowMethods: [get]}`:                                ".allowMethods[0] unsupported-value",
		`{allowMethods: [GET, GET]}`:                           ".allowMethods[1] duplicate-value",
		`{allowHeaders: [Authorization, x-a]}`:                 "",
		`{allowHeaders: ["*", x-a]}`:                           ".allowHeaders conflict",
		`{allowHeaders: [x-a, X-A]}`:                           ".allowHeaders[1] duplicate-value",
		`{allowHeaders: ["a b"]}`:                              ".allowHeaders[0] invalid-value",
		`{allowHeaders: ` + many("x-%d") + `}`:                 ".allowHeaders out-of-range",
		`{exposeHeaders: ["*", x-a]}`:                          "",
		`{exposeHeaders: ["a,b"]}`:                             ".exposeHeaders[0] invalid-value",
		`{maxAge: 600, allowCredentials: true}`:                "",
		`{maxAge: -1}`:                                         ".maxAge out-of-range",
		`{maxAge: 0}`:                                          ".maxAge out-of-range",
	} {
		wants := []string{}
		if want != "" {
			wants = append(wants, "spec.rules[0].filters[0].cors"+want)
		}
		got := found("HTTPRoute", "{parentRefs: [{name: edge}], rules: [{filters: [{type: CORS, cors: "+cors+"}]}]}")
		if diff := cmp.Diff(wants, got); diff != "" {
			t.Errorf("%.200s (-want +got):\n%s", cors, diff)
		}
	}
	if got := found("HTTPRoute", "{parentRefs: [{name: edge}], rules: [{filters: [{type: CORS}]}]}"); !cmp.Equal(got, []string{"spec.rules[0].filters[0].cors required"}) {
		t.Errorf("without a body: %v", got)
	}
	both := "{parentRefs: [{name: edge}], rules: [{filters: [{type: CORS, cors: {}}, {type: RequestRedirect, requestRedirect: {scheme: https}}]}]}"
	if got := found("HTTPRoute", both); !cmp.Equal(got, []string{"spec.rules[0].filters conflict"}) {
		t.Errorf("with a redirect: %v", got)
	}
}
