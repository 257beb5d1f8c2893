package app

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/policy"
)

// keyHealth tells what the keys of token issuers mean for the product. At the start, requests wait for the first keys of every issuer: a
// load balancer should not send them here before. Later an issuer that is down harms its own tokens alone, and the product stays in service.
// Safe for concurrent use.
type keyHealth struct {
	keys *jwks.Keys
	// started is set once the product has been ready.
	started atomic.Bool
}

// noneUsable: the document is there.
const noneUsable = "the issuer publishes none that can verify"

// notReady lists the issuers whose first keys are waited for. others is what else is missing.
func (h *keyHealth) notReady(others []string) []string {
	if h.started.Load() {
		return others
	}
	out := others
	for _, k := range h.keys.Status() {
		why := "they are being fetched"
		if !k.Updated.IsZero() {
			why = noneUsable
		}
		if !k.Had {
			out = append(out, fmt.Sprintf("issuer %s has no keys yet: %s", k.Issuer, orElse(k.Failure, why)))
		}
	}
	if len(out) == 0 {
		h.started.Store(true)
	}
	return out
}

// degraded lists what does not keep the product from being ready, and should be looked at.
func (h *keyHealth) degraded() []string {
	var out []string
	for _, k := range h.keys.Status() {
		why := orElse(k.Failure, noneUsable)
		switch {
		case k.Keys == 0:
			out = append(out, fmt.Sprintf("issuer %s has no keys, its tokens are refused: %s", k.Issuer, why))
		case k.Failure != "" && !k.Until.IsZero():
			out = append(out, fmt.Sprintf("issuer %s is judged by keys of %s, until %s: %s",
				k.Issuer, k.Updated.UTC().Format(time.RFC3339), k.Until.UTC().Format(time.RFC3339), why))
		case k.Failure != "":
			out = append(out, fmt.Sprintf("issuer %s is judged by keys of %s: %s", k.Issuer, k.Updated.UTC().Format(time.RFC3339), why))
		}
	}
	return out
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// issuerStatus is what Status tells of the issuers of set.
func issuerStatus(set *policy.Set, keys *jwks.Keys) []admin.Issuer {
	byName := map[policy.Name]*policy.Issuer{}
	for i := range set.Issuers {
		byName[set.Issuers[i].Name] = &set.Issuers[i]
	}
	out := []admin.Issuer{}
	for _, k := range keys.Status() {
		a := admin.Issuer{
			Name: k.Issuer.String(), Keys: k.Keys, Updated: k.Updated, Next: k.Next, Until: k.Until,
			Restored: k.Restored, Skipped: k.Skipped, Error: k.Failure,
		}
		if i := byName[k.Issuer]; i != nil {
			a.Issuer, a.More = i.URL(), len(i.Issuers)-1
		}
		out = append(out, a)
	}
	return out
}
