package compile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
)

// authPolicy is one AuthPolicy on its way into the Set.
type authPolicy struct {
	item[v1alpha1.AuthPolicy]
	override bool
	rules    []rule
	targets  []target
}

// rule is a compiled rule and its index in the manifest.
type rule struct {
	policy.Rule
	index int
	// unreadable: the policy accepts no credential at all, so there is never a user.
	unreadable bool
}

func (p *authPolicy) hasOperations() bool {
	return slices.ContainsFunc(p.rules, func(r rule) bool { return len(r.To) > 0 })
}

// usePolicies compiles every AuthPolicy and attaches it to its targets.
func (c *compiler) usePolicies() {
	c.set.Policies = []policy.Policy{}
	c.attached = attachments{
		byTarget:        make(map[target][]*authPolicy),
		deniedTarget:    make(map[target]string),
		deniedNamespace: make(map[string]string),
		unguarded:       make(map[string]string),
		reached:         make(map[target]int),
		served:          make(map[target][]served),
		access:          make(map[accessKey]policy.Access),
		issuers:         make(map[policy.Name][]policy.Name),
		accepted:        make(map[policy.Name]accepted),
		compared:        make(map[string]bool),
		byName:          make(map[policy.Name]*authPolicy),
		resources:       make(map[string]*resource),
		told:            make(map[string]bool),
	}
	c.denyForMissing()
	for _, it := range c.policies {
		p := &authPolicy{item: it, override: it.value.Spec.Override == v1alpha1.OverrideAllowed}
		out := policy.Policy{Name: it.name, Rules: []policy.Rule{}}
		c.policyIssuers(p, &out)
		c.policyCredentials(p, &out)
		c.attached.issuers[it.name] = out.Issuers
		c.attached.accepted[it.name] = acceptedBy(&out)
		c.policyRules(p)
		for _, r := range p.rules {
			out.Rules = append(out.Rules, r.Rule)
		}
		c.set.Policies = append(c.set.Policies, out)
		c.attached.all = append(c.attached.all, p)
		c.attached.byName[it.name] = p
		for i := range it.value.Spec.TargetRefs {
			c.attachPolicy(p, i)
		}
	}
}

