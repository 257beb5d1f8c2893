package app_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/credence-mesh/credence/extauthz/basic"
	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/internal/app"
	"github.com/credence-mesh/credence/policy"
)

// A starting product waits for the users of every htpasswd file; later a file that comes bad harms its own users alone.
func TestPasswordsInReadiness(t *testing.T) {
	dir := t.TempDir()
	users := func(name string) policy.Credentials {
		return policy.Credentials{Name: policy.Name{Namespace: "default", Name: name}, Htpasswd: &policy.Htpasswd{File: filepath.Join(dir, name)}}
	}
	write := func(name, text string) { must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)) }
	v := basic.New(basic.Options{})
	h := app.NewPasswordHealth(jwks.New(jwks.Options{Log: slog.New(slog.DiscardHandler)}), v)
	says := func(step string, got []string, want string) {
		t.Helper()
		if (want == "") != (len(got) == 0) || want != "" && !strings.Contains(got[0], want) {
			t.Errorf("%s: %q, want %q", step, got, want)
		}
	}
	const line = "alice:$2y$10$abcdefghijklmnopqrstuuJr5m1Y9pW7ZJm2nWbXb0h1q3yqfZp6.\n"
	write("staff", "alice:plain\n")
	v.Publish([]policy.Credentials{users("staff")})
	says("a bad file", h.NotReady(nil), "the users of Credentials default/staff are not known: "+dir+"/staff:1: plain text")
	says("a bad file", h.Degraded(), "the users of Credentials default/staff are not known")
	v.Publish(nil)
	write("staff", line)
	v.Publish([]policy.Credentials{users("staff")})
	says("a good file", h.Degraded(), "")
	says("a good file", h.NotReady(nil), "")
	v.Publish([]policy.Credentials{users("staff"), users("late")})
	says("one that comes later", h.NotReady(nil), "")
	says("one that comes later", h.Degraded(), "the users of Credentials default/late are not known")
	twice := users("staff")
	twice.Users = []policy.BasicUser{{Name: "alice", Hash: strings.TrimSpace(strings.TrimPrefix(line, "alice:"))}}
	v.Publish([]policy.Credentials{twice})
	says("a user twice", h.Degraded(), "the users of Credentials default/staff need mending")
}
