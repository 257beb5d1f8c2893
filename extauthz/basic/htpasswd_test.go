package basic_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/credence-mesh/credence/extauthz/basic"
	"github.com/credence-mesh/credence/policy"
)

// TestHtpasswdAsPeopleHaveThem: a byte order mark, CRLF, comments, blank lines, remarks after a second colon, $2y$, no last line break.
func TestHtpasswdAsPeopleHaveThem(t *testing.T) {
	y := "$2y$" + strings.TrimPrefix(bcryptOf(t, "a"), "$2a$")
	b := "$2b$" + strings.TrimPrefix(bcryptOf(t, "b"), "$2a$")
	c, _ := htpasswd(t, "\ufeff# users\r\n\r\nalice:"+y+"\r\n  # more\r\n \t\r\nbob:"+b+":the remark\r\ncarol:"+argonOf("c")+"  \r\nan other:"+bcryptOf(t, "d"))
	r := newRig(c)
	for _, ok := range []string{"alice:a", "bob:b", "carol:c", "an other:d"} {
		r.expect(t, ok, "", 1)
	}
	if u, _, _ := r.ask(t.Context(), raw("alice:a")); u == nil || u.Roles[0] != "reader" {
		t.Errorf("%+v", u)
	}
	if s := r.Status(); len(s) != 1 || s[0].Users != 4 || !s[0].Usable || s[0].Problem != "" {
		t.Errorf("%+v", s)
	}
}