// denyForMissing denies what a policy without a last good version may target. Its targets cannot be read, but they lie in its own
// namespace, and the Mesh for the namespace whose policies may target that.
func (c *compiler) denyForMissing() {
	keys := make([]manifests.Key, 0, len(c.missing))
	for k := range c.missing {
		if k.Group == v1alpha1.Group && k.Kind == v1alpha1.KindAuthPolicy {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, manifests.Key.Compare)
	for _, k := range keys {
		what := "every route and port of namespace " + k.Namespace
		if k.Namespace == metav1.NamespaceDefault {
			what = "every route and port of the mesh"
		}
		reason := fmt.Sprintf("%s is invalid and has no last good version: whatever it targets is denied, so %s is", k, what)
		c.diags = append(c.diags, manifests.Diagnostic{
			Severity: manifests.Error, Code: "policy-missing", Object: k, Message: reason, Hint: "repair the AuthPolicy, or remove it",
		})
		if k.Namespace == metav1.NamespaceDefault && c.attached.deniedMesh == "" {
			c.attached.deniedMesh = reason
		}
		if c.attached.deniedNamespace[k.Namespace] == "" {
			c.attached.deniedNamespace[k.Namespace] = reason
		}
	}
}

// policyIssuers resolves the issuers. Two of them with one iss leave open whose rules hold for a token: both count as missing.
func (c *compiler) policyIssuers(p *authPolicy, out *policy.Policy) {
	if p.value.Spec.Authentication == nil {
		return
	}
	byURL := make(map[string][]policy.Name)
	for i, name := range p.value.Spec.Authentication.Issuers {
		n := policy.Name{Namespace: p.name.Namespace, Name: name}
		urls, ok := c.issuerURLs[n]
		if !ok {
			c.errorAt(place{p.obj, fmt.Sprintf("spec.authentication.issuers[%d]", i)}, "issuer-missing",
				c.absent(ourKey(v1alpha1.KindTokenIssuer, n))+": the routes of this policy are denied",
				"name a TokenIssuer of namespace "+n.Namespace)
			out.MissingIssuers = append(out.MissingIssuers, n)
			continue
		}
		if slices.Contains(out.Issuers, n) {
			continue
		}
		out.Issuers = append(out.Issuers, n)
		for _, url := range urls {
			byURL[url] = append(byURL[url], n)
		}
	}
	c.ambiguousIssuers(p, out, byURL)
	c.severalOpaque(p, out)
	sortNames(out.Issuers)
	sortNames(out.MissingIssuers)
	out.MissingIssuers = slices.Compact(out.MissingIssuers)
}

// severalOpaque refuses two issuers with introspection: nothing tells whose an opaque token is, and it must not be shown to others than the
// one who issued it. Both count as missing.
func (c *compiler) severalOpaque(p *authPolicy, out *policy.Policy) {
	opaque := slices.DeleteFunc(slices.Clone(out.Issuers), func(n policy.Name) bool { return !c.opaque[n] })
	if len(opaque) < 2 {
		return
	}
	sortNames(opaque)
	c.errorAt(place{p.obj, "spec.authentication.issuers"}, "issuer-ambiguous",
		fmt.Sprintf("%s and %s both have introspection, so it is open which one is asked: the routes of this policy are denied", opaque[0], opaque[1]), "list one of them")
	out.MissingIssuers = append(out.MissingIssuers, opaque...)
	out.Issuers = slices.DeleteFunc(out.Issuers, func(n policy.Name) bool { return c.opaque[n] })
}

// ambiguousIssuers reports once for all TokenIssuers that share an iss, by the first one that they share.
func (c *compiler) ambiguousIssuers(p *authPolicy, out *policy.Policy, byURL map[string][]policy.Name) {
	told := make(map[string]bool)
	for _, url := range slices.Sorted(maps.Keys(byURL)) {
		same := byURL[url]
		if len(same) < 2 {
			continue
		}
		sortNames(same)
		names := make([]string, len(same))
		for i, n := range same {
			names[i] = n.String()
		}
		if text := strings.Join(names, " and "); !told[text] {
			told[text] = true
			c.errorAt(place{p.obj, "spec.authentication.issuers"}, "issuer-ambiguous",
				fmt.Sprintf("%s have the same issuer %s: the routes of this policy are denied", text, url), "list one of them")
		}
		out.MissingIssuers = append(out.MissingIssuers, same...)
		out.Issuers = slices.DeleteFunc(out.Issuers, func(n policy.Name) bool { return slices.Contains(same, n) })
	}
}

func sortNames(names []policy.Name) {
	slices.SortFunc(names, func(a, b policy.Name) int {
		if c := strings.Compare(a.Namespace, b.Namespace); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
}

// attachPolicy puts p on one of its targets. A section that is not there leaves open what the policy was to guard: the object
// that should have it is denied.
func (c *compiler) attachPolicy(p *authPolicy, i int) {
	ref := &p.value.Spec.TargetRefs[i]
	at := place{p.obj, fmt.Sprintf("spec.targetRefs[%d]", i)}
	t, sections, found := c.resolveTarget(p, ref)
	if !found {
		c.targetMissing(p, at, manifests.Key{Group: ref.Group, Kind: ref.Kind, Namespace: t.name.Namespace, Name: ref.Name})
		return
	}
	if t.kind == policy.MeshLevel && p.name.Namespace != metav1.NamespaceDefault {
		c.errorAt(at, "target-refused", fmt.Sprintf("%s may not target the Mesh: only policies of namespace %s may",
			p.obj.Key, metav1.NamespaceDefault), "move it to namespace "+metav1.NamespaceDefault)
		return
	}
	if ref.SectionName != "" {
		if !sections[ref.SectionName] {
			c.errorAt(at.at("sectionName"), "target-missing",
				fmt.Sprintf("%s has no section %s: all of it is denied", t, ref.SectionName),
				"its sections: "+strings.Join(sortedKeys(sections), ", "))
			if c.attached.deniedTarget[t] == "" {
				c.attached.deniedTarget[t] = fmt.Sprintf("%s targets section %s of it, which is not there", p.obj.Key, ref.SectionName)
			}
			return
		}
		t.section = ref.SectionName
	}
	if !slices.Contains(p.targets, t) {
		p.targets = append(p.targets, t)
		c.attached.byTarget[t] = append(c.attached.byTarget[t], p)
	}
}

// targetMissing tells of a target that is not there. Where it is a route that can't be read, nobody knows which requests p guards, and they
// would go to a wider route and its policies: all routes beside it are denied.
func (c *compiler) targetMissing(p *authPolicy, at place, k manifests.Key) {
	message, hint := c.absent(k), "targets lie in the namespace of the policy; check group, kind and name"
	if k.Group == gatewayv1.GroupName && (k.Kind == kindHTTPRoute || k.Kind == kindGRPCRoute) && c.missing[k] {
		message, hint = fmt.Sprintf("%s, and %s guards it: every route of namespace %s is denied", message, p.obj.Key, k.Namespace), "repair the route, or remove it"
		if c.attached.unguarded[k.Namespace] == "" {
			c.attached.unguarded[k.Namespace] = message
		}
	}
	c.errorAt(at.at("name"), "target-missing", message, hint)
}

// resolveTarget finds the object of a targetRef and the names of its sections.
func (c *compiler) resolveTarget(p *authPolicy, ref *v1alpha1.PolicyTarget) (t target, sections map[string]bool, found bool) {
	t = target{name: policy.Name{Namespace: p.name.Namespace, Name: ref.Name}}
	sections = make(map[string]bool)
	switch {
	case ref.Kind == v1alpha1.KindMesh && ref.Group == v1alpha1.Group:
		t.kind, t.name.Namespace = policy.MeshLevel, ""
		found = ref.Name == c.mesh.name.Name
	case ref.Kind == v1alpha1.KindWorkload && ref.Group == v1alpha1.Group:
		t.kind = policy.WorkloadLevel
		var w *workload
		if w, found = c.workloadByName[t.name]; found {
			for name := range w.ports {
				sections[name] = true
			}
		}
	case ref.Kind == kindGateway && ref.Group == gatewayv1.GroupName:
		t.kind = policy.GatewayLevel
		var g *gateway
		if g, found = c.gatewayByName[t.name]; found {
			sections = g.declared
		}
	case (ref.Kind == kindHTTPRoute || ref.Kind == kindGRPCRoute) && ref.Group == gatewayv1.GroupName:
		t.kind, t.route = policy.RouteLevel, ref.Kind
		var r *route
		if r, found = c.routeByName[routeKey{ref.Kind, t.name}]; found {
			for i := range r.value.Spec.Rules {
				if name := r.ruleName(i); name != "" {
					sections[name] = true
				}
			}
		}
	}
	return t, sections, found
}
