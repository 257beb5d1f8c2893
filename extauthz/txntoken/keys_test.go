package txntoken_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/extauthz/txntoken"
	"github.com/credence-mesh/credence/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestKeysArePublishedBeforeTheySignAndAfter(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir := t.TempDir()
		k, m := open(t, dir)
		mesh := meshOf(func(c *policy.InternalTokens) { c.RotateEvery, c.TTL = time.Hour, 5*time.Minute })
		v := publish(t, m, mesh)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- k.Run(ctx) }()
		signing := func() string {
			raw := mint(t, m, asking(alice()))
			if _, err := v.Verify(ctx, raw, nil); err != nil {
				t.Fatalf("a fresh token: %v", err)
			}
			h, _ := claimsOf(t, raw)
			return h["kid"].(string)
		}
		published, signed, gone := map[string]time.Duration{}, map[string]time.Duration{}, map[string]time.Duration{}
		began := time.Now()
		for time.Since(began) < 4*time.Hour {
			all := kids(t, k)
			for _, id := range all {
				if _, ok := published[id]; !ok {
					published[id] = time.Since(began)
				}
			}
			for id := range published {
				if _, ok := gone[id]; !ok && !slices.Contains(all, id) {
					gone[id] = time.Since(began)
				}
			}
			if id := signing(); signed[id] == 0 {
				signed[id] = time.Since(began) + 1
			}
			time.Sleep(30 * time.Second) //nolint:forbidigo // the bubble's time
			synctest.Wait()
		}
		if len(signed) != 4 || len(gone) != 3 {
			t.Errorf("in 4 h %d keys have signed and %d are gone", len(signed), len(gone))
		}
		for id, at := range signed {
			if at > time.Minute && at-published[id] < 9*time.Minute+30*time.Second {
				t.Errorf("%s was published %s before it signed", id, at-published[id])
			}
			if end, ok := gone[id]; ok && end-at < time.Hour+14*time.Minute {
				t.Errorf("%s was gone %s after it began to sign", id, end-at)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestKeysOutliveTheProcess(t *testing.T) {
	dir := t.TempDir()
	k, m := open(t, dir)
	publish(t, m, meshOf())
	raw := mint(t, m, asking(alice()))
	info, err := os.Stat(filepath.Join(dir, txntoken.KeysFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	again, m2 := open(t, dir)
	if _, err := publish(t, m2, meshOf()).Verify(context.Background(), raw, nil); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if diff := cmp.Diff(kids(t, k), kids(t, again)); diff != "" {
		t.Error(diff)
	}
}

func TestADamagedFileIsRefusedAndLeftAlone(t *testing.T) {
	dir := t.TempDir()
	_, m := open(t, dir)
	publish(t, m, meshOf())
	file := filepath.Join(dir, txntoken.KeysFile)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"empty": "", "half": string(good[:len(good)/2]), "text": "hello", "no keys": `{"format":1,"keys":[]}`, "format": strings.Replace(string(good), `"format":1`, `"format":2`, 1),
		"a short seed": `{"format":1,"keys":[{"kid":"a","seed":"AAAA","starts":"2026-01-01T00:00:00Z"}]}`, "more": string(good) + "{}",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := txntoken.OpenKeys(txntoken.KeysOptions{Dir: dir})
		if !errors.Is(err, txntoken.ErrCorrupt) || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != content {
			t.Errorf("%s: the file was changed", name)
		}
	}
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := txntoken.OpenKeys(txntoken.KeysOptions{Dir: dir}); !errors.Is(err, txntoken.ErrCorrupt) {
		t.Errorf("readable by everybody: %v", err)
	}
}

func TestWithoutKeysNothingIsMintedOrBelieved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	_, m := open(t, dir)
	if err := m.Publish(meshOf()); err == nil {
		t.Fatal("published without a place for the keys")
	}
	if _, err := m.Mint(context.Background(), asking(alice())); err == nil {
		t.Error("minted")
	}
	v, err := m.Snapshot(meshOf())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(context.Background(), "e30.e30.AA", nil); !errors.Is(err, credential.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// TestAKeyThatCannotBeSaved: the old one signs on.
func TestAKeyThatCannotBeSaved(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir := t.TempDir()
		k, m := open(t, dir)
		v := publish(t, m, meshOf(func(c *policy.InternalTokens) { c.RotateEvery = time.Hour }))
		if err := os.Rename(dir, dir+"-moved"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Hour)
		defer cancel()
		if err := k.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(context.Background(), mint(t, m, asking(alice())), nil); err != nil || len(kids(t, k)) != 1 {
			t.Errorf("%v, %d keys", err, len(kids(t, k)))
		}
		if err := os.Rename(dir+"-moved", dir); err != nil {
			t.Fatal(err)
		}
	})
}
