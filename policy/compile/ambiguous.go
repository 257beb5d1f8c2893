package compile

import (
	"fmt"
	"slices"

	"github.com/credence-mesh/credence/policy"
)

// accepted are the Credentials that a policy accepts users of by password and by key.
type accepted struct{ basic, keys []policy.Name }

func acceptedBy(p *policy.Policy) accepted {
	out := accepted{basic: p.Basic}
	for i := range p.APIKeys {
		out.keys = append(out.keys, p.APIKeys[i].Credentials)
	}
	return out
}

// warnSameUser tells of a user, or a key, that several of the Credentials have that policies of a accept: the policies could mean one or the
// other. It is told once for the same Credentials. Names in htpasswd files are not known here.
func (c *compiler) warnSameUser(a *policy.Access, at place) {
	var basic, keys []policy.Name
	for _, l := range a.Levels {
		for _, p := range l.Policies {
			basic = append(basic, c.attached.accepted[p].basic...)
			keys = append(keys, c.attached.accepted[p].keys...)
		}
	}
	c.warnTwice("basic", basic, at, func(in *policy.Credentials, has func(string)) {
		for i := range in.Users {
			has(fmt.Sprintf("a user %q: nobody passes as that user", in.Users[i].Name))
		}
	})
	c.warnTwice("keys", keys, at, func(in *policy.Credentials, has func(string)) {
		for i := range in.APIKeys {
			has(fmt.Sprintf("the key whose sha256 begins with %.8s: it may speak for either subject", in.APIKeys[i].SHA256))
		}
	})
}

// warnTwice tells of what each, which looks at that kind of credential, says of more than one of the Credentials in names.
func (c *compiler) warnTwice(kind string, names []policy.Name, at place, each func(*policy.Credentials, func(string))) {
	sortNames(names)
	names = slices.Compact(names)
	if len(names) < 2 || c.attached.compared[fmt.Sprint(kind, names)] {
		return
	}
	c.attached.compared[fmt.Sprint(kind, names)] = true
	first := make(map[string]policy.Name)
	for _, n := range names {
		each(c.credentialsOf(n), func(what string) {
			if o, ok := first[what]; ok && o != n {
				c.warnAt(at, "user-ambiguous", fmt.Sprintf("policies in force here accept %s and %s, which both have %s", o, n, what), "keep it in one of them")
				return
			}
			first[what] = n
		})
	}
}

// credentialsOf are the compiled Credentials n; empty where there are none.
func (c *compiler) credentialsOf(n policy.Name) *policy.Credentials {
	for i := range c.set.Credentials {
		if c.set.Credentials[i].Name == n {
			return &c.set.Credentials[i]
		}
	}
	return &policy.Credentials{}
}
