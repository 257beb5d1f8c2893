package basic_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/extauthz/basic"
	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

func TestUser(t *testing.T) {
	c := users(staff, "alice", bcryptOf(t, "pw"))
	c.Users[0].Grants = policy.Grants{Scopes: []string{"a"}, Roles: []string{"r"}, Groups: []string{"g"}}
	u, _, _ := newRig(c).ask(t.Context(), raw("alice:pw"))
	want := &decide.User{
		Issuer: staff, IssuerURL: "credentials/default/staff", Subject: "alice", Credential: policy.Basic, Origin: policy.Basic,
		Scopes: []string{"a"}, Roles: []string{"r"}, Groups: []string{"g"},
	}
	if d := cmp.Diff(want, u); d != "" {
		t.Error(d)
	}
}

func TestPasswords(t *testing.T) {
	r := newRig(users(staff, "alice", bcryptOf(t, "pw"), "bob", argonOf("p:w:"), "zoë", bcryptOf(t, "grün"), "empty", argonOf("")))
	for _, tt := range []struct{ credential, reason string }{
		{"alice:pw", ""},
		{"bob:p:w:", ""}, // the first colon splits
		{"zoë:grün", ""},
		{"empty:", ""},
		{"alice:PW", basic.ReasonRefused},
		{"alice:pw ", basic.ReasonRefused},
		{"alice:", basic.ReasonRefused},
		{"Alice:pw", basic.ReasonRefused},
		{" alice:pw", basic.ReasonRefused},
		{"bob:pw", basic.ReasonRefused},
		{"mallory:pw", basic.ReasonRefused},
		{"zoe\u0308:grün", basic.ReasonRefused}, // another normal form is another name
	} {
		r.expect(t, tt.credential, tt.reason, 1)
	}
	latin1 := "zo\xeb:gr\xfcn"
	for name, s := range map[string]string{
		"no colon": raw("alice"), "nothing": "", "no name": raw(":pw"), "NUL": raw("alice:pw\x00"), "tab": raw("alice:\tpw"), "DEL": raw("alice:pw\x7f"),
		"C1": raw("alice:pw\u0085"), "Latin-1": raw(latin1), "not base64": "%%%", "no padding": strings.TrimRight(raw("alice:pw"), "="),
		"base64url": base64.URLEncoding.EncodeToString([]byte("alice:~~~???")), "line break": raw("alice:pw")[:4] + "\r\n" + raw("alice:pw")[4:],
		"odd last bits": "YWxpY2U6cHd=", "more than padding": raw("alice:p") + "=", "long": raw("alice:" + strings.Repeat("x", 2000)),
		"long name": raw(strings.Repeat("x", 256) + ":pw"), "long password": raw("alice:" + strings.Repeat("x", 1025)),
	} {
		if u, reason, n := r.ask(t.Context(), s); u != nil || reason != basic.ReasonMalformed || n != 0 {
			t.Errorf("%s: %+v %q after %d hashes", name, u, reason, n)
		}
	}
}

// TestBcrypt72 is a trap of bcrypt: 72 bytes are hashed, whatever follows.
func TestBcrypt72(t *testing.T) {
	long := strings.Repeat("0123456789", 7) + "ab"
	r := newRig(users(staff, "alice", bcryptOf(t, long), "bob", argonOf(long+"c")))
	r.expect(t, "alice:"+long+"c", basic.ReasonRefused, 1)
	r.expect(t, "alice:"+long+long, basic.ReasonRefused, 1)
	r.expect(t, "alice:"+long, "", 1)
	r.expect(t, "bob:"+long, basic.ReasonRefused, 1)
	r.expect(t, "bob:"+long+"c", "", 1)
}

