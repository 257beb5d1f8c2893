//go:build e2e

package e2e_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/credence-mesh/credence/internal/testenv"
)

const stepUpPolicy = `  authentication: {issuers: [opaque]}
  rules:
  - {name: pay, to: [{paths: [/stepup/pay]}], require: {acr: [gold, silver], maxAge: 10m}}
`

// A user who has signed in too long ago or too weakly is told what to sign in with (RFC 9470 §3), and passes after that.
func (s *answered) stepUp(t *testing.T) {
	now := time.Now().Unix()
	user := func(acr string, at int64) []string {
		return []string{"Authorization", "Bearer " + tokenOf(fmt.Sprintf(`,"sub":"alice","acr":%q,"auth_time":%d`, acr, at))}
	}
	for name, headers := range map[string][]string{"too weak": user("tin", now), "too long ago": user("gold", now-3600), "both": user("tin", now-3600)} {
		got := s.do(t, "GET", "/stepup/pay", headers...)
		challenge := got.Header.Get("Www-Authenticate")
		for _, part := range []string{`Bearer realm="credence"`, `error="insufficient_user_authentication"`, `error_description="`} {
			if !strings.Contains(challenge, part) {
				t.Errorf("%s: no %s in %s", name, part, challenge)
			}
		}
		acr, age := strings.Contains(challenge, `acr_values="gold silver"`), strings.Contains(challenge, `max_age="600"`)
		if got.Status != 401 || name != "too long ago" && !acr || name != "too weak" && !age || !strings.Contains(got.Body, `"error":"insufficient_user_authentication"`) {
			t.Errorf("%s: %d %s %s", name, got.Status, challenge, got.Body)
		}
	}
	if got := s.do(t, "GET", "/stepup/pay", user("silver", now-60)...); got.Status != 200 {
		t.Errorf("after signing in again: %d %s", got.Status, got.Body)
	}
}

// Who guesses passwords is told when to come again, over HTTP and gRPC.
func (s *answered) tooMany(t *testing.T) {
	guess := func(i int) []string {
		return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "mallory:%d", i))}
	}
	limited := 0
	for i := range 40 {
		got := s.do(t, "GET", "/forwarded", guess(i)...)
		switch {
		case got.Status == 429 && got.Header.Get("Retry-After") == "1" && strings.Contains(got.Body, `"error":"too_many_requests"`) && strings.Contains(got.Body, `"status":429`):
			limited++
		case got.Status != 401:
			t.Fatalf("guess %d: %d %v %s", i, got.Status, got.Header, got.Body)
		}
	}
	if limited == 0 {
		t.Error("40 wrong passwords and no 429")
	}
	got := s.do(t, "POST", "/forwarded", append(guess(99), "Content-Type", "application/grpc")...)
	data, err := base64.RawStdEncoding.DecodeString(got.Header.Get("Grpc-Status-Details-Bin"))
	if err != nil {
		t.Fatal(err)
	}
	var status rpcstatus.Status
	retry := &errdetails.RetryInfo{}
	if err := proto.Unmarshal(data, &status); err != nil || len(status.GetDetails()) != 2 {
		t.Fatalf("%d %v: %v %v", got.Status, got.Header, &status, err)
	}
	if err := status.GetDetails()[1].UnmarshalTo(retry); err != nil || retry.GetRetryDelay().AsDuration() != time.Second || got.Header.Get("Grpc-Status") != "8" {
		t.Errorf("%v %v %v", got.Header, retry, err)
	}
}

// logs is what the product and its proxies have logged so far.
func (s *answered) logs(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.env.State, "log", "*.log"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var b strings.Builder
	for _, f := range files {
		body, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(body)
	}
	return b.String() + s.env.Log()
}

// logged waits until some line has all parts; Envoy writes its access log every ten seconds.
func (s *answered) logged(t *testing.T, parts ...string) {
	t.Helper()
	s.env.Await("a line with "+strings.Join(parts, ", "), func() string {
		for line := range strings.Lines(s.logs(t)) {
			if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(line, p) }) {
				return ""
			}
		}
		return "not there"
	})
}

