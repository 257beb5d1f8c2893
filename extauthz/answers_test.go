package extauthz_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/extauthz"
)

// A refusal tells the client what it can do: the code, the challenge of RFC 6750 §3, and a body for people and programs.
func TestRefusalsSayWhatHelps(t *testing.T) {
	r := newRig(t)
	set := orders()
	set.Policies[2].Rules[0].AllScopes = []string{`a"b\c`}
	quoted := newRig(t)
	quoted.Publish(set, 2)
	type words struct {
		Code                      int
		Error, Message, Challenge string
		// Unavailable: Envoy is told that it was an error, not a denial.
		Unavailable bool
	}
	for _, c := range []struct {
		name   string
		rig    *rig
		bearer []string
		want   words
	}{
		{"no credential", r, nil, words{401, "unauthorized", "a token is needed: Authorization: Bearer TOKEN", `Bearer realm="credence"`, false}},
		{"a bad token", r, []string{"Bearer bad"}, words{401, "invalid_token", "the token is not valid here", `Bearer realm="credence", error="invalid_token"`, false}},
		{"two", r, []string{"Bearer a", "Bearer b"}, words{
			400, "invalid_request", "send exactly one credential, as one Authorization header: Bearer TOKEN",
			`Bearer realm="credence", error="invalid_request"`, false,
		}},
		{"no scope", r, []string{"Bearer alice~x"}, words{
			403, "insufficient_scope", "the token lacks a scope: orders:read",
			`Bearer realm="credence", error="insufficient_scope", scope="orders:read"`, false,
		}},
		{"a scope that would end the challenge", quoted, []string{"Bearer alice~x"}, words{
			403, "insufficient_scope", `the token lacks a scope: a"b\c`,
			`Bearer realm="credence", error="insufficient_scope", scope="abc"`, false,
		}},
		{"no keys", r, []string{"Bearer later"}, words{503, "temporarily_unavailable", "it cannot be told now whether this request is allowed; try again later", "", true}},
	} {
		resp, err := c.rig.Check(context.Background(), ask(withAuth(c.bearer...)))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		a := read(t, resp)
		denied := resp.GetDeniedResponse()
		if c.want.Unavailable {
			denied = resp.GetErrorResponse()
		}
		var body struct{ Error, Message string }
		if err := json.Unmarshal([]byte(denied.GetBody()), &body); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		got := words{a.Code, body.Error, body.Message, a.Challenge, resp.GetErrorResponse() != nil}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// The peer's certificate is read once while it stays the same and is short enough to be kept, and again after a while: what a parser
// says of it can change with the time.
func TestPeerCertificatesAreReadOnce(t *testing.T) {
	reads := 0
	r := newRig(t, func(o *extauthz.Options) {
		o.PeerID = func(c string) (string, error) {
			reads++
			id, _, _ := strings.Cut(c, "#")
			return peerIDs(id)
		}
	})
	check := func(certificate string, want int) {
		t.Helper()
		before := reads
		if a := r.answer(t, ask(withPeer(certificate, webID))); a.Code != 200 {
			t.Errorf("got %v", a)
		}
		if got := reads - before; got != want {
			t.Errorf("the certificate was read %d times, want %d", got, want)
		}
	}
	one := "cert " + webID
	check(one, 1)
	check(one, 0)
	check(one+"#2", 1)
	check(one, 0)
	r.clock = r.clock.Add(30 * time.Second)
	check(one, 1)
	check(one, 0)
	long := one + "#" + strings.Repeat("x", 9000)
	check(long, 1)
	check(long, 1)
}
