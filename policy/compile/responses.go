package compile

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
)

// wellKnown is where the metadata of protected resources is (RFC 9728 §3.1).
const wellKnown = "/.well-known/oauth-protected-resource"

// maxDocument is what Envoy takes as the body of a direct response.
const maxDocument = 4096

// resource is the metadata of one policy.
type resource struct {
	by *authPolicy
	// host and path of the identifier, without port.
	host, path string
	document   policy.Document
	// served: some virtual host has it.
	served bool
}

func (a *answers) responses(p *authPolicy, level int) {
	r := p.value.Spec.Responses
	if r == nil {
		return
	}
	if r.Realm != "" {
		a.say(saidRealm, r.Realm, level, p)
	}
	for key, one := range map[string]*v1alpha1.PolicyResponse{saidUnauthenticated: r.Unauthenticated, saidForbidden: r.Forbidden, saidUnavailable: r.Unavailable} {
		if one != nil {
			a.say(key, a.response(one, place{p.obj, "spec." + key}), level, p)
		}
	}
	if r.Resource != nil {
		if link := a.c.resource(p); link != "" {
			a.say(saidResource, link, level, p)
		}
	}
}

func (a *answers) response(r *v1alpha1.PolicyResponse, at place) *policy.Response {
	out := &policy.Response{ContentType: r.ContentType, Body: r.Body}
	if r.Status != nil {
		out.Status = int(*r.Status)
	}
	for i, h := range r.Headers {
		if policy.ReservedHeader(h.Name) {
			a.c.once(at.at("headers[%d].name", i), "header-reserved", h.Name+" is not for a policy to set: it is left out", "")
			continue
		}
		out.Headers = append(out.Headers, policy.NameValue{Name: strings.ToLower(h.Name), Value: h.Value})
	}
	slices.SortFunc(out.Headers, func(a, b policy.NameValue) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// merged is nil where no policy says anything.
func (a *answers) merged() *policy.Responses {
	out := &policy.Responses{}
	out.Realm, _ = a.keys[saidRealm].value.(string)
	out.Resource, _ = a.keys[saidResource].value.(string)
	out.Unauthenticated, _ = a.keys[saidUnauthenticated].value.(*policy.Response)
	out.Forbidden, _ = a.keys[saidForbidden].value.(*policy.Response)
	out.Unavailable, _ = a.keys[saidUnavailable].value.(*policy.Response)
	if *out == (policy.Responses{}) {
		return nil
	}
	return out
}

// metadata is the document of RFC 9728 §2.
type metadata struct {
	Resource             string   `json:"resource"`
	AuthorizationServers []string `json:"authorization_servers,omitempty"`
	Scopes               []string `json:"scopes_supported,omitempty"`
	BearerMethods        []string `json:"bearer_methods_supported"`
	Name                 string   `json:"resource_name,omitempty"`
}

// resource is the URL of the metadata of p, which is made once; empty: there is none, and it was told why.
func (c *compiler) resource(p *authPolicy) string {
	in := p.value.Spec.Responses.Resource
	at := place{p.obj, "spec.responses.resource"}
	if c.gatewayPeers {
		c.once(at, "resource-not-served", "the proxies of another control plane serve no metadata of ours: challenges do not name it", "serve it by a route of theirs")
		return ""
	}
	u, err := url.Parse(in.Identifier) //nolint:forbidigo // an operator's URL, no request target
	if err != nil || u.Host == "" {
		c.once(at.at("identifier"), "invalid-url", fmt.Sprintf("%q is not the identifier of a resource", in.Identifier), "")
		return ""
	}
	path := strings.TrimSuffix(u.Path, "/")
	if path != "" {
		path = u.Path
	}
	link := "https://" + u.Host + wellKnown + path
	first := c.attached.resources[link]
	if first != nil && first.by == p {
		return link
	}
	m := metadata{Resource: in.Identifier, Scopes: slices.Clone(in.Scopes), BearerMethods: []string{"header"}, Name: in.Name}
	for i := range c.set.Issuers {
		if slices.Contains(c.attached.issuers[p.name], c.set.Issuers[i].Name) {
			m.AuthorizationServers = append(m.AuthorizationServers, c.set.Issuers[i].Issuers...)
		}
	}
	if len(m.Scopes) == 0 {
		for _, r := range p.rules {
			if r.Action == policy.Allow {
				m.Scopes = slices.Concat(m.Scopes, r.AllScopes, r.AnyScopes)
			}
		}
	}
	for _, list := range []*[]string{&m.AuthorizationServers, &m.Scopes} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	body, err := json.Marshal(m)
	if err != nil || len(body) > maxDocument {
		c.once(at, "resource-not-served", fmt.Sprintf("the metadata takes %d bytes, more than %d: it is not served", len(body), maxDocument), "name fewer scopes or issuers")
		return ""
	}
	out := &resource{
		by: p, host: strings.ToLower(u.Hostname()), path: path,
		document: policy.Document{Path: wellKnown + path, ContentType: "application/json", Body: string(body)},
	}
	switch {
	case first == nil:
		c.attached.resources[link] = out
	case first.document != out.document:
		c.onceWarn(at, "resource-conflict", fmt.Sprintf("%s and %s describe the resource at %s differently: the metadata is of the first",
			first.by.obj.Key, p.obj.Key, link), "give both the same identifier, name and scopes")
	}
	return link
}

// documents are what host serves of the metadata that its routes' challenges name. Where a link would lead to another host, clients would
// have to refuse the document (RFC 9728 §3.3): the routes lose the link, and it is told.
func (c *compiler) documents(host string, routes []policy.Route) []policy.Document {
	var out []policy.Document
	for i := range routes {
		a := &routes[i].Access
		if a.Responses == nil || a.Responses.Resource == "" {
			continue
		}
		r := c.attached.resources[a.Responses.Resource]
		at := place{r.by.obj, "spec.responses.resource.identifier"}
		if host != "*" && host != r.host && !covers(host, r.host) {
			without := *a.Responses
			without.Resource = ""
			if a.Responses = &without; without == (policy.Responses{}) {
				a.Responses = nil
			}
			c.onceWarn(at, "resource-elsewhere", fmt.Sprintf("routes of host %s name no metadata: the resource is of host %s", host, r.host),
				"give each host a policy with a resource of its own")
			continue
		}
		if !fits(&routes[i].Match, r.path) {
			c.onceWarn(at, "resource-elsewhere", fmt.Sprintf("%s of %s does not lie below the resource's path %s", routes[i].Origin.Rule, routes[i].Origin.Name, r.path),
				"name the path that all routes of the policy begin with")
		}
		r.served = true
		j := slices.IndexFunc(out, func(d policy.Document) bool { return d.Path == r.document.Path })
		switch {
		case j < 0:
			out = append(out, r.document)
		case out[j] != r.document:
			c.once(at, "resource-conflict", fmt.Sprintf("host %s has metadata of another resource at %s: this one is not served there", host, r.document.Path),
				"give the resources different paths, or the routes different hosts")
		}
	}
	slices.SortFunc(out, func(a, b policy.Document) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// fits tells whether a route can have requests below path.
func fits(m *policy.RouteMatch, path string) bool {
	if m.PathKind == policy.PathRegex || path == "" {
		return true
	}
	under := func(a, b string) bool {
		a = strings.TrimSuffix(a, "/")
		return b == a || strings.HasPrefix(b, a+"/")
	}
	return under(path, m.Path) || m.PathKind == policy.PathPrefix && under(m.Path, path)
}

func (c *compiler) onceWarn(at place, code, message, hint string) {
	if key := at.obj.Key.String() + " " + at.field + " " + message; !c.attached.told[key] {
		c.attached.told[key] = true
		c.warnAt(at, code, message, hint)
	}
}

// lintResources tells of metadata that nobody serves.
func (c *compiler) lintResources() {
	for _, p := range c.attached.all {
		r := p.value.Spec.Responses
		if r == nil || r.Resource == nil || c.gatewayPeers {
			continue
		}
		for _, served := range c.attached.resources {
			if served.by == p && !served.served {
				c.once(place{p.obj, "spec.responses.resource.identifier"}, "resource-not-served",
					fmt.Sprintf("no route of the policy is on host %s: nobody serves the metadata", served.host), "look at the hostnames of the routes and listeners")
			}
		}
	}
}