// TestWeakHtpasswd: every weak form is refused with file and line, and the message does not hold it.
func TestWeakHtpasswd(t *testing.T) {
	good := "good:" + bcryptOf(t, "pw")
	for name, tt := range map[string]struct{ line, want string }{
		"plain":           {"alice:hunter2", "plain text"},
		"empty":           {"alice:", "plain text"},
		"SHA":             {"alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA-1"},
		"SSHA":            {"alice:{SSHA}W6ph5Mm5Pz8GgiULbPgzG37mj9hhYmNk", "SHA-1"},
		"MD5 of Apache":   {"alice:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/", "MD5"},
		"MD5 crypt":       {"alice:$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/", "MD5"},
		"SHA-256 crypt":   {"alice:$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8", "SHA-256 crypt"},
		"SHA-512 crypt":   {"alice:$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO/O817G3uBnIFNjnQJuesI68OTLiBFdcbYEdFCoEOfaS35inz1", "SHA-512 crypt"},
		"crypt":           {"alice:rl.3StKT.4T8M", "DES crypt"},
		"argon2i":         {"alice:$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAECAwQFBgcICQoLDA0ODw", "argon2i"},
		"old bcrypt":      {"alice:$2x$" + bcryptOf(t, "x")[4:], "bcrypt"},
		"costly bcrypt":   {"alice:$2y$14" + bcryptOf(t, "x")[6:], "cost 14"},
		"costly argon2id": {"alice:" + strings.Replace(argonOf("x"), "m=64,t=1", "m=131072,t=9", 1), "costs more"},
		"damaged":         {"alice:" + bcryptOf(t, "x")[:59], "damaged"},
		"no colon":        {"hunter2", "no colon"},
		"no name":         {":" + bcryptOf(t, "x"), "no user name"},
		"twice":           {"good:" + bcryptOf(t, "x"), "line 1 again"},
	} {
		t.Run(name, func(t *testing.T) {
			c, path := htpasswd(t, good+"\n\n"+tt.line+"\n")
			lines, err := basic.CheckFile(path)
			if err != nil || len(lines) != 1 || lines[0].File != path || lines[0].Line != 3 || !strings.Contains(lines[0].Message, tt.want) {
				t.Fatalf("%v, %v", lines, err)
			}
			line := lines[0]
			if _, secret, ok := strings.Cut(tt.line, ":"); strings.Contains(line.Message, "hunter2") || ok && secret != "" && strings.Contains(line.Message, secret) {
				t.Errorf("it tells the secret: %v", line)
			}
			r := newRig(c)
			r.expect(t, "good:pw", basic.ReasonUsers, 0)
			if s := r.Status(); s[0].Usable || s[0].Problem != line.Error() {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestHtpasswdThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	fifo := dir + "/fifo"
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	empty, large := dir+"/empty", dir+"/large"
	write(t, empty, "# nobody\n")
	write(t, large, strings.Repeat("#", 5<<20))
	for _, path := range []string{dir + "/missing", dir, fifo, empty, large} {
		if lines, err := basic.CheckFile(path); err == nil || len(lines) > 0 {
			t.Errorf("%s: %v, %v", path, lines, err)
		}
		r := newRig(policy.Credentials{Name: staff, Users: users(staff, "alice", bcryptOf(t, "pw")).Users, Htpasswd: &policy.Htpasswd{File: path}})
		r.expect(t, "alice:pw", basic.ReasonUsers, 0) // another alice could be in the file
		if s := r.Status(); s[0].Usable || s[0].Problem == "" {
			t.Errorf("%s: %+v", path, s)
		}
	}
}

// TestEditedHtpasswd: an edit takes effect, a bad one leaves the last good users, and what is mended is in use again.
func TestEditedHtpasswd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, path := htpasswd(t, "alice:"+bcryptOf(t, "old")+"\nbob:"+bcryptOf(t, "pw"))
		r := newRig(c)
		done := make(chan error, 1)
		ctx, cancel := contextOf(t)
		go func() { done <- r.Run(ctx) }()
		settle := func() {
			time.Sleep(2 * time.Second) //nolint:forbidigo // time of the bubble
			synctest.Wait()
		}
		settle()
		r.expect(t, "alice:old", "", 1)
		write(t, path, "alice:"+bcryptOf(t, "new"))
		settle()
		r.expect(t, "alice:old", basic.ReasonRefused, 1)
		r.expect(t, "alice:new", "", 1)
		r.expect(t, "bob:pw", basic.ReasonRefused, 1)
		for what, spoil := range map[string]func(){
			"a weak line": func() { write(t, path, "alice:"+bcryptOf(t, "x")+"\nbob:plain") },
			"nothing":     func() { write(t, path, "") },
			"no file":     func() { _ = os.Remove(path) },
		} {
			spoil()
			settle()
			r.expect(t, "alice:new", "", 0)
			if s := r.Status(); !s[0].Usable || s[0].Problem == "" {
				t.Errorf("%s: %+v", what, s)
			}
		}
		write(t, path, "alice:"+bcryptOf(t, "newer"))
		settle()
		r.expect(t, "alice:new", basic.ReasonRefused, 1)
		r.expect(t, "alice:newer", "", 1)
		if s := r.Status(); s[0].Problem != "" {
			t.Errorf("%+v", s)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestUserOfManifestAndFile: two passwords for one name, so it is nobody's.
func TestUserOfManifestAndFile(t *testing.T) {
	c, path := htpasswd(t, "bob:"+bcryptOf(t, "pw")+"\nalice:"+bcryptOf(t, "file"))
	c.Users = users(staff, "alice", bcryptOf(t, "manifest")).Users
	r := newRig(c)
	r.expect(t, "alice:file", basic.ReasonRefused, 1)
	r.expect(t, "alice:manifest", basic.ReasonRefused, 1)
	r.expect(t, "bob:pw", "", 1)
	if s, want := r.Status(), fmt.Sprintf("%s:2: ", path); !strings.HasPrefix(s[0].Problem, want) || !s[0].Usable {
		t.Errorf("%+v", s)
	}
}

func TestHashThatIsNone(t *testing.T) {
	r := newRig(users(staff, "alice", "plain", "bob", bcryptOf(t, "pw")))
	r.expect(t, "bob:pw", basic.ReasonUsers, 0)
	r.expect(t, "alice:plain", basic.ReasonUsers, 0)
}
