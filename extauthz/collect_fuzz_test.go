package extauthz_test

import (
	"context"
	"strings"
	"testing"

	"github.com/credence-mesh/credence/policy"
)

// Whatever stands in headers and query, at most one credential is verified, and a user is one that was.
func FuzzOneCredential(f *testing.F) {
	for _, s := range [][3]string{
		{"Bearer t", "", ""}, {"Bearer key-1", "k", "key=k&k=k"}, {"Basic YTpi", "", "%6bey=1"}, {"DPoP a,b", " ", "key=%2"}, {"", "a,b", "a&&=&key"}, {"bearer\tx", "\x00", "key=a=b"},
	} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, auth, key, query string) {
		verified := 0
		r := kindRig(t, func(policy.CredentialKind, string, []policy.Name) { verified++ })
		var offers []string
		if auth != "" {
			offers = append(offers, "authorization: "+auth)
		}
		if key != "" {
			offers = append(offers, "x-key: "+key)
		}
		for _, route := range []string{"user", "optional"} {
			verified = 0
			req := offer(route, offers...)
			req.Attributes.Request.Http.Path = "/x?" + query
			resp, err := r.Check(context.WithValue(context.Background(), proxyKey{}, edge), req)
			if err != nil {
				t.Fatal(err)
			}
			allowed := resp.GetOkResponse() != nil
			switch {
			case verified > 1, route == "user" && allowed && verified != 1:
				t.Fatalf("%s: %q %q %q: allowed %t, verified %d", route, auth, key, query, allowed, verified)
			case allowed && verified == 0 && (key != "" || strings.Contains("&"+query, "&key=")):
				t.Fatalf("%s: a key was passed over: %q %q %q", route, auth, key, query)
			}
		}
	})
}
