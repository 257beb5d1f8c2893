package jwks

import (
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/credence-mesh/credence/policy"
)

// RememberUnknown remembers n unknown kids, d apart, and returns how many are held then.
func RememberUnknown(n int, d time.Duration) int {
	var u unknownKids
	now := time.Unix(0, 0)
	for i := range n {
		u.add(kidOf(strconv.Itoa(i), "RS256"), now)
		now = now.Add(d)
	}
	if len(u.byKid) != u.order.Len() {
		return -1
	}
	return len(u.byKid)
}

// KeysURL is what a source of the issuer https://idp.example takes for the address of its keys, by this answer to the metadata.
func KeysURL(body []byte, insecure bool) (string, error) {
	const at = "https://idp.example/.well-known/openid-configuration"
	k := New(Options{Log: slog.New(slog.DiscardHandler)})
	from := policy.KeySource{Discovery: at, DiscoveryIssuer: "https://idp.example", Insecure: insecure}
	f := k.newFetcher(k.newSource(policy.Issuer{Issuers: []string{"https://idp.example"}, Keys: from}, &counts{}))
	u, err := parseURL(at, false)
	if err != nil {
		return "", err
	}
	keys, err := f.metadata(response{body: body, header: http.Header{}}, u)
	if err != nil {
		return "", err
	}
	return keys.String(), nil
}