// An API key in the query ends at the gateway: the service does not receive it, and no log has it. Both logs have the decision.
func (s *answered) keyInQuery(t *testing.T) {
	got := s.received(t, "/kinds?a=1&key="+queryKey+"&b=2")
	if got.Target != "/kinds?a=1&b=2" {
		t.Errorf("the service received %s", got.Target)
	}
	refused := s.do(t, "GET", "/kinds?key="+queryKey+"x")
	if refused.Status != 401 || strings.Contains(refused.Body, "legacy") {
		t.Errorf("a key that is unknown: %d %s", refused.Status, refused.Body)
	}
	s.received(t, "/claims/metadata", "Authorization", "Bearer "+tokenOf(`,"sub":"alice"`))
	nobody := s.do(t, "GET", "/plain")
	// What Check says of a request is in the access log of Envoy, from its dynamic metadata, for an allow and for a refusal.
	s.logged(t, `"path":"/claims/metadata"`, `"subject":"alice"`, `"oauth_client":"web"`, `"decision":"`, `"status":200`)
	s.logged(t, `"decision":"`+nobody.Header.Get("X-Credence-Decision")+`"`, `"status":401`, "ext_authz_denied")
	for _, id := range []string{got.Header.Get("X-Credence-Decision"), refused.Header.Get("X-Credence-Decision")} {
		s.logged(t, "msg=check", id)
		s.logged(t, `"decision":"`+id+`"`, `"path":"/kinds"`)
	}
	if strings.Contains(s.logs(t), "legacy-key") {
		t.Error("a log holds the key")
	}
}

// TestDPoPChallenge: whoever sends a DPoP-bound token wrongly is told the scheme and the algorithms (RFC 9449 §7.1).
func TestDPoPChallenge(t *testing.T) {
	t.Parallel()
	p, _ := startProven(t, false)
	k := newDPoPKey(t)
	token := p.token(t, map[string]any{"jkt": k.jkt})
	for name, auth := range map[string]string{"no proof": "DPoP " + token, "as Bearer": "Bearer " + token} {
		status, head := p.ask(t, nil, "GET", "/x", auth)
		challenge := strings.Join(head.Values("Www-Authenticate"), ", ")
		for _, part := range []string{`DPoP realm="credence", algs="`, "ES256", `error="`, `error_description="`} {
			if !strings.Contains(challenge, part) {
				t.Errorf("%s: no %s in %s", name, part, challenge)
			}
		}
		if status != 401 || strings.Contains(challenge, "HS256") || strings.Contains(challenge, "none") {
			t.Errorf("%s: %d %s", name, status, challenge)
		}
	}
}

// TestResourceMetadataWithoutCheck: the metadata of a resource is served by Envoy itself, so it is there while nobody can be asked, and
// nothing else is.
func TestResourceMetadataWithoutCheck(t *testing.T) {
	t.Parallel()
	s, m := answersManifests(t)
	p := newProcess(t, m)
	p.start()
	status := func(path string) (int, string) {
		r, err := testenv.Get(t.Context(), testenv.Request{Addr: s.frontAddr(), Host: "any.example", Path: path})
		if err != nil {
			t.Fatal(err)
		}
		return r.Status, r.Body
	}
	const path = "/.well-known/oauth-protected-resource/resource"
	before, body := status(path)
	if got, _ := status("/claims"); before != 200 || got != 200 {
		t.Fatalf("before: %d, %d", before, got)
	}
	p.kill()
	if got, now := status(path); got != 200 || now != body {
		t.Errorf("the metadata while credence is away: %d %s", got, now)
	}
	for _, other := range []string{"/claims", path + "/x", "/resource"} {
		if got, _ := status(other); got != 503 && got != 404 {
			t.Errorf("%s while credence is away: %d", other, got)
		}
	}
	p.start() // it ends the proxies of the run before
}
