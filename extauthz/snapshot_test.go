package extauthz_test

import (
	"context"
	"testing"

	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// issuers is a verifier that knows some tokens.
type issuers map[string]string

func (i issuers) Verify(_ context.Context, raw string, accepted []policy.Name) (*decide.User, error) {
	subject, ok := i[raw]
	if !ok {
		return nil, token.ErrInvalid
	}
	return &decide.User{Credential: policy.BearerToken, Issuer: accepted[0], Subject: subject, Scopes: []string{"orders:read"}}, nil
}

// An edit changes an issuer and the rules that go with it. Between the publication of the one and of the other, no request is judged by
// new issuers and old rules: neither state of the manifests allows what that would.
func TestRulesAreJudgedWithTheIssuersOfTheirSet(t *testing.T) {
	published := extauthz.Verifier(issuers{"old": "alice"})
	r := newRig(t, func(o *extauthz.Options) {
		o.Snapshot = func() extauthz.Verifiers { return extauthz.Verifiers{Tokens: published} }
	})
	bearer := func(raw string) string { return r.answer(t, ask(withAuth("Bearer "+raw))).Reason }
	published = issuers{"new": "mallory"}
	if got := bearer("new"); got != "token_invalid" {
		t.Errorf("a token of a new issuer under the old rules: %s", got)
	}
	if got := bearer("old"); got != "allowed" {
		t.Errorf("a token of the old issuer under the old rules: %s", got)
	}
	r.Acknowledged(own, 1)
	if got := bearer("old"); got != "allowed" {
		t.Errorf("after an acknowledgement: %s", got)
	}
	r.Publish(orders(), 2)
	if got := bearer("old"); got != "token_invalid" {
		t.Errorf("a token of the old issuer under the new rules: %s", got)
	}
	if got := bearer("new"); got != "allowed" {
		t.Errorf("a token of the new issuer under the new rules: %s", got)
	}
}

// The same for a route that is gone while its proxy still has it: its last rules hold for tokens that were good with them and still are.
func TestRetiredRouteIsJudgedWithTheIssuersOfItsTime(t *testing.T) {
	published := extauthz.Verifier(issuers{"old": "alice", "kept": "bob"})
	r := newRig(t, func(o *extauthz.Options) {
		o.Snapshot = func() extauthz.Verifiers { return extauthz.Verifiers{Tokens: published} }
	})
	published = issuers{"new": "mallory", "kept": "bob"}
	set := orders()
	set.Workloads[0].Ports = nil
	r.Publish(set, 2)
	for raw, want := range map[string]string{"old": "token_invalid", "new": "token_invalid", "kept": "allowed"} {
		if got := r.answer(t, ask(withAuth("Bearer "+raw))).Reason; got != want {
			t.Errorf("token %q: %s, want %s", raw, got, want)
		}
	}
}
