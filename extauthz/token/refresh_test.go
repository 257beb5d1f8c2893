package token_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
)

// keyServer really listens; its keys may be swapped, and it may hang.
type keyServer struct {
	keys  atomic.Pointer[string]
	hangs atomic.Bool
	asked atomic.Int32
	url   string
}

func newKeyServer(t *testing.T, keys string) *keyServer {
	t.Helper()
	s := &keyServer{}
	s.keys.Store(&keys)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		if s.hangs.Load() {
			<-r.Context().Done()
			return
		}
		_, _ = w.Write([]byte(*s.keys.Load()))
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// network is a Verifier whose keys are fetched; it returns when each issuer's keys are there.
func network(t *testing.T, issuers ...policy.Issuer) *bench {
	t.Helper()
	ks := jwks.New(jwks.Options{Log: slog.New(slog.DiscardHandler)})
	v, err := token.New(token.Options{Keys: ks, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- ks.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	v.Publish(issuers)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		there := 0
		for _, st := range ks.Status() {
			if st.Keys > 0 {
				there++
			}
		}
		if there == len(issuers) {
			break
		}
		if t.Context().Err() != nil {
			t.Fatal("no keys")
		}
	}
	return &bench{Verifier: v}
}

func fetchedIssuer(s *keyServer) policy.Issuer {
	conf := defaultIssuer()
	conf.Keys = policy.KeySource{URL: s.url}
	return conf
}

// Requirement 5: the first token of a fresh key is good at once; the key that is gone verifies nothing more, cached or not.
func TestKeys5FreshKidIsGoodInOneRequest(t *testing.T) {
	t.Parallel()
	k := testKeys()
	s := newKeyServer(t, jwkSet(jwkOf("rsa", &k.rsa.PublicKey)))
	b := network(t, fetchedIssuer(s))
	old := sign(header(), claims())
	for range 2 {
		if _, err := b.verify(old); err != nil {
			t.Fatal(err)
		}
	}
	next := jwkSet(jwkOf("next", &k.rsa.PublicKey))
	s.keys.Store(&next)
	if _, err := b.verify(sign(header().with("kid", "next"), claims())); err != nil {
		t.Error(err)
	}
	_, err := b.verify(old) // cached until now
	wantReason(t, err, token.ErrInvalid, token.ReasonKidUnknown)
}

// Requirement 5: a signature that does not verify, a token without a kid and a token of another issuer fetch nothing.
func TestKeys5OnlyAnUnknownKidFetches(t *testing.T) {
	t.Parallel()
	k := testKeys()
	s := newKeyServer(t, jwkSet(jwkOf("rsa", &k.rsa.PublicKey), jwkOf("ec", &k.ec.PublicKey)))
	other := newKeyServer(t, jwkSet(jwkOf("rsa", &k.rsa.PublicKey)))
	second := fetchedIssuer(other)
	second.Name, second.Issuers = policy.Name{Namespace: "default", Name: "second"}, []string{"https://second.test"}
	b := network(t, fetchedIssuer(s), second)
	for i := range 50 {
		c := claims().with("jti", fmt.Sprint(i))
		forged := sign(header(), c)
		forged = forged[:len(forged)-8] + "AAAAAAAA"
		_, err := b.verify(forged)
		if !errors.Is(err, token.ErrInvalid) {
			t.Fatal(err)
		}
		_, err = b.verify(sign(header().without("kid").with("alg", "EdDSA"), c))
		if !errors.Is(err, token.ErrInvalid) {
			t.Fatal(err)
		}
		_, err = b.verify(sign(header().with("kid", "unknown"), c.with("iss", "https://third.test")))
		wantReason(t, err, token.ErrInvalid, token.ReasonIssuerUnknown)
	}
	if s.asked.Load() != 1 || other.asked.Load() != 1 {
		t.Errorf("%d and %d fetches, want one each", s.asked.Load(), other.asked.Load())
	}
	_, err := b.verify(sign(header().with("kid", "unknown"), claims()))
	wantReason(t, err, token.ErrInvalid, token.ReasonKidUnknown)
	if s.asked.Load() != 2 || other.asked.Load() != 1 {
		t.Errorf("%d and %d fetches, want 2 and 1", s.asked.Load(), other.asked.Load())
	}
}

// Requirement 5: where it can't be told in time, the configuration says which answer it is; never that the token is good.
func TestKeys5PendingByConfiguration(t *testing.T) {
	t.Parallel()
	k := testKeys()
	for answer, class := range map[policy.UnknownKey]error{
		policy.UnknownKeyUnavailable: token.ErrUnavailable, policy.UnknownKeyUnauthorized: token.ErrInvalid,
	} {
		s := newKeyServer(t, jwkSet(jwkOf("rsa", &k.rsa.PublicKey)))
		conf := fetchedIssuer(s)
		conf.Keys.UnknownKey = answer
		b := network(t, conf)
		s.hangs.Store(true)
		good := sign(header(), claims())
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				_, err := b.Verify(ctx, sign(header().with("kid", "next"), claims()), both)
				if !errors.Is(err, class) || token.Reason(err) != token.ReasonKeysPending {
					t.Errorf("%d: %v, want %v", answer, err, class)
				}
				if ctx.Err() != nil {
					t.Error("the request's own time is used up")
				}
			})
		}
		if _, err := b.verify(good); err != nil {
			t.Errorf("a good token meanwhile: %v", err)
		}
		wg.Wait()
		if n := s.asked.Load(); n != 2 {
			t.Errorf("%d fetches, want 2", n)
		}
	}
}

