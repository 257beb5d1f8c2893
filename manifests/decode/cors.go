package decode

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// corsMaxAge is where the CRD has a default and a minimum of 1: an absent one is 5 seconds, a zero is refused.
const corsMaxAge = "spec.rules.filters.cors.maxAge"

// corsOrigin is the pattern of the CRD.
var corsOrigin = regexp.MustCompile(`^https?://(?:(?:\*\.)?(?:[a-zA-Z0-9-]+\.)*[a-zA-Z0-9-]+|\*)(?::([0-9]{1,5}))?$`)

// cors checks the filter by the words of the CRD.
func (c *checker) cors(at string, f *gatewayv1.HTTPCORSFilter) {
	if f == nil {
		return
	}
	c.corsList(at+".allowOrigins", texts(f.AllowOrigins), 64, true)
	for i, o := range f.AllowOrigins {
		c.corsOrigin(index(at+".allowOrigins", i), string(o))
	}
	c.corsList(at+".allowMethods", texts(f.AllowMethods), 9, true)
	for i, m := range f.AllowMethods {
		c.oneOf(index(at+".allowMethods", i), string(m), "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*")
	}
	c.corsList(at+".allowHeaders", lower(f.AllowHeaders), 64, true)
	c.corsHeaders(at+".allowHeaders", f.AllowHeaders)
	c.corsList(at+".exposeHeaders", lower(f.ExposeHeaders), 64, false)
	c.corsHeaders(at+".exposeHeaders", f.ExposeHeaders)
	if f.MaxAge < 1 {
		c.fail(at+".maxAge", "out-of-range", fmt.Sprintf("%d is out of range", f.MaxAge), "at least 1 second")
	}
}

// corsList checks what holds for each list: its length, no value twice, and "*" alone where the CRD says so.
func (c *checker) corsList(at string, values []string, most int, alone bool) {
	if len(values) > most {
		c.fail(at, "out-of-range", fmt.Sprintf("%d values", len(values)), fmt.Sprintf("at most %d", most))
	}
	seen := map[string]bool{}
	for i, v := range values {
		if seen[v] {
			c.fail(index(at, i), "duplicate-value", fmt.Sprintf("%q is given twice", v), "")
		}
		seen[v] = true
	}
	if alone && seen["*"] && len(values) > 1 {
		c.fail(at, "conflict", `"*" stands alone or not at all`, `remove "*" or all others`)
	}
}

func (c *checker) corsOrigin(at, origin string) {
	if origin == "*" {
		return
	}
	m := corsOrigin.FindStringSubmatch(origin)
	if m == nil || len(origin) > 253 {
		c.fail(at, "invalid-value", fmt.Sprintf("%q is not an origin", origin),
			`scheme, host and port as a browser sends them, without a path: "https://app.example.com", "https://*.example.com", "http://localhost:3000"`)
		return
	}
	if m[1] == "" {
		return
	}
	if port, err := strconv.Atoi(m[1]); err != nil || port < 1 || port > 65535 {
		c.fail(at, "out-of-range", fmt.Sprintf("%s is not a port", m[1]), "from 1 to 65535")
	}
}

func (c *checker) corsHeaders(at string, names []gatewayv1.HTTPHeaderName) {
	for i, name := range names {
		if !headerName.MatchString(string(name)) || len(name) > 256 {
			c.fail(index(at, i), "invalid-value", fmt.Sprintf("%q is not a name", name), `a token of RFC 9110, or "*"`)
		}
	}
}

func texts[T ~string](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

func lower(names []gatewayv1.HTTPHeaderName) []string {
	out := texts(names)
	for i := range out {
		out[i] = strings.ToLower(out[i])
	}
	return out
}