// TestStrangersCostTheSame: an unknown name and a wrong password are the same work, the first time and again, and end in the same words.
func TestStrangersCostTheSame(t *testing.T) {
	r := newRig(users(staff, "alice", bcryptOf(t, "pw"), "bob", argonOf("pw")))
	var said []string
	for _, c := range []string{"alice:no", "mallory:no", "bob:no", "trent:no", "mallory:pw"} {
		r.expect(t, c, basic.ReasonRefused, 1)
		r.expect(t, c, basic.ReasonRefused, 0)
		r.now = r.now.Add(2 * time.Minute)
		r.expect(t, c, basic.ReasonRefused, 1)
		_, err := r.Snapshot().Verify(t.Context(), raw(c), []policy.Name{staff})
		said = append(said, err.Error())
	}
	for _, s := range said {
		if s != said[0] {
			t.Errorf("%q and %q tell names apart", s, said[0])
		}
	}
}

// TestStrangersTryNobodysPassword: the hash that stands in for a stranger's is a user's, and its outcome shows in nothing. Were it remembered
// as right, the next try would be no guess.
func TestStrangersTryNobodysPassword(t *testing.T) {
	r := newRig(users(staff, "alice", bcryptOf(t, "pw")))
	for _, password := range []string{"pw", "no"} {
		hashes, limited := uint64(0), 0
		for i := range 30 {
			_, reason, n := r.ask(t.Context(), raw("stranger-"+password+":"+password))
			hashes += n
			if reason == basic.ReasonGuesses {
				limited++
			}
			if i > 0 {
				r.now = r.now.Add(time.Second)
			}
			r.ask(t.Context(), raw(fmt.Sprintf("stranger-%s:%d", password, i)))
		}
		if hashes != 1 || limited != 0 {
			t.Errorf("%s: %d hashes, %d limited", password, hashes, limited)
		}
		r.now = r.now.Add(2 * time.Minute)
		_, reason, n := r.ask(t.Context(), raw("stranger-"+password+":"+password))
		if reason != basic.ReasonRefused || n != 1 {
			t.Errorf("%s, after its time: %q after %d hashes", password, reason, n)
		}
	}
}

func TestKnownUserCostsNoHash(t *testing.T) {
	r := newRig(users(staff, "alice", bcryptOf(t, "pw"), "bob", bcryptOf(t, "pw")))
	r.expect(t, "alice:pw", "", 1)
	for range 100 {
		r.expect(t, "alice:pw", "", 0)
	}
	r.expect(t, "alice:px", basic.ReasonRefused, 1) // what is known of one password says nothing of another
	r.expect(t, "bob:pw", "", 1)
	r.now = r.now.Add(59 * time.Second)
	r.expect(t, "alice:pw", "", 0)
	r.now = r.now.Add(2 * time.Second)
	r.expect(t, "alice:pw", "", 1)
	r.now = r.now.Add(-time.Hour) // a clock that goes back must not make it last longer
	r.expect(t, "alice:pw", "", 1)
}

// TestNewHashEndsWhatWasKnown: the hash of a user changes, and what the old password was is forgotten at once; grants are those of now.
func TestNewHashEndsWhatWasKnown(t *testing.T) {
	c := users(staff, "alice", bcryptOf(t, "old"))
	r := newRig(c)
	r.expect(t, "alice:old", "", 1)
	same := users(staff, "alice", c.Users[0].Hash)
	same.Users[0].Scopes = []string{"other"}
	r.Publish([]policy.Credentials{same})
	if u, reason, n := r.ask(t.Context(), raw("alice:old")); reason != "" || n != 0 || u.Scopes[0] != "other" {
		t.Errorf("%+v %q after %d hashes", u, reason, n)
	}
	before := r.Snapshot()
	r.Publish([]policy.Credentials{users(staff, "alice", bcryptOf(t, "new"))})
	r.expect(t, "alice:old", basic.ReasonRefused, 1)
	r.expect(t, "alice:new", "", 1)
	if _, err := before.Verify(t.Context(), raw("alice:old"), []policy.Name{staff}); err != nil {
		t.Errorf("a snapshot changed: %v", err)
	}
	r.Publish(nil)
	r.expect(t, "alice:new", basic.ReasonUsers, 0)
}

