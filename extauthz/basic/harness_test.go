package basic_test

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/credence-mesh/credence/extauthz/basic"
	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	start = time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	staff = policy.Name{Namespace: "default", Name: "staff"}
	ops   = policy.Name{Namespace: "default", Name: "ops"}
)

func bcryptOf(t testing.TB, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func argonOf(password string) string {
	salt := []byte("some salt bytes!")
	enc := base64.RawStdEncoding.EncodeToString
	return "$argon2id$v=19$m=64,t=1,p=1$" + enc(salt) + "$" + enc(argon2.IDKey([]byte(password), salt, 1, 64, 1, 32))
}

func raw(userPassword string) string { return base64.StdEncoding.EncodeToString([]byte(userPassword)) }

// rig is a verifier with a clock of its own.
type rig struct {
	*basic.Verifier
	now time.Time
}

func newRig(all ...policy.Credentials) *rig {
	r := &rig{now: start}
	r.Verifier = basic.New(basic.Options{Now: func() time.Time { return r.now }, Hashes: 2})
	r.Publish(all)
	return r
}

func users(name policy.Name, pairs ...string) policy.Credentials {
	c := policy.Credentials{Name: name, Realm: name.Name}
	for i := 0; i < len(pairs); i += 2 {
		c.Users = append(c.Users, policy.BasicUser{Name: pairs[i], Hash: pairs[i+1], Grants: policy.Grants{Scopes: []string{"of-" + name.Name}}})
	}
	return c
}

// ask verifies and tells the reason, "" for a user, and how many hashes that took.
func (r *rig) ask(ctx context.Context, raw string, accepted ...policy.Name) (u *decide.User, reason string, hashes uint64) {
	if accepted == nil {
		accepted = []policy.Name{staff}
	}
	before := r.Hashes()
	u, err := r.Snapshot().Verify(ctx, raw, accepted)
	return u, credential.Reason(err), r.Hashes() - before
}

func (r *rig) expect(t *testing.T, userPassword, reason string, hashes uint64, accepted ...policy.Name) {
	t.Helper()
	u, got, n := r.ask(t.Context(), raw(userPassword), accepted...)
	if got != reason || n != hashes || (u == nil) != (reason != "") {
		t.Errorf("%q: %q after %d hashes (%+v), want %q after %d", userPassword, got, n, u, reason, hashes)
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func htpasswd(t testing.TB, text string) (policy.Credentials, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	write(t, path, text)
	return policy.Credentials{Name: staff, Htpasswd: &policy.Htpasswd{File: path, Grants: policy.Grants{Roles: []string{"reader"}}}}, path
}

func isUnavailable(err error) bool { return errors.Is(err, credential.ErrUnavailable) }

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithCancel(t.Context())
}
