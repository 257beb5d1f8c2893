package extauthz_test

import (
	"testing"

	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/policy"
)

// The rules for paths are those of the gateway that counts, and of no other.
func TestLookupReadsPathsAsItsGateway(t *testing.T) {
	for _, c := range []struct {
		edge, open policy.PathRules
		want       [2]string
	}{
		{policy.PathRules{}, policy.PathRules{KeepEscapedSlashes: true, KeepEmptySegments: true}, [2]string{"400 path_encoded_slash", "400 path_empty_segment"}},
		{policy.PathRules{KeepEscapedSlashes: true}, policy.PathRules{}, [2]string{"200", "400 path_empty_segment"}},
		{policy.PathRules{KeepEmptySegments: true}, policy.PathRules{}, [2]string{"400 path_encoded_slash", "200"}},
	} {
		r := lookupRig(t)
		set := shop()
		set.Gateways[0].Settings.Paths, set.Gateways[1].Settings.Paths = c.edge, c.open
		r.Publish(set, 3)
		version := header("x-version", "2")
		if got := [2]string{said(t, r, foreign("/a%2Fb", version)), said(t, r, foreign("/a//b", version))}; got != c.want {
			t.Errorf("%+v: %q, want %q", c.edge, got, c.want)
		}
	}
}

// A header is the same in capitals, whatever form Envoy has it in.
func TestLookupByHeaderInCapitals(t *testing.T) {
	r := lookupRig(t)
	if got := said(t, r, foreign("/x", rawHeader("X-Version", "2"))); got != "200" {
		t.Errorf("in capitals: %s", got)
	}
	if got := said(t, r, foreign("/x", rawHeader("X-Version", "1"), header("x-version", "2"))); got != "400 header_ambiguous" {
		t.Errorf("two values in two forms: %s", got)
	}
}

// A reader of principals that names nobody has read none.
func TestLookupPrincipalOfNobody(t *testing.T) {
	r := lookupRig(t, func(o *extauthz.Options) { o.Lookup.Principal = func(string) (string, error) { return "", nil } })
	if got := said(t, r, foreign("/unless/x", source("", "cn=batch"))); got != "403 peer_invalid" {
		t.Error(got)
	}
}