func TestSeveralCredentials(t *testing.T) {
	r := newRig(users(staff, "alice", bcryptOf(t, "a"), "both", bcryptOf(t, "s")), users(ops, "bob", bcryptOf(t, "b"), "both", bcryptOf(t, "o")))
	r.expect(t, "alice:a", "", 1, ops, staff)
	r.expect(t, "bob:b", "", 1, ops, staff)
	r.expect(t, "alice:a", "", 0, staff)
	r.expect(t, "alice:a", basic.ReasonRefused, 1, ops)
	for _, password := range []string{"s", "o", "x"} {
		r.expect(t, "both:"+password, basic.ReasonAmbiguous, 1, ops, staff)
	}
	r.expect(t, "both:s", "", 1, staff)
	r.expect(t, "both:s", basic.ReasonAmbiguous, 1, staff, ops)
	u, _, _ := r.ask(t.Context(), raw("both:o"), ops)
	if u == nil || u.Issuer != ops || u.Scopes[0] != "of-ops" {
		t.Errorf("%+v", u)
	}
	r.expect(t, "alice:a", basic.ReasonUsers, 0, staff, policy.Name{Namespace: "default", Name: "gone"})
	if _, err := r.Snapshot().Verify(t.Context(), raw("alice:a"), nil); !isUnavailable(err) {
		t.Errorf("nothing accepted: %v", err)
	}
}

// TestGuessesAreLimited counts: a flood of wrong passwords is hashed ten times, and holds up nobody else.
func TestGuessesAreLimited(t *testing.T) {
	r := newRig(users(staff, "alice", bcryptOf(t, "pw"), "bob", bcryptOf(t, "pw"), "carol", bcryptOf(t, "pw")))
	r.expect(t, "bob:pw", "", 1)
	for _, name := range []string{"alice", "mallory", "bob"} {
		before, limited := r.Hashes(), 0
		for i := range 100 {
			_, err := r.Snapshot().Verify(t.Context(), raw(fmt.Sprintf("%s:%d", name, i)), []policy.Name{staff})
			if errors.Is(err, credential.ErrLimited) && credential.Reason(err) == basic.ReasonGuesses {
				limited++
			} else if !errors.Is(err, credential.ErrInvalid) {
				t.Errorf("%v", err)
			}
		}
		if n := r.Hashes() - before; n != 10 || limited != 90 {
			t.Errorf("%s: %d hashes, %d limited", name, n, limited)
		}
	}
	r.expect(t, "bob:pw", "", 0)
	r.expect(t, "carol:pw", "", 1)
	r.now = r.now.Add(2 * time.Second)
	r.expect(t, "alice:pw", basic.ReasonGuesses, 0) // right, but nobody can know
	r.now = r.now.Add(59 * time.Second)
	for i := range 20 {
		r.ask(t.Context(), raw(fmt.Sprintf("bob:more%d", i)))
	}
	r.expect(t, "bob:pw", "", 1) // it was right within the hour: no guess
	r.expect(t, "alice:pw", "", 1)
}

// TestRightPasswordsAreNoGuesses: a user with many cold starts is not limited.
func TestRightPasswordsAreNoGuesses(t *testing.T) {
	r := newRig(users(staff, "alice", bcryptOf(t, "pw")))
	for range 50 {
		r.expect(t, "alice:pw", "", 1)
		r.now = r.now.Add(2 * time.Hour)
	}
}

func TestHashingIsBounded(t *testing.T) {
	slow := "$argon2id$v=19$m=32768,t=4,p=1$c29tZXNhbHRzb21lc2FsdA$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
	r := &rig{now: start}
	r.Verifier = basic.New(basic.Options{Now: func() time.Time { return start }, Hashes: 1})
	r.Publish([]policy.Credentials{users(staff, "alice", slow)})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	reasons := make(chan string, 100)
	for i := range 100 {
		wg.Go(func() {
			_, err := r.Snapshot().Verify(ctx, raw(fmt.Sprintf("u%d:x", i)), []policy.Name{staff})
			reasons <- credential.Reason(err)
			if credential.Reason(err) == basic.ReasonBusy && !isUnavailable(err) {
				t.Errorf("%v", err)
			}
		})
	}
	got := map[string]int{}
	for range 80 {
		got[<-reasons]++
	}
	if got[basic.ReasonBusy] == 0 {
		t.Errorf("nobody was turned away: %v", got)
	}
	cancel()
	wg.Wait()
	if n := r.Hashes(); n >= 100 {
		t.Errorf("%d hashes", n)
	}
}

