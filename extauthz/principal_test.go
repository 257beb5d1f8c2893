package extauthz_test

import (
	"context"
	"encoding/base64"
	"log/slog"
	"strings"
	"testing"

	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// services makes every token one of a service of that name.
func services(_ context.Context, raw string, accepted []policy.Name) (*decide.User, error) {
	u, err := users(context.Background(), raw, accepted)
	if err == nil {
		u.Service = true
	}
	return u, err
}

// Row 32: the log and the other filters learn whether it is a user or a service.
func TestPrincipal(t *testing.T) {
	for want, v := range map[string]verifier{"user": users, "service": services} {
		r := newRig(t, func(o *extauthz.Options) { o.Verifier = v })
		resp, err := r.Check(context.Background(), ask())
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.GetDynamicMetadata().GetFields()["principal"].GetStringValue(); got != want {
			t.Errorf("metadata says %q, want %q", got, want)
		}
		if got := r.log.last(t)["principal"]; got != want {
			t.Errorf("the log says %q, want %q", got, want)
		}
	}
	r := newRig(t)
	resp, err := r.Check(context.Background(), ask(withPath("/public"), withAuth()))
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := resp.GetDynamicMetadata().GetFields()["principal"]; ok || r.log.last(t)["principal"] != nil {
		t.Errorf("without a user: principal %v", got)
	}
}

// A rule for users is not for a service of the same name, and the answer says so.
func TestPrincipalOfARule(t *testing.T) {
	for want, v := range map[int]verifier{200: users, 403: services} {
		r := newRig(t, func(o *extauthz.Options) { o.Verifier = v })
		set := orders()
		set.Policies[2].Rules[0].Principal = policy.UserPrincipal
		r.Publish(set, 2)
		got := r.answer(t, ask())
		if got.Code != want || want == 403 && got.Reason != "principal_not_allowed" {
			t.Errorf("answer %v, want %d", got, want)
		}
	}
}

// Rows 27 and 28: what an operator can act on is in the log, and the client hears nothing of it.
func TestDecisionLogSaysWhatIsWrongWithAToken(t *testing.T) {
	v, err := token.New(token.Options{Keys: jwks.New(jwks.Options{Log: slog.New(slog.DiscardHandler)})})
	if err != nil {
		t.Fatal(err)
	}
	set := orders()
	set.Issuers[0] = policy.Issuer{
		Name: dev, Issuers: []string{"https://dev.test"}, Audiences: []string{"shop"}, Algorithms: []string{"RS256"}, Profile: policy.StrictAccessToken,
		Keys: policy.KeySource{Inline: `{"keys":[]}`},
	}
	v.Publish(set.Issuers)
	r := newRig(t, func(o *extauthz.Options) { o.Verifier = verifier(v.Verify) })
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	raw := part(`{"alg":"RS256","typ":"JWT","kid":"k"}`) + "." + part(`{"iss":"https://dev.test","sub":"hunter2"}`) + "." + part("x")
	resp, err := r.Check(context.Background(), ask(withAuth("Bearer "+raw)))
	if err != nil {
		t.Fatal(err)
	}
	got := r.log.last(t)
	if got["reason"] != "token_invalid:typ" || got["detail"] != `typ "jwt" is not accepted of issuer default/dev` {
		t.Errorf("reason %v, detail %v", got["reason"], got["detail"])
	}
	if text := r.log.text() + resp.String(); strings.Contains(text, "hunter2") || strings.Contains(resp.String(), "not accepted of") {
		t.Errorf("a claim in the log, or the detail in the answer: %s", text)
	}
}
