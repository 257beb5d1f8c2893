package decide

import (
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/condition"
)

// conditions are the programs of all conditions of a Set, by their source. One that is not in it can't be compiled.
type conditions map[string]*condition.Program

func conditionsOf(set *policy.Set) conditions {
	var compiler *condition.Compiler
	out := conditions{}
	for i := range set.Policies {
		for j := range set.Policies[i].Rules {
			source := set.Policies[i].Rules[j].Condition
			if source == "" || out[source] != nil {
				continue
			}
			if compiler == nil {
				c, err := condition.NewCompiler()
				if err != nil {
					return out // no condition can be told: allow rules that have one hold for nobody, deny rules for everybody
				}
				compiler = c
			}
			if p, err := compiler.Compile(source); err == nil {
				out[source] = p
			}
		}
	}
	return out
}

// denies tells whether what can't be told must make the rule hold.
func (c *compiled) denies() bool { return c.rule.Action != policy.Allow }

// holds evaluates the rule's condition. One that can't be told is false for an allow rule and true for a deny rule.
func (c *compiled) holds(f *Facts) bool {
	switch {
	case c.rule.Condition == "":
		return true
	case c.condition == nil:
		return c.denies()
	case !c.condition.Uses().ReadsParams || len(c.rule.To) == 0:
		return c.evaluate(f, nil)
	}
	for i := range c.rule.To {
		op := &c.rule.To[i]
		if !c.matchesMessage(op, f) {
			continue
		}
		if len(op.Paths) == 0 && c.evaluate(f, nil) {
			return true
		}
		for j := range op.Paths {
			if p := &op.Paths[j]; matchesPath(p, f) && c.evaluate(f, paramsOf(p, f)) {
				return true
			}
		}
	}
	return false
}

func (c *compiled) evaluate(f *Facts, params map[string]string) bool {
	in := &condition.Input{
		Method: f.Method, Scheme: f.Scheme, Host: f.Host, Query: f.Query, IP: f.ClientIP, Segments: f.Segments, Slash: f.Slash,
		OneReading: !c.denies(), Params: params, Time: f.Now, Peer: f.Peer,
		Headers: func(yield func(string, string) bool) {
			for _, h := range f.Headers {
				if !yield(h.Name, h.Value) {
					return
				}
			}
		},
	}
	// Whom the policy does not accept is nobody to its rules: another issuer's "admin" is not this one's.
	if u := f.User; c.accepts(u) {
		in.User = &condition.User{
			Subject: u.Subject, Issuer: u.IssuerURL, Client: u.Client, Credential: u.Credential.String(), ACR: u.ACR, TokenID: u.TokenID,
			Service: u.Service, Scopes: u.Scopes, Roles: u.Roles, Groups: u.Groups, AuthTime: u.AuthTime, IssuedAt: u.IssuedAt,
			Expires: u.Expires, Claims: u.Claims,
		}
	}
	holds, err := c.condition.Holds(in)
	if err != nil {
		return c.denies()
	}
	return holds
}

// paramsOf are the values of the path's variables.
func paramsOf(p *policy.PathPattern, f *Facts) map[string]string {
	var out map[string]string
	for i, name := range p.Variables {
		if name == "" || i >= len(f.Segments) {
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = f.Segments[i]
	}
	return out
}