// TestSamePasswordIsHashedOnce: a user's many requests at once.
func TestSamePasswordIsHashedOnce(t *testing.T) {
	r := newRig(users(staff, "alice", bcryptOf(t, "pw")))
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if u, err := r.Snapshot().Verify(t.Context(), raw("alice:pw"), []policy.Name{staff}); u == nil || err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := r.Hashes(); n != 1 {
		t.Errorf("%d hashes", n)
	}
}

func TestEndedContext(t *testing.T) {
	r := newRig(users(staff, "alice", bcryptOf(t, "pw")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, warm := range []bool{false, true} {
		if warm {
			r.expect(t, "alice:pw", "", 1)
		}
		if u, err := r.Snapshot().Verify(ctx, raw("alice:pw"), []policy.Name{staff}); u != nil || !isUnavailable(err) {
			t.Errorf("warm %t: %+v, %v", warm, u, err)
		}
	}
	for i := range 50 { // what was given up is no guess
		_, _ = r.Snapshot().Verify(ctx, raw(fmt.Sprintf("alice:%d", i)), []policy.Name{staff})
	}
	r.expect(t, "alice:no", basic.ReasonRefused, 1)
}

func TestErrorsTellNoSecrets(t *testing.T) {
	r := newRig(users(staff, "alice", bcryptOf(t, "pw")))
	for _, c := range []string{"alice:hunter2", "hunter2", "hunter2:x", "alice:hunter2\x00"} {
		if _, err := r.Snapshot().Verify(t.Context(), raw(c), []policy.Name{staff}); err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), raw(c)) {
			t.Errorf("%v", err)
		}
	}
}

// TestFloodDoesNotHoldUpProvenUsers: all slots and places for guesses are taken, and who was right within the hour is hashed all the same.
func TestFloodDoesNotHoldUpProvenUsers(t *testing.T) {
	const slow = "$argon2id$v=19$m=65536,t=8,p=1$c29tZXNhbHRzb21lc2FsdA$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
	c := users(staff, "alice", bcryptOf(t, "pw"), "bob", bcryptOf(t, "pw"))
	for i := range 40 {
		c.Users = append(c.Users, policy.BasicUser{Name: fmt.Sprint("slow", i), Hash: slow})
	}
	var mu sync.Mutex
	now := start
	v := basic.New(basic.Options{Hashes: 1, Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}})
	v.Publish([]policy.Credentials{c})
	verify := func(ctx context.Context, userPassword string) string {
		_, err := v.Snapshot().Verify(ctx, raw(userPassword), []policy.Name{staff})
		return credential.Reason(err)
	}
	if reason := verify(t.Context(), "alice:pw"); reason != "" {
		t.Fatal(reason)
	}
	mu.Lock()
	now = now.Add(2 * time.Minute)
	mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	busy := make(chan string, 40)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() { busy <- verify(ctx, fmt.Sprintf("slow%d:guess", i)) })
	}
	for range 23 { // 40 without the one that is hashed and those that wait
		if reason := <-busy; reason != basic.ReasonBusy && reason != basic.ReasonRefused {
			t.Errorf("%q", reason)
		}
	}
	before := v.Hashes()
	if reason := verify(t.Context(), "alice:pw"); reason != "" {
		t.Errorf("who was right within the hour: %q", reason)
	}
	if n := v.Hashes() - before; n < 1 {
		t.Error("it was not hashed")
	}
	cancel()
	wg.Wait()
}
