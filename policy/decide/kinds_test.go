package decide_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

func by(kind policy.CredentialKind, issuer string) *decide.User {
	return &decide.User{Credential: kind, Issuer: name(issuer), Subject: "alice"}
}

// Who is accepted depends on the kind of the credential: a name that is in another list is none.
func TestUsersAreAcceptedByTheirKind(t *testing.T) {
	accepts := policy.Policy{
		Name: name("p"), Issuers: []policy.Name{name("idp")}, Basic: []policy.Name{name("people")}, ClientCertificates: []policy.Name{name("machines")},
		APIKeys: []policy.APIKeyUse{{Credentials: name("keys"), Header: "x-key"}}, InternalTokens: true,
		Rules: []policy.Rule{{Name: "user", Action: policy.Allow, NeedsUser: true}},
	}
	nobody := policy.Policy{Name: name("p"), Issuers: []policy.Name{name("other")}, Rules: accepts.Rules}
	all := map[policy.CredentialKind]string{
		policy.BearerToken: "idp", policy.Basic: "people", policy.APIKey: "keys", policy.ClientCertificate: "machines", policy.InternalToken: "anybody",
	}
	r, n := route(t, levels("p"), accepts), route(t, levels("p"), nobody)
	for kind, issuer := range all {
		if d := r.Decide(get(web, by(kind, issuer))); !d.Allowed() {
			t.Errorf("%s of %s: %v", kind, issuer, d.Reason)
		}
		want := decide.CredentialNotAccepted
		if kind == policy.BearerToken {
			want = decide.IssuerNotAccepted
		}
		if d := n.Decide(get(web, by(kind, issuer))); d.Reason != want || d.Reason.Class() != decide.Unauthorized {
			t.Errorf("%s where it is not accepted: %v", kind, d.Reason)
		}
		for other, issuer := range all {
			if other != kind && kind != policy.InternalToken && r.Decide(get(web, by(kind, issuer))).Allowed() {
				t.Errorf("%s of %s is accepted", kind, issuer)
			}
		}
	}
	for _, kind := range []policy.CredentialKind{policy.NoCredential, policy.PeerIdentity, 99} {
		if d := r.Decide(get(web, by(kind, "idp"))); d.Allowed() {
			t.Errorf("a user by %d is accepted", kind)
		}
	}
}

// What a rule's authentication means, in the cells of who comes.
func TestRuleAuthentication(t *testing.T) {
	bearer, basic := by(policy.BearerToken, "idp"), by(policy.Basic, "people")
	stranger := by(policy.Basic, "strangers")
	const (
		ok, missing, kind, peer = decide.Allowed, decide.TokenMissing, decide.CredentialNotAccepted, decide.PeerNotAllowed
	)
	for _, tt := range []struct {
		words string
		rule  policy.Rule
		// want of nobody, bearer, basic and a stranger's basic with a peer, then the same without one.
		want [8]decide.Reason
	}{
		{"", policy.Rule{NeedsUser: true}, [8]decide.Reason{missing, ok, ok, kind, missing, ok, ok, kind}},
		{"bearer", policy.Rule{NeedsUser: true, Credentials: []policy.CredentialKind{policy.BearerToken}}, [8]decide.Reason{missing, ok, kind, kind, missing, ok, kind, kind}},
		{"anonymous", policy.Rule{}, [8]decide.Reason{ok, ok, ok, ok, ok, ok, ok, ok}},
		{"anonymous, bearer", policy.Rule{Credentials: []policy.CredentialKind{policy.BearerToken}}, [8]decide.Reason{ok, ok, kind, kind, ok, ok, kind, kind}},
		{"peer", policy.Rule{NeedsPeer: true}, [8]decide.Reason{ok, ok, ok, ok, peer, peer, peer, peer}},
		{"peer, bearer", policy.Rule{NeedsPeer: true, Credentials: []policy.CredentialKind{policy.BearerToken}}, [8]decide.Reason{ok, ok, kind, kind, peer, ok, kind, kind}},
	} {
		tt.rule.Name, tt.rule.Action = "r", policy.Allow
		r := route(t, levels("p"), policy.Policy{
			Name: name("p"), Issuers: []policy.Name{name("idp")}, Basic: []policy.Name{name("people")}, Rules: []policy.Rule{tt.rule},
		})
		for i, want := range tt.want {
			who, id := []*decide.User{nil, bearer, basic, stranger}[i%4], web
			if i >= 4 {
				id = ""
			}
			d := r.Decide(get(id, who))
			if d.Reason != want {
				t.Errorf("[%s], user %v, peer %q: %v, want %v", tt.words, who, id, d.Reason, want)
			}
			if byPeer := d.Allowed() && tt.rule.NeedsPeer; d.ByPeer != byPeer {
				t.Errorf("[%s], user %v, peer %q: by peer is %t", tt.words, who, id, d.ByPeer)
			}
		}
	}
}

