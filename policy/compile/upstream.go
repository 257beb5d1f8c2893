package compile

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
)

// said is what one policy says under one key of answers.
type said struct {
	value any
	level int
	by    *authPolicy
}

// answers joins what the policies in force say of requests that pass and of answers to those that don't. Keys are "<list>/<name>", or the
// field of a single value.
type answers struct {
	c    *compiler
	keys map[string]said
}

// Lists and fields of answers, as the manifest calls them.
const (
	saidCredential      = "upstream.credential" //nolint:gosec // the name of a field
	saidHeaders         = "upstream.headers"
	saidQuery           = "upstream.queryParameters"
	saidMetadata        = "upstream.metadata"
	saidRealm           = "responses.realm"
	saidUnauthenticated = "responses.unauthenticated"
	saidForbidden       = "responses.forbidden"
	saidUnavailable     = "responses.unavailable"
	saidResource        = "responses.resource"
)

// answer fills Upstream and Responses of a, whose Levels are complete: the innermost level wins by name, in one level the first policy.
func (c *compiler) answer(a *policy.Access) {
	all := answers{c: c, keys: make(map[string]said)}
	up := &policy.Upstream{}
	for i, l := range a.Levels {
		for _, n := range l.Policies {
			p := c.attached.byName[n]
			if p == nil {
				continue
			}
			all.upstream(p, i, up)
			all.responses(p, i)
		}
	}
	up.Forward = all.keys[saidCredential].value == v1alpha1.CredentialForward
	up.Headers, up.Query, up.Metadata = all.outputs(saidHeaders), all.outputs(saidQuery), all.outputs(saidMetadata)
	slices.Sort(up.Scopes)
	up.Scopes = slices.Compact(up.Scopes)
	slices.SortFunc(up.Claims, slices.Compare[[]string])
	up.Claims = slices.CompactFunc(up.Claims, slices.Equal[[]string])
	if !reflect.DeepEqual(up, &policy.Upstream{}) {
		a.Upstream = up
	}
	a.Responses = all.merged()
}

// say notes what p says. In one level nobody knows whose word counts: the first one's does, and it is told.
func (a *answers) say(key string, value any, level int, p *authPolicy) {
	old, ok := a.keys[key]
	if !ok || old.level < level {
		a.keys[key] = said{value, level, p}
		return
	}
	if old.by == p || reflect.DeepEqual(old.value, value) {
		return
	}
	field, name, _ := strings.Cut(key, "/")
	a.c.once(place{p.obj, "spec." + field}, "policies-differ", strings.TrimSpace(fmt.Sprintf("%s and %s are in force on the same target and differ in %s %s",
		old.by.obj.Key, p.obj.Key, field, name))+": the first one counts", "say it in one of them")
}

// once reports an error that many routes would repeat.
func (c *compiler) once(at place, code, message, hint string) {
	if key := at.obj.Key.String() + " " + at.field + " " + message; !c.attached.told[key] {
		c.attached.told[key] = true
		c.errorAt(at, code, message, hint)
	}
}

func (a *answers) upstream(p *authPolicy, level int, up *policy.Upstream) {
	u := p.value.Spec.Upstream
	if u == nil {
		return
	}
	if u.Credential != "" {
		a.say(saidCredential, u.Credential, level, p)
	}
	a.list(saidHeaders, u.Headers, level, p)
	a.list(saidQuery, u.QueryParameters, level, p)
	a.list(saidMetadata, u.Metadata, level, p)
	if t := u.InternalToken; t != nil {
		up.Scopes = append(up.Scopes, t.Scopes...)
		for i, pointer := range t.Claims {
			path, err := (&v1alpha1.ClaimOutput{Pointer: pointer}).Segments()
			if err != nil || len(path) == 0 {
				a.c.once(place{p.obj, fmt.Sprintf("spec.upstream.internalToken.claims[%d]", i)}, "invalid-pointer",
					fmt.Sprintf("%q leads to no claim: tokens do not carry it", pointer), "for example /realm_access/roles (RFC 6901)")
				continue
			}
			up.Claims = append(up.Claims, path)
		}
	}
}

func (a *answers) list(key string, list []v1alpha1.ClaimOutput, level int, p *authPolicy) {
	for i := range list {
		o := &list[i]
		at := place{p.obj, fmt.Sprintf("spec.%s[%d]", key, i)}
		out := policy.ClaimOutput{Name: o.Name, Field: o.Field}
		if key == saidHeaders {
			out.Name = strings.ToLower(o.Name)
			if !mayCarryClaim(out.Name) {
				a.c.once(at.at("name"), "header-reserved", fmt.Sprintf("%s may carry no claim: the service does not receive it", o.Name), "for example x-user-email")
				continue
			}
		}
		if o.Field == "" {
			path, err := o.Segments()
			if err != nil || len(path) == 0 {
				a.c.once(at, "invalid-pointer", fmt.Sprintf("%s leads to no claim: the service does not receive it", o.Name), "set claim or pointer")
				continue
			}
			out.Path = path
		}
		a.say(key+"/"+out.Name, out, level, p)
	}
}

// mayCarryClaim tells whether a claim may be put into a header of that name: none that holds a credential, nor any of those that proxies keep.
func mayCarryClaim(name string) bool {
	return policy.ChangeableHeader(name) && name != "authorization" && name != "dpop" && name != "txn-token"
}

// outputs of one list, by name.
func (a *answers) outputs(list string) []policy.ClaimOutput {
	var out []policy.ClaimOutput
	for _, key := range slices.Sorted(maps.Keys(a.keys)) {
		if o, ok := a.keys[key].value.(policy.ClaimOutput); ok && strings.HasPrefix(key, list+"/") {
			out = append(out, o)
		}
	}
	return out
}
