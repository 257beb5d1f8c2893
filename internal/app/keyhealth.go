package app

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/credence-mesh/credence/extauthz/basic"
	"github.com/credence-mesh/credence/extauthz/introspect"
	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/policy"
)

// keyHealth tells what the keys of token issuers mean for the product. At the start, requests wait for the first keys of every issuer: a
// load balancer should not send them here before. Later an issuer that is down harms its own tokens alone, and the product stays in service.
// Safe for concurrent use.
type keyHealth struct {
	keys *jwks.Keys
	// opaque are issuers that are asked instead; nil: none.
	opaque *introspect.Verifier
	// passwords are users of Credentials; nil: none.
	passwords *basic.Verifier
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
	for _, i := range h.introspections() {
		// Whether its server answers is told by requests alone, which must not be waited for.
		if i.Local != "" {
			out = append(out, fmt.Sprintf("issuer %s can't be asked about tokens: %s", i.Issuer, i.Local))
		}
	}
	for _, u := range h.users() {
		if !u.Usable {
			out = append(out, fmt.Sprintf("the users of Credentials %s are not known: %s", u.Credentials, u.Problem))
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
	for _, i := range h.introspections() {
		if why := orElse(i.Local, i.Failure); why != "" {
			out = append(out, fmt.Sprintf("issuer %s gives no sound answer about its tokens, so they can't be told: %s", i.Issuer, why))
		}
	}
	for _, u := range h.users() {
		switch {
		case !u.Usable:
			out = append(out, fmt.Sprintf("the users of Credentials %s are not known, so they can't be told: %s", u.Credentials, u.Problem))
		case u.Problem != "":
			out = append(out, fmt.Sprintf("the users of Credentials %s need mending, what was good last is in use: %s", u.Credentials, u.Problem))
		}
	}
	return out
}

func (h *keyHealth) users() []basic.Status {
	if h.passwords == nil {
		return nil
	}
	return h.passwords.Status()
}

func (h *keyHealth) introspections() []introspect.Status {
	if h.opaque == nil {
		return nil
	}
	return h.opaque.Status()
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// issuerStatus is what Status tells of the issuers of set.
func issuerStatus(set *policy.Set, h *keyHealth) []admin.Issuer {
	byName := map[policy.Name]*policy.Issuer{}
	for i := range set.Issuers {
		byName[set.Issuers[i].Name] = &set.Issuers[i]
	}
	out := []admin.Issuer{}
	for _, k := range h.keys.Status() {
		a := admin.Issuer{
			Name: k.Issuer.String(), Keys: k.Keys, Updated: k.Updated, Next: k.Next, Until: k.Until,
			Restored: k.Restored, Skipped: k.Skipped, Error: k.Failure,
		}
		if i := byName[k.Issuer]; i != nil {
			a.Issuer, a.More = i.URL(), len(i.Issuers)-1
		}
		out = append(out, a)
	}
	for _, i := range h.introspections() {
		at := slices.IndexFunc(out, func(a admin.Issuer) bool { return a.Name == i.Issuer.String() })
		if at < 0 {
			at = len(out)
			out = append(out, admin.Issuer{Name: i.Issuer.String(), Updated: i.Answered})
			if c := byName[i.Issuer]; c != nil {
				out[at].Issuer = c.URL()
			}
		}
		out[at].Introspection = i.URL
		out[at].Error = orElse(out[at].Error, orElse(i.Local, i.Failure))
	}
	slices.SortFunc(out, func(a, b admin.Issuer) int { return strings.Compare(a.Name, b.Name) })
	return out
}
