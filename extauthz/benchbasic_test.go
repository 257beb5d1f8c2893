package extauthz_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/extauthz/basic"
	"github.com/credence-mesh/credence/policy"
)

const (
	benchUsers = 64
	// benchHash is bcrypt of cost 10 over benchPassword.
	benchHash     = "$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga"
	benchPassword = "allmine"
)

// newBasicServer is newBenchServer for names and passwords; cold: each Check hashes.
func newBasicServer(cold bool) (*extauthz.Server, error) {
	staff := policy.Credentials{Name: name("staff"), Realm: "staff"}
	for i := range benchUsers {
		staff.Users = append(staff.Users, policy.BasicUser{Name: fmt.Sprint("user", i), Hash: benchHash, Grants: policy.Grants{Scopes: []string{"orders:read"}}})
	}
	o := basic.Options{}
	if cold {
		var n atomic.Int64
		o.Now = func() time.Time { return time.Unix(0, 0).Add(time.Duration(n.Add(1)) * 2 * time.Minute) }
		o.Hashes = benchUsers // all that come at once: none is turned away
	}
	v := basic.New(o)
	v.Publish([]policy.Credentials{staff})
	s, err := extauthz.New(extauthz.Options{
		Callers:  callers(func(context.Context) (policy.ProxyID, error) { return own, nil }),
		Verifier: v.Snapshot(),
		Snapshot: func() extauthz.Verifiers { return extauthz.Verifiers{Basic: v.Snapshot()} },
		PeerID: func(c string) (string, error) {
			id, _, _ := strings.Cut(c, "#")
			return peerIDs(id)
		},
		Log: slog.New(slog.NewJSONHandler(io.Discard, nil)), //nolint:sloglint // what a record costs is measured
	})
	if err != nil {
		return nil, err
	}
	set := orders()
	set.Credentials = []policy.Credentials{staff}
	for i := range set.Policies {
		if p := &set.Policies[i]; p.Name == name("tokens") {
			p.Issuers, p.Basic = nil, []policy.Name{staff.Name}
		}
	}
	s.Publish(set, 1)
	return s, nil
}

// fullBasic is full with the password of a user.
func fullBasic(user int) *authv3.CheckRequest {
	req := full("")
	req.Attributes.Request.Http.HeaderMap.Headers[0].RawValue = []byte("Basic " + base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "user%d:%s", user, benchPassword)))
	return req
}

// BenchmarkCheckBasic is BenchmarkCheck for names and passwords: known, and hashed (bcrypt of cost 10) in every Check.
func BenchmarkCheckBasic(b *testing.B) {
	b.Run("empty", func(b *testing.B) { load(b, startServer(b, "empty"), 0, fullBasic(0)) })
	b.Run("warm", func(b *testing.B) { load(b, startServer(b, "basic_warm"), 0, fullBasic(0)) })
	b.Run("cold", func(b *testing.B) {
		var requests []*authv3.CheckRequest
		for i := range benchUsers {
			requests = append(requests, fullBasic(i))
		}
		load(b, startServer(b, "basic_cold"), 0, requests...)
	})
}

// A known password costs a Check no more allocations than a cached JWT does.
func TestAllocationsOfPassword(t *testing.T) {
	s, err := newBasicServer(false)
	jwt, err2 := newBenchServer(newIDP().jwks(), false)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	measure := func(s *extauthz.Server, req *authv3.CheckRequest) float64 {
		return testing.AllocsPerRun(200, func() {
			resp, err := s.Check(context.Background(), req)
			if err != nil || resp.GetOkResponse() == nil {
				t.Fatal(resp, err)
			}
		})
	}
	password, cached := measure(s, fullBasic(0)), measure(jwt, full(newIDP().mint(t, "ES256", "1", "orders:read")))
	t.Logf("password %.0f, JWT %.0f allocations", password, cached)
	if password > cached+4 { // what pools forget under the race detector
		t.Errorf("a known password takes %.0f allocations, a JWT %.0f", password, cached)
	}
}
