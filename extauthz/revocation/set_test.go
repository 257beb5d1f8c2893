package revocation_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/credence-mesh/credence/extauthz/revocation"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func user() *decide.User {
	return &decide.User{IssuerURL: "https://a.test", Subject: "alice", Client: "web", TokenID: "t1", IssuedAt: now}
}

// listed is what manifests with these revocations compile to.
func listed(rs ...policy.Revocation) *policy.Set { return &policy.Set{Revocations: rs} }

func TestRevokedWhereAllFieldsMatch(t *testing.T) {
	tests := map[string]struct {
		r    policy.Revocation
		want bool
	}{
		"jti":                     {policy.Revocation{TokenID: "t1"}, true},
		"another jti":             {policy.Revocation{TokenID: "t2"}, false},
		"subject":                 {policy.Revocation{Subject: "alice"}, true},
		"another subject":         {policy.Revocation{Subject: "Alice"}, false},
		"client":                  {policy.Revocation{Client: "web"}, true},
		"another client":          {policy.Revocation{Client: "cli"}, false},
		"issuer":                  {policy.Revocation{Issuer: "https://a.test"}, true},
		"another issuer":          {policy.Revocation{Issuer: "https://a.test/"}, false},
		"jti of another issuer":   {policy.Revocation{TokenID: "t1", Issuer: "https://b.test"}, false},
		"subject of the issuer":   {policy.Revocation{Subject: "alice", Issuer: "https://a.test"}, true},
		"subject, another client": {policy.Revocation{Subject: "alice", Client: "cli"}, false},
		"issued before":           {policy.Revocation{Issuer: "https://a.test", IssuedBefore: now.Add(1)}, true},
		"issued at that time":     {policy.Revocation{Issuer: "https://a.test", IssuedBefore: now}, false},
		"before its end":          {policy.Revocation{TokenID: "t1", Until: now.Add(1)}, true},
		"at its end":              {policy.Revocation{TokenID: "t1", Until: now}, false},
		"no field: everything":    {policy.Revocation{}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := open(t, revocation.Options{})
			tt.r.ID = "r"
			s.Publish(listed(tt.r))
			if got := s.Revoked(user(), now); (got == "r") != tt.want {
				t.Errorf("Revoked = %q, want covered: %v", got, tt.want)
			}
			s.Publish(listed())
			if got := s.Revoked(user(), now); got != "" {
				t.Errorf("Revoked = %q after it has left the list", got)
			}
		})
	}
}

func TestCredentialWithoutTimeIsNotSpared(t *testing.T) {
	s, u := open(t, revocation.Options{}), user()
	u.IssuedAt = time.Time{}
	s.Publish(listed(policy.Revocation{ID: "r", Subject: "alice", IssuedBefore: now.Add(-time.Hour)}))
	if s.Revoked(u, now) == "" {
		t.Error("a credential without a time of issue was spared")
	}
}

func many(n int) []policy.Revocation {
	list := make([]policy.Revocation, n)
	for i := range list {
		list[i] = policy.Revocation{ID: strconv.Itoa(i), TokenID: "x" + strconv.Itoa(i)}
	}
	return list
}

func TestRevokedAllocatesNothingAmong100000(t *testing.T) {
	s, u := open(t, revocation.Options{}), user()
	s.Publish(listed(many(100_000)...))
	if n := testing.AllocsPerRun(1000, func() { s.Revoked(u, now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