func TestMissingCredentialsCannotBeTold(t *testing.T) {
	r := route(t, levels("p"), policy.Policy{Name: name("p"), MissingCredentials: []policy.Name{name("gone")}, Rules: []policy.Rule{{Name: "all", Action: policy.Allow}}})
	d := r.Decide(get(web, nil))
	if d.Reason != decide.CredentialsMissing || d.Reason.Class() != decide.Unavailable || d.Reason.String() != "credentials_missing" || d.Detail == "" {
		t.Errorf("%+v", d)
	}
}

// A route reads what any policy of any of its levels accepts.
func TestAccepts(t *testing.T) {
	outer := policy.Policy{
		Name: name("outer"), Issuers: []policy.Name{name("z"), name("a")}, Basic: []policy.Name{name("people")},
		APIKeys: []policy.APIKeyUse{{Credentials: name("k2"), Header: "x-key"}, {Credentials: name("k1"), Header: "x-key", Query: "key", Bearer: true}},
	}
	inner := policy.Policy{
		Name: name("inner"), Issuers: []policy.Name{name("a"), name("b")}, Basic: []policy.Name{name("people"), name("staff")},
		ClientCertificates: []policy.Name{name("c")}, InternalTokens: true,
		APIKeys: []policy.APIKeyUse{{Credentials: name("k1"), Header: "x-key"}, {Credentials: name("k3"), Header: "x-other"}},
	}
	set := &policy.Set{
		Policies:    []policy.Policy{outer, inner},
		Credentials: []policy.Credentials{{Name: name("people"), Realm: "people"}, {Name: name("staff"), Realm: "people"}},
		Workloads: []policy.Workload{{Name: name("w"), Ports: []policy.Port{
			{Name: "http", Route: "id", Access: levels("outer", "inner")}, {Name: "none", Route: "none", Access: levels()},
		}}},
	}
	r, _ := decide.NewIndex(set).Route("id")
	want := &decide.Accepts{
		Issuers: []policy.Name{name("a"), name("b"), name("z")}, Basic: []policy.Name{name("people"), name("staff")}, Realms: []string{"people"},
		BearerKeys: []policy.Name{name("k1")}, Keys: []policy.Name{name("k1"), name("k2"), name("k3")},
		HeaderKeys: []decide.KeyPlace{{Name: "x-key", Credentials: []policy.Name{name("k1"), name("k2")}}, {Name: "x-other", Credentials: []policy.Name{name("k3")}}},
		QueryKeys:  []decide.KeyPlace{{Name: "key", Credentials: []policy.Name{name("k1")}}}, Certificates: []policy.Name{name("c")}, Internal: true,
	}
	if diff := cmp.Diff(want, r.Accepts()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !r.Accepts().Any() || !r.Accepts().APIKeys() || !r.Accepts().Authorization() {
		t.Errorf("%+v reads nothing", r.Accepts())
	}
	if none, _ := decide.NewIndex(set).Route("none"); none.Accepts().Any() {
		t.Errorf("a route without policies reads %+v", none.Accepts())
	}
}

// A workload that may call by itself must not speak for a user: an internal token that it came by is useless.
func TestInternalTokenOfAWorkloadThatCallsByItself(t *testing.T) {
	internal := &decide.User{Credential: policy.InternalToken, Origin: policy.BearerToken, Subject: "alice"}
	for words, tt := range map[string]struct {
		kinds []policy.CredentialKind
		want  decide.Reason
	}{
		"peer":                {nil, decide.CredentialNotAccepted},
		"peer, internalToken": {[]policy.CredentialKind{policy.InternalToken}, decide.Allowed},
	} {
		r := route(t, levels("p"), policy.Policy{Name: name("p"), InternalTokens: true, Rules: []policy.Rule{
			{Name: "self", Action: policy.Allow, NeedsPeer: true, Credentials: tt.kinds},
		}})
		if d := r.Decide(get(web, internal)); d.Reason != tt.want {
			t.Errorf("[%s]: %v, want %v", words, d.Reason, tt.want)
		}
		if d := r.Decide(get(web, nil)); !d.Allowed() || !d.ByPeer {
			t.Errorf("[%s], without a token: %v", words, d.Reason)
		}
	}
}
