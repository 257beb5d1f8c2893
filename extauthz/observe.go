package extauthz

import (
	"slices"
	"strings"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/credence-mesh/credence/extauthz/txntoken"
	"github.com/credence-mesh/credence/policy/decide"
)

// observe adds to f what rules may look at beside method, host and path. No rule sees a credential: of headers that hold one only that they are
// there, and of the query all but the parameter that does.
func observe(a *authv3.AttributeContext, query string, o *offered, accepts *decide.Accepts, f *decide.Facts) {
	http := a.GetRequest().GetHttp()
	f.Scheme, f.ClientIP = http.GetScheme(), a.GetSource().GetAddress().GetSocketAddress().GetAddress()
	f.Query = query
	if o.query != "" {
		f.Query = withoutParameter(query, o.query)
	}
	add := func(name, value string) {
		if secretHeader(name, accepts) {
			value = ""
		}
		f.Headers = append(f.Headers, decide.Header{Name: name, Value: value})
	}
	var names []string
	for _, h := range http.GetHeaderMap().GetHeaders() {
		name := strings.ToLower(h.GetKey())
		if strings.HasPrefix(name, ":") || slices.Contains(names, name) {
			continue
		}
		names = append(names, name)
		for _, value := range headerValues(http, name) {
			add(name, value)
		}
	}
	for key := range http.GetHeaders() {
		name := strings.ToLower(key)
		if strings.HasPrefix(name, ":") || slices.Contains(names, name) {
			continue
		}
		names = append(names, name)
		for _, value := range headerValues(http, name) {
			add(name, value)
		}
	}
}

// secretHeader tells whether a header holds a credential, or may.
func secretHeader(name string, accepts *decide.Accepts) bool {
	switch name {
	case authorization, "proxy-authorization", txntoken.Header, dpopHeader:
		return true
	}
	return slices.ContainsFunc(accepts.HeaderKeys, func(p decide.KeyPlace) bool { return p.Name == name })
}

// withoutParameter is a query without the parameters of that name, spelled like that.
func withoutParameter(query, name string) string {
	var kept []string
	for pair := range strings.SplitSeq(query, "&") {
		if key, _, _ := strings.Cut(pair, "="); key != name {
			kept = append(kept, pair)
		}
	}
	return strings.Join(kept, "&")
}