// Among many accepted issuers a token finds its own, cached or not, and is judged as among a few.
func TestManyIssuers(t *testing.T) {
	conf := make([]policy.Issuer, 20)
	var accepted []policy.Name
	for n := range conf {
		conf[n] = defaultIssuer()
		conf[n].Name.Name = fmt.Sprint("idp-", n)
		if n != 13 && n != 17 {
			conf[n].Issuers = []string{fmt.Sprintf("https://idp-%d.test", n)}
		}
		accepted = append(accepted, conf[n].Name)
	}
	conf[13].Audiences = []string{"https://other.test"} // the same iss as the 17th
	b := newBench(t, conf...)
	raw := sign(header(), claims())
	for range 2 {
		u, err := b.Verify(t.Context(), raw, accepted)
		if err != nil || u.Issuer != conf[17].Name {
			t.Fatalf("%+v, %v", u, err)
		}
	}
	without := append(accepted[:17:17], accepted[18:]...)
	_, err := b.Verify(t.Context(), raw, without) // cached, and not accepted
	wantReason(t, err, token.ErrInvalid, token.ReasonAudience)
	_, err = b.Verify(t.Context(), raw, append(without[:13:13], without[14:]...))
	wantReason(t, err, token.ErrInvalid, token.ReasonIssuerNotAccepted)
	missing := append(accepted[:0:0], accepted[:12]...)
	_, err = b.Verify(t.Context(), raw, append(missing, policy.Name{Namespace: "default", Name: "absent"}))
	wantReason(t, err, token.ErrUnavailable, token.ReasonIssuerConfig)
	b.at = now.Add(time.Hour)
	_, err = b.Verify(t.Context(), raw, accepted)
	if !errors.Is(err, token.ErrInvalid) {
		t.Errorf("cached and expired: %v", err)
	}
}

// Requirement 1: two issuers with one iss (every Kubernetes cluster has the same): tokens of the one don't have the other asked, and do not
// wait for it.
func TestKeys1SameIssTwoKeySets(t *testing.T) {
	t.Parallel()
	k := testKeys()
	one, two := newKeyServer(t, jwkSet(jwkOf("one", &k.stranger.PublicKey))), newKeyServer(t, jwkSet(jwkOf("rsa", &k.rsa.PublicKey)))
	a, b := fetchedIssuer(one), fetchedIssuer(two)
	a.Name.Name, b.Name.Name = "cluster-a", "cluster-b"
	v := network(t, a, b)
	asked := one.asked.Load()
	one.hangs.Store(true)
	accepted := []policy.Name{a.Name, b.Name}
	for n := range 5 {
		user, err := v.Verify(t.Context(), sign(header(), claims().with("jti", fmt.Sprint(n))), accepted)
		if err != nil || user.Issuer != b.Name {
			t.Fatalf("%+v, %v", user, err)
		}
	}
	if got := one.asked.Load() - asked; got != 0 {
		t.Errorf("the other issuer was asked %d times", got)
	}
	// What nobody knows has both asked, and hears that it could not be told.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := v.Verify(ctx, sign(header().with("kid", "new"), claims()), accepted)
	wantReason(t, err, token.ErrUnavailable, token.ReasonKeysPending)
}

// Where two issuers have one iss and one key set, the order of the policy says whose a token is, also while only the second has heard of its
// key: else a deny rule for the first would be passed by.
func TestKeys1SameIssOneKeySet(t *testing.T) {
	t.Parallel()
	k := testKeys()
	s := newKeyServer(t, jwkSet(jwkOf("rsa", &k.rsa.PublicKey)))
	a, b := fetchedIssuer(s), fetchedIssuer(s)
	a.Name.Name, b.Name.Name = "first", "second"
	v := network(t, a, b)
	next := jwkSet(jwkOf("next", &k.rsa.PublicKey))
	s.keys.Store(&next)
	head := header().with("kid", "next")
	if _, err := v.Verify(t.Context(), sign(head, claims()), []policy.Name{b.Name}); err != nil {
		t.Fatal(err)
	}
	user, err := v.Verify(t.Context(), sign(head, claims().with("jti", "2")), []policy.Name{a.Name, b.Name})
	if err != nil || user.Issuer != a.Name {
		t.Errorf("%+v, %v", user, err)
	}
}
