package v1alpha1_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
)

// TestFurtherRequirements: what is written wrong is told at its field.
func TestFurtherRequirements(t *testing.T) {
	for _, tt := range []struct {
		path, code string
		rule       v1alpha1.PolicyRule
	}{
		{"", "", v1alpha1.PolicyRule{Require: &v1alpha1.RuleRequirement{Condition: "true"}}},
		{"", "", v1alpha1.PolicyRule{To: []v1alpha1.RuleOperation{{Paths: []string{"/a/{id}/*"}, Headers: []v1alpha1.HeaderRequirement{{Name: "X-A", AnyOf: []string{"b"}}}}}}},
		{"require.roles", "empty-value", v1alpha1.PolicyRule{Require: &v1alpha1.RuleRequirement{Roles: &v1alpha1.NameRequirement{}}}},
		{"require.groups.anyOf[0]", "required", v1alpha1.PolicyRule{Require: &v1alpha1.RuleRequirement{Groups: &v1alpha1.NameRequirement{AnyOf: []string{""}}}}},
		{"require.acr[0]", "invalid-value", v1alpha1.PolicyRule{Require: &v1alpha1.RuleRequirement{ACR: []string{"a b"}}}},
		{"require.maxAge", "out-of-range", v1alpha1.PolicyRule{Require: &v1alpha1.RuleRequirement{MaxAge: &metav1.Duration{Duration: -time.Second}}}},
		{"require.maxAge", "unsupported-value", v1alpha1.PolicyRule{Action: "deny", Require: &v1alpha1.RuleRequirement{MaxAge: &metav1.Duration{Duration: time.Minute}}}},
		{"require.condition", "out-of-range", v1alpha1.PolicyRule{Require: &v1alpha1.RuleRequirement{Condition: strings.Repeat("a", 5000)}}},
		{"to[0].paths[0]", "invalid-path", v1alpha1.PolicyRule{To: []v1alpha1.RuleOperation{{Paths: []string{"/a/x{id}"}}}}},
		{"to[0].paths[0]", "invalid-path", v1alpha1.PolicyRule{To: []v1alpha1.RuleOperation{{Paths: []string{"/{a}/{a}"}}}}},
		{"to[0].paths[0]", "invalid-path", v1alpha1.PolicyRule{To: []v1alpha1.RuleOperation{{Paths: []string{"/{}"}}}}},
		{"to[0].headers[0]", "one-of", v1alpha1.PolicyRule{To: []v1alpha1.RuleOperation{{Headers: []v1alpha1.HeaderRequirement{{Name: "x"}}}}}},
		{"to[0].headers[0].name", "unsupported-value", v1alpha1.PolicyRule{To: []v1alpha1.RuleOperation{{Headers: []v1alpha1.HeaderRequirement{{Name: "Authorization", Present: true}}}}}},
		{"to[0].headers[0].name", "unsupported-value", v1alpha1.PolicyRule{To: []v1alpha1.RuleOperation{{Headers: []v1alpha1.HeaderRequirement{{Name: "X-Credence-Subject", Present: true}}}}}},
		{"to[0].headers[0].anyOf[0]", "invalid-value", v1alpha1.PolicyRule{To: []v1alpha1.RuleOperation{{Headers: []v1alpha1.HeaderRequirement{{Name: "x", AnyOf: []string{" a"}}}}}}},
	} {
		tt.rule.Name = "r"
		p := &v1alpha1.AuthPolicy{Spec: v1alpha1.AuthPolicySpec{
			TargetRefs:     []v1alpha1.PolicyTarget{{Group: v1alpha1.Group, Kind: "Mesh", Name: "m"}},
			Authentication: &v1alpha1.PolicyAuthentication{Issuers: []string{"idp"}}, Rules: []v1alpha1.PolicyRule{tt.rule},
		}}
		v1alpha1.SetDefaults(p)
		errs := slices.DeleteFunc(v1alpha1.Validate(p), func(e v1alpha1.FieldError) bool { return strings.HasPrefix(e.Path, "metadata") })
		found := slices.ContainsFunc(errs, func(e v1alpha1.FieldError) bool { return e.Path == "spec.rules[0]."+tt.path && e.Code == tt.code })
		if tt.code != "" && !found || tt.code == "" && len(errs) > 0 {
			t.Errorf("%s of %s: %+v", tt.code, tt.path, errs)
		}
	}
}

// TestListings: roles and groups of an issuer are JSON pointers.
func TestListings(t *testing.T) {
	for path, l := range map[string]*v1alpha1.Listing{
		"":                   {From: []string{"/realm_access/roles"}, Names: map[string]string{"a": "b"}},
		"spec.roles.from":    {},
		"spec.roles.from[0]": {From: []string{"realm_access.roles"}},
		"spec.roles.names":   {From: []string{"/a"}, Names: map[string]string{"a": ""}},
	} {
		i := &v1alpha1.TokenIssuer{Spec: v1alpha1.TokenIssuerSpec{Issuer: "https://idp.example", Audiences: []string{"a"}, Roles: l}}
		v1alpha1.SetDefaults(i)
		errs := slices.DeleteFunc(v1alpha1.Validate(i), func(e v1alpha1.FieldError) bool { return strings.HasPrefix(e.Path, "metadata") })
		if path == "" && len(errs) > 0 || path != "" && !slices.ContainsFunc(errs, func(e v1alpha1.FieldError) bool { return e.Path == path }) {
			t.Errorf("%s: %+v", path, errs)
		}
	}
}
