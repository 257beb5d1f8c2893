//go:build e2e

package main_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/credence-mesh/credence/extauthz/txntoken"
	"github.com/credence-mesh/credence/internal/testenv"
)

// certificates is where programs that bring trust anchors of their own find the machine's.
const certificates = "/etc/ssl/certs/ca-certificates.crt"

// verifiers holds that verify.py and verify.mjs, with the ordinary libraries of their languages, take raw and nothing that is not quite it.
func verifiers(t *testing.T, env *testenv.Env, raw string) {
	for name, verifier := range map[string][]string{"Python": python(t), "Node": node(t)} {
		verify := func(t *testing.T, token string) (string, string, error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, verifier[0], verifier[1], env.Endpoints().InternalTokenKeys, "hops.test")
			cmd.Stdin = strings.NewReader(token)
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			err := cmd.Run()
			return out.String(), errs.String(), err
		}
		t.Run(name, func(t *testing.T) {
			good := resigned(t, env, raw, func(_, _ map[string]any) {})
			for _, token := range []string{raw, good} {
				if out, errs, err := verify(t, token); err != nil || !strings.Contains(out, "alice") {
					t.Errorf("%v: %s%s", err, out, errs)
				}
			}
			for fault, token := range badTokens(t, env, raw) {
				t.Run(fault, func(t *testing.T) {
					if out, errs, err := verify(t, token); err == nil || out != "" || !strings.HasPrefix(errs, "refused: ") {
						t.Errorf("%v: %s%s", err, out, errs)
					}
				})
			}
		})
	}
}

func badTokens(t *testing.T, env *testenv.Env, raw string) map[string]string {
	t.Helper()
	parts, now := strings.Split(raw, "."), time.Now().Unix()
	claim := func(name string, value any) string {
		return resigned(t, env, raw, func(_, c map[string]any) { c[name] = value })
	}
	return map[string]string{
		"forged":                  parts[0] + "." + parts[1] + "." + strings.Repeat("A", 86),
		"alg none":                encoded(t, map[string]string{"typ": "txntoken+jwt", "alg": "none"}) + "." + parts[1] + ".",
		"of another issuer":       claim("iss", "https://credence.other.test"),
		"of another trust domain": claim("aud", "spiffe://other.test"),
		"for others too":          claim("aud", []string{"spiffe://hops.test", "spiffe://other.test"}),
		"expired":                 resigned(t, env, raw, func(_, c map[string]any) { c["iat"], c["exp"] = now-120, now-60 }),
		"asked for from another":  claim("req_wl", "spiffe://hops.test.other/ns/default/wl/web"),
		"without a requester":     resigned(t, env, raw, func(_, c map[string]any) { delete(c, "req_wl") }),
		"of another type":         resigned(t, env, raw, func(h, _ map[string]any) { h["typ"] = "at+jwt" }),
		"the user's own token":    env.Token("https://shop.localhost", "orders:read"),
	}
}

// resigned is token with other claims and a signature of the mesh's own key.
func resigned(t *testing.T, env *testenv.Env, token string, change func(header, claims map[string]any)) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(env.State, txntoken.KeysFile))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Keys []struct {
			Kid  string
			Seed []byte
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	var decoded [2]map[string]any
	for i, part := range strings.Split(token, ".")[:2] {
		data, err := base64.RawURLEncoding.DecodeString(part)
		if err = errors.Join(err, json.Unmarshal(data, &decoded[i])); err != nil {
			t.Fatal(err)
		}
	}
	change(decoded[0], decoded[1])
	for _, k := range file.Keys {
		if k.Kid == decoded[0]["kid"] {
			signed := encoded(t, decoded[0]) + "." + encoded(t, decoded[1])
			return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(ed25519.NewKeyFromSeed(k.Seed), []byte(signed)))
		}
	}
	t.Fatal("the key that has signed is not in the file")
	return ""
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

// python installs what verify.py needs, of the versions that requirements.txt pins by hash.
func python(t *testing.T) []string {
	t.Helper()
	at := filepath.Join(t.TempDir(), "python")
	run(t, "python3", "-m", "venv", "--without-pip", at)
	own := filepath.Join(at, "bin", "python3")
	site := strings.TrimSpace(run(t, own, "-c", `import sysconfig; print(sysconfig.get_path("purelib"))`))
	run(t, "python3", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore", "--require-hashes", "--no-deps",
		"--only-binary=:all:", "--target", site, "--requirement", "requirements.txt")
	return []string{own, "verify.py"}
}

// node installs what verify.mjs needs, of the version that package-lock.json pins by hash, beside a copy of it.
func node(t *testing.T) []string {
	t.Helper()
	at := t.TempDir()
	for _, f := range []string{"verify.mjs", "package.json", "package-lock.json"} {
		text, err := os.ReadFile(filepath.Clean(f))
		if err = errors.Join(err, os.WriteFile(filepath.Join(at, f), text, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(certificates); err == nil && os.Getenv("NODE_EXTRA_CA_CERTS") == "" {
		t.Setenv("NODE_EXTRA_CA_CERTS", certificates)
	}
	run(t, "npm", "ci", "--prefix", at, "--no-audit", "--no-fund", "--loglevel=error")
	return []string{"node", filepath.Join(at, "verify.mjs")}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
