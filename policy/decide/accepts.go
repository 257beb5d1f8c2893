package decide

import (
	"slices"
	"strings"

	"github.com/credence-mesh/credence/policy"
)

// Accepts is what a route reads to tell who the user is: what some policy of any of its levels accepts. Slices are sorted, shared, and
// only read.
type Accepts struct {
	// Issuers of bearer tokens.
	Issuers []policy.Name
	// Basic are the Credentials whose users may send a password; Realms are those of their challenges, without repeats.
	Basic  []policy.Name
	Realms []string
	// BearerKeys are the Credentials whose API keys may come as Authorization: Bearer KEY; HeaderKeys and QueryKeys are those of each header
	// (in lower case) and query parameter.
	BearerKeys            []policy.Name
	HeaderKeys, QueryKeys []KeyPlace
	// Keys are the Credentials of all three.
	Keys []policy.Name
	// Certificates are the Credentials of clients by their certificates.
	Certificates []policy.Name
	// Internal: internal tokens of this mesh.
	Internal bool
}

// KeyPlace is a header or a query parameter that may hold an API key of Credentials.
type KeyPlace struct {
	Name        string
	Credentials []policy.Name
}

// Authorization tells whether the header of that name is read.
func (a *Accepts) Authorization() bool {
	return len(a.Issuers)+len(a.Basic)+len(a.BearerKeys) > 0
}

// APIKeys tells whether API keys are accepted, wherever they are.
func (a *Accepts) APIKeys() bool { return len(a.Keys) > 0 }

// Any tells whether any credential of a user is read.
func (a *Accepts) Any() bool {
	return a.Authorization() || a.APIKeys() || len(a.Certificates) > 0 || a.Internal
}

// add joins what p accepts to a.
func (a *Accepts) add(p *policy.Policy) {
	a.Issuers = append(a.Issuers, p.Issuers...)
	a.Basic = append(a.Basic, p.Basic...)
	a.Certificates = append(a.Certificates, p.ClientCertificates...)
	a.Internal = a.Internal || p.InternalTokens
	for _, u := range p.APIKeys {
		a.Keys = append(a.Keys, u.Credentials)
		if u.Bearer {
			a.BearerKeys = append(a.BearerKeys, u.Credentials)
		}
		if u.Header != "" {
			a.HeaderKeys = append(a.HeaderKeys, KeyPlace{u.Header, []policy.Name{u.Credentials}})
		}
		if u.Query != "" {
			a.QueryKeys = append(a.QueryKeys, KeyPlace{u.Query, []policy.Name{u.Credentials}})
		}
	}
}

// sort makes the order that is promised. realms are those of all Credentials.
func (a *Accepts) sort(realms map[policy.Name]string) {
	a.Issuers, a.Basic, a.Certificates = sortNames(a.Issuers), sortNames(a.Basic), sortNames(a.Certificates)
	a.Keys = sortNames(a.Keys)
	a.BearerKeys, a.HeaderKeys, a.QueryKeys = sortNames(a.BearerKeys), joinPlaces(a.HeaderKeys), joinPlaces(a.QueryKeys)
	for _, n := range a.Basic {
		if r := realms[n]; !slices.Contains(a.Realms, r) {
			a.Realms = append(a.Realms, r)
		}
	}
}

func joinPlaces(places []KeyPlace) []KeyPlace {
	slices.SortStableFunc(places, func(a, b KeyPlace) int { return strings.Compare(a.Name, b.Name) })
	var out []KeyPlace
	for _, p := range places {
		if n := len(out); n > 0 && out[n-1].Name == p.Name {
			out[n-1].Credentials = sortNames(append(out[n-1].Credentials, p.Credentials...))
			continue
		}
		out = append(out, p)
	}
	return out
}

// Accepts is what the route reads to tell who the user is.
func (r *Route) Accepts() *Accepts { return &r.accepts }

// Upstream is what the service behind receives; nil: see policy.Access.
func (r *Route) Upstream() *policy.Upstream { return r.access.Upstream }

// Responses change what clients are told; nil: nothing is changed.
func (r *Route) Responses() *policy.Responses { return r.access.Responses }

// accepts tells whether the policy accepts u's credential. A kind that this version does not know is accepted by none.
func (c *compiled) accepts(u *User) bool {
	if u == nil {
		return false
	}
	switch u.Credential {
	case policy.BearerToken:
		return slices.Contains(c.policy.Issuers, u.Issuer)
	case policy.Basic:
		return slices.Contains(c.policy.Basic, u.Issuer)
	case policy.APIKey:
		for i := range c.policy.APIKeys {
			if c.policy.APIKeys[i].Credentials == u.Issuer {
				return true
			}
		}
		return false
	case policy.ClientCertificate:
		return slices.Contains(c.policy.ClientCertificates, u.Issuer)
	case policy.InternalToken:
		return c.policy.InternalTokens
	case policy.NoCredential, policy.PeerIdentity:
		return false
	}
	return false
}

// isKind tells whether the credential is of a kind that the rule asks for.
func (c *compiled) isKind(u *User) bool {
	if c.byItself() {
		return u.Credential != policy.InternalToken
	}
	return len(c.rule.Credentials) == 0 || slices.Contains(c.rule.Credentials, u.Credential)
}

// byItself tells whether the rule lets a workload call by itself. It must not speak for a user then: an internal token that it came by would
// be passed on as good, and be worth whatever its user may do.
func (c *compiled) byItself() bool {
	return c.rule.NeedsPeer && !c.needsUser && len(c.rule.Credentials) == 0
}

// matchesIdentity tells whether the caller has proved who it is in a way that the rule asks for: a user where one is needed; elsewhere
// nothing, or a workload with NeedsPeer and without an internal token, or a user of one of Credentials.
func (c *compiled) matchesIdentity(f *Facts) bool {
	switch {
	case c.needsUser:
		return (!c.rule.NeedsPeer || f.Peer != "") && c.matchesUser(f)
	case f.User != nil && len(c.rule.Credentials) > 0:
		return c.accepts(f.User) && c.isKind(f.User)
	case f.User != nil && !c.isKind(f.User):
		return false
	}
	return !c.rule.NeedsPeer || f.Peer != ""
}
