package basic_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/credence-mesh/credence/extauthz/basic"
)

// FuzzVerify: one spelling of one credential is good, and no other.
func FuzzVerify(f *testing.F) {
	r := newRig(users(staff, "alice", bcryptOf(f, "pw")))
	good := raw("alice:pw")
	for _, s := range []string{good, raw("alice:"), raw(":"), raw("alice:pw\x00"), "", "=", "YWxpY2U6cHd=", good + "=", strings.ToLower(good)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r.now = r.now.Add(2 * time.Hour)
		u, reason, hashes := r.ask(t.Context(), s)
		if (u != nil) != (s == good) || (u == nil) == (reason == "") || hashes > 1 {
			t.Errorf("%q: %+v %q after %d hashes", s, u, reason, hashes)
		}
		if text, err := base64.StdEncoding.Strict().DecodeString(s); err != nil && reason != basic.ReasonMalformed {
			t.Errorf("%q is %q", text, reason)
		}
	})
}

// FuzzHtpasswd: whatever a file holds, its problems hold no part of a line that could be a password.
func FuzzHtpasswd(f *testing.F) {
	for _, s := range []string{"alice:" + bcryptOf(f, "x"), "\ufeff# x\r\nalice:" + argonOf("x") + ":y", "hunter2hunter2", "alice:hunter2hunter2", ":", "\x00:\x00"} {
		f.Add(s)
	}
	path := f.TempDir() + "/users"
	f.Fuzz(func(t *testing.T, text string) {
		write(t, path, text)
		lines, err := basic.CheckFile(path)
		for _, l := range lines {
			if l.Line < 1 || l.Line > strings.Count(text, "\n")+1 || strings.Contains(l.Message, "hunter2hunter2") {
				t.Errorf("%v", l)
			}
		}
		if len(lines) > 0 && err != nil {
			t.Errorf("%v and %v", lines, err)
		}
	})
}
