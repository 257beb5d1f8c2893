package keeper_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.uber.org/goleak"

	"github.com/credence-mesh/credence/identity/ca"
	"github.com/credence-mesh/credence/identity/keeper"
	"github.com/credence-mesh/credence/identity/svid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func td() spiffeid.TrustDomain { return spiffeid.RequireTrustDomainFromString("td") }
func id() spiffeid.ID          { return spiffeid.RequireFromString("spiffe://td/ns/default/wl/orders") }

// counting is a CA that counts and can be made to fail.
type counting struct {
	*ca.CA

	issued atomic.Int64
	fail   atomic.Bool
}

func (c *counting) Issue(ctx context.Context, id spiffeid.ID, key crypto.PublicKey, ttl time.Duration) ([]*x509.Certificate, error) {
	c.issued.Add(1)
	if c.fail.Load() {
		return nil, errors.New("the authority is away")
	}
	return c.CA.Issue(ctx, id, key, ttl)
}

func setup(t *testing.T, dir string) (*counting, *keeper.Keeper) {
	t.Helper()
	a, err := ca.Open(ca.Options{Dir: dir, TrustDomain: td()})
	if err != nil {
		t.Fatal(err)
	}
	c := &counting{CA: a}
	k, err := keeper.New(keeper.Options{Authority: c, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return c, k
}

func run(t *testing.T, k *keeper.Keeper) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	}
}

func TestGetIssuesOnce(t *testing.T) {
	c, k := setup(t, t.TempDir())
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			s, err := k.Get(t.Context(), id())
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := svid.Verify(s.Certificates, c.Bundle(), time.Now()); err != nil {
				t.Error(err)
			}
			if err := svid.CheckKey(s.Certificates[0], s.PrivateKey); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := c.issued.Load(); n != 1 {
		t.Errorf("issued %d times", n)
	}
}

func TestRotatesAtHalfLife(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c, k := setup(t, dir)
		defer run(t, k)()
		first, err := k.Get(t.Context(), id())
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		changed := k.Changed()
		<-changed
		if d := time.Since(start); d < 27*time.Minute || d > 30*time.Minute {
			t.Errorf("replaced after %v", d)
		}
		second, err := k.Get(t.Context(), id())
		if err != nil {
			t.Fatal(err)
		}
		if second.Certificates[0].Equal(first.Certificates[0]) || second.PrivateKey == first.PrivateKey {
			t.Error("the same certificate or key again")
		}
		// In use once more, then never again: one more rotation, then it is dropped.
		time.Sleep(24 * time.Hour) //nolint:forbidigo // the bubble's clock
		if n := c.issued.Load(); n != 3 {
			t.Errorf("issued %d times; an unused SVID is still replaced", n)
		}
	})
}

func TestFailedRotationKeepsTheOldUntilItsEnd(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c, k := setup(t, dir)
		defer run(t, k)()
		first, err := k.Get(t.Context(), id())
		if err != nil {
			t.Fatal(err)
		}
		c.fail.Store(true)
		time.Sleep(50 * time.Minute) //nolint:forbidigo // the bubble's clock
		again, err := k.Get(t.Context(), id())
		if err != nil || again != first {
			t.Errorf("after a failed rotation: %v, %v", again, err)
		}
		if n := c.issued.Load(); n < 5 || n > 60 {
			t.Errorf("tried %d times in 20 minutes", n)
		}
		time.Sleep(11 * time.Minute) //nolint:forbidigo // the bubble's clock
		if s, err := k.Get(t.Context(), id()); err == nil {
			t.Errorf("an SVID that ended at %s", s.Certificates[0].NotAfter)
		}
		c.fail.Store(false)
		if _, err := k.Get(t.Context(), id()); err != nil {
			t.Error(err)
		}
	})
}

// liar signs for another ID, or another key, than it was asked for.
type liar struct {
	*ca.CA

	id  spiffeid.ID
	key crypto.PublicKey
}

func (l liar) Issue(ctx context.Context, id spiffeid.ID, key crypto.PublicKey, ttl time.Duration) ([]*x509.Certificate, error) {
	if !l.id.IsZero() {
		id = l.id
	}
	if l.key != nil {
		key = l.key
	}
	return l.CA.Issue(ctx, id, key, ttl)
}

func TestGetChecksTheAuthority(t *testing.T) {
	c, k := setup(t, t.TempDir())
	other, err := k.Get(t.Context(), id())
	if err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]liar{
		"another ID":  {CA: c.CA, id: spiffeid.RequireFromString("spiffe://td/other")},
		"another key": {CA: c.CA, key: other.PrivateKey.Public()},
	} {
		k, err := keeper.New(keeper.Options{Authority: l})
		if err != nil {
			t.Fatal(err)
		}
		if s, err := k.Get(t.Context(), id()); err == nil {
			t.Errorf("%s: %v", name, s.ID)
		}
	}
}
