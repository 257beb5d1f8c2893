package v1alpha1_test

import (
	"slices"
	"testing"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
)

// What a policy says of answers and of the service's view is refused where it could forge, frame or inject.
func TestResponsesAndUpstream(t *testing.T) {
	status := func(n int32) *int32 { return &n }
	for name, c := range map[string]struct {
		upstream  *v1alpha1.PolicyUpstream
		responses *v1alpha1.PolicyResponses
		want      string
	}{
		"status of a success":   {responses: &v1alpha1.PolicyResponses{Forbidden: &v1alpha1.PolicyResponse{Status: status(200)}}, want: "out-of-range"},
		"a challenge":           {responses: &v1alpha1.PolicyResponses{Forbidden: &v1alpha1.PolicyResponse{Headers: []v1alpha1.ResponseHeader{{Name: "WWW-Authenticate", Value: "x"}}}}, want: "header-reserved"},
		"an injection":          {responses: &v1alpha1.PolicyResponses{Forbidden: &v1alpha1.PolicyResponse{Headers: []v1alpha1.ResponseHeader{{Name: "x-a", Value: "1\r\nx: 2"}}}}, want: "invalid-value"},
		"a body of no type":     {responses: &v1alpha1.PolicyResponses{Forbidden: &v1alpha1.PolicyResponse{Body: "no"}}, want: "required"},
		"a realm with a quote":  {responses: &v1alpha1.PolicyResponses{Realm: `a"b`}, want: "invalid-value"},
		"a resource over http":  {responses: &v1alpha1.PolicyResponses{Resource: &v1alpha1.ProtectedResource{Identifier: "http://a.example"}}, want: "invalid-url"},
		"a header with _":       {upstream: &v1alpha1.PolicyUpstream{Headers: []v1alpha1.ClaimOutput{{Name: "x_user", Field: "subject"}}}, want: "invalid-name"},
		"two sources":           {upstream: &v1alpha1.PolicyUpstream{Headers: []v1alpha1.ClaimOutput{{Name: "x-user", Field: "subject", Pointer: "/a"}}}, want: "one-of"},
		"an unknown field":      {upstream: &v1alpha1.PolicyUpstream{Headers: []v1alpha1.ClaimOutput{{Name: "x-user", Field: "password"}}}, want: "unsupported-value"},
		"a member that is ours": {upstream: &v1alpha1.PolicyUpstream{Metadata: []v1alpha1.ClaimOutput{{Name: "decision", Field: "subject"}}}, want: "reserved-name"},
	} {
		p := &v1alpha1.AuthPolicy{Spec: v1alpha1.AuthPolicySpec{
			TargetRefs: []v1alpha1.PolicyTarget{{Group: v1alpha1.GatewayGroup, Kind: "HTTPRoute", Name: "r"}},
			Rules:      []v1alpha1.PolicyRule{}, Upstream: c.upstream, Responses: c.responses,
		}}
		found := v1alpha1.Validate(p)
		if !slices.ContainsFunc(found, func(e v1alpha1.FieldError) bool { return e.Code == c.want }) {
			t.Errorf("%s: %v, want %s", name, found, c.want)
		}
	}
}
