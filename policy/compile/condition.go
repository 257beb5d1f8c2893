package compile

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/condition"
)

// maxParamPatterns bounds the paths of a rule whose condition looks at their variables: it is evaluated for each that matches.
const maxParamPatterns = 16

// requireFurther compiles roles, groups, sign-in and condition. False: it can't be read, so an allow rule holds for nobody.
func (c *compiler) requireFurther(out *policy.Rule, in *v1alpha1.RuleRequirement, at place) bool {
	names := func(n *v1alpha1.NameRequirement) (allOf, anyOf []string) {
		if n == nil {
			return nil, nil
		}
		if len(n.AllOf) > 0 {
			allOf = sortedSet(n.AllOf)
		}
		if len(n.AnyOf) > 0 {
			anyOf = sortedSet(n.AnyOf)
		}
		return allOf, anyOf
	}
	out.AllRoles, out.AnyRoles = names(in.Roles)
	out.AllGroups, out.AnyGroups = names(in.Groups)
	if len(in.ACR) > 0 {
		out.ACR = slices.Clone(in.ACR)
	}
	out.MaxAge = durationOr(in.MaxAge, 0)
	if in.Roles != nil || in.Groups != nil || len(in.ACR) > 0 || in.MaxAge != nil {
		out.NeedsUser = true
	}
	return c.condition(out, in.Condition, at.at("condition"))
}

// condition checks the expression and what it looks at. One that is wrong is left out: a deny rule then denies without it.
func (c *compiler) condition(out *policy.Rule, source string, at place) bool {
	if source == "" {
		return true
	}
	program, err := c.program(source)
	if err != nil {
		var problems condition.Problems
		if !errors.As(err, &problems) {
			problems = condition.Problems{{Message: err.Error()}}
		}
		for _, p := range problems {
			c.diags = append(c.diags, manifests.Diagnostic{
				Severity: manifests.Error, Code: "condition", Pos: at.obj.AtText(at.field, p.Offset), Object: at.obj.Key,
				Message: "the condition: " + p.Message + ": an allow rule holds for nobody, a deny rule looks past it", Hint: p.Hint,
			})
		}
		return false
	}
	uses := program.Uses()
	out.NeedsUser = out.NeedsUser || uses.NeedsUser()
	good := true
	for _, name := range uses.Params {
		if !bindsEverywhere(out.To, name) {
			c.errorAt(at, "condition", fmt.Sprintf("the condition looks at request.params.%s, which not every path of the rule has: an allow rule holds for nobody, a deny rule looks past it", name),
				"write {"+name+"} as a segment of each path in to")
			good = false
		}
	}
	patterns := 0
	for i := range out.To {
		patterns += len(out.To[i].Paths)
	}
	if uses.ReadsParams && patterns > maxParamPatterns {
		c.errorAt(at, "condition", fmt.Sprintf("the condition looks at path variables of %d paths, at most %d are taken", patterns, maxParamPatterns), "divide the rule")
		good = false
	}
	if good {
		out.Condition = source
	}
	return good
}

// program compiles a condition once per source.
func (c *compiler) program(source string) (*condition.Program, error) {
	if c.programs == nil {
		c.programs = map[string]*condition.Program{}
	}
	if p := c.programs[source]; p != nil {
		return p, nil
	}
	if c.language == nil {
		language, err := condition.NewCompiler()
		if err != nil {
			return nil, err
		}
		c.language = language
	}
	p, err := c.language.Compile(source)
	if err != nil {
		return nil, err
	}
	c.programs[source] = p
	return p, nil
}

// conditionClaims are the claims that a condition names.
func (c *compiler) conditionClaims(source string) [][]string {
	if source == "" {
		return nil
	}
	program, err := c.program(source)
	if err != nil {
		return nil
	}
	var out [][]string
	for _, name := range program.Uses().Claims {
		out = append(out, []string{name})
	}
	return out
}

// bindsEverywhere tells whether every path that a rule is for has a variable of that name.
func bindsEverywhere(to []policy.Operation, name string) bool {
	for i := range to {
		if len(to[i].Paths) == 0 {
			return false
		}
		for j := range to[i].Paths {
			if !slices.Contains(to[i].Paths[j].Variables, name) {
				return false
			}
		}
	}
	return len(to) > 0
}

// ruleHeaders compiles what headers an operation has.
func (c *compiler) ruleHeaders(in []v1alpha1.HeaderRequirement, at place) ([]policy.HeaderMatch, bool) {
	var out []policy.HeaderMatch
	good := true
	for i := range in {
		h := &in[i]
		name := strings.ToLower(h.Name)
		if !v1alpha1.RuleHeader(name) || h.Present == (len(h.AnyOf) > 0) || len(h.AnyOf) > 0 && holdsKey(at.obj, name) {
			c.errorAt(at.at("headers[%d]", i), "header", fmt.Sprintf("header %q can't be compared: an allow rule holds for nobody, a deny rule looks past it", h.Name), "")
			good = false
			continue
		}
		out = append(out, policy.HeaderMatch{Name: name, AnyOf: slices.Clone(h.AnyOf), Present: h.Present})
	}
	return out, good
}

// holdsKey tells whether the policy takes API keys from the header: no rule sees its value then.
func holdsKey(o *manifests.Object, name string) bool {
	p, ok := o.Value.(*v1alpha1.AuthPolicy)
	return ok && p.Spec.Authentication != nil && slices.ContainsFunc(p.Spec.Authentication.APIKeys, func(k v1alpha1.PolicyAPIKeys) bool {
		return strings.EqualFold(k.Header, name)
	})
}

var variableName = regexp.MustCompile(`^\{[A-Za-z_][A-Za-z0-9_]*\}$`)

// addSegment adds one segment of a pattern: a literal, or a variable in braces.
func addSegment(out *policy.PathPattern, text, segment string) error {
	if !strings.ContainsAny(segment, "{}") {
		out.Segments = append(out.Segments, segment)
		if out.Variables != nil {
			out.Variables = append(out.Variables, "")
		}
		return nil
	}
	if !variableName.MatchString(segment) {
		return fmt.Errorf("path %q has a segment %q: a variable is a whole segment, {name}", text, segment)
	}
	name := segment[1 : len(segment)-1]
	if slices.Contains(out.Variables, name) {
		return fmt.Errorf("path %q has the variable {%s} twice", text, name)
	}
	for len(out.Variables) < len(out.Segments) {
		out.Variables = append(out.Variables, "")
	}
	out.Segments, out.Variables = append(out.Segments, ""), append(out.Variables, name)
	return nil
}

// listingOf is where roles or groups are; nil: nowhere, or a pointer can't be read.
func listingOf(in *v1alpha1.Listing) *policy.Listing {
	if in == nil {
		return nil
	}
	out := &policy.Listing{Separator: in.Separator, From: [][]string{}}
	for _, p := range in.From {
		path, err := (&v1alpha1.ClaimRequirement{Pointer: p}).Segments()
		if err != nil || len(path) == 0 {
			return nil
		}
		out.From = append(out.From, path)
	}
	for name, ours := range in.Names {
		out.Names = append(out.Names, policy.NameValue{Name: name, Value: ours})
	}
	slices.SortFunc(out.Names, func(a, b policy.NameValue) int { return strings.Compare(a.Name, b.Name) })
	return out
}
