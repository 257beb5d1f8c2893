package jwks_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/policy"
)

// run is one process: it publishes conf, runs for d, and ends.
func run(t *testing.T, o jwks.Options, conf policy.Issuer, d time.Duration, look func(*jwks.Keys, *jwks.Source)) {
	t.Helper()
	o.Log = quiet
	k := jwks.New(o)
	s := k.Publish([]policy.Issuer{conf})[conf.Name]
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	pass(d)
	if look != nil {
		look(k, s)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// savedFile is the one file of dir.
func savedFile(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v in %s, %v; want one file", entries, dir, err)
	}
	return filepath.Join(dir, entries[0].Name())
}

// Requirement 4: a start without the issuer has the last good keys, and not for longer than if the process had run on.
func TestKeys4Restart(t *testing.T) {
	const url = "https://idp.example/jwks"
	for _, c := range []struct {
		name           string
		down, maxStale time.Duration
		good           bool
	}{
		{"soon", time.Minute, 0, true},
		{"within a day", 23 * time.Hour, 0, true},
		{"after a day", 25 * time.Hour, 0, false},
		{"within its own limit", 5 * time.Minute, 10 * time.Minute, true},
		{"after its own limit", 11 * time.Minute, 10 * time.Minute, false},
		{"after a day, with a longer limit", 25 * time.Hour, 168 * time.Hour, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &idp{body: ecSet("one"), status: http.StatusOK, header: http.Header{"Cache-Control": {"max-age=60"}}}
				o := jwks.Options{Dir: filepath.Join(t.TempDir(), "jwks"), Transport: server}
				conf := issuer(policy.KeySource{URL: url, MaxStale: c.maxStale})
				run(t, o, conf, time.Second, nil)
				info, err := os.Stat(savedFile(t, o.Dir))
				must(err)
				dir, err := os.Stat(o.Dir)
				must(err)
				if info.Mode() != 0o600 || dir.Mode().Perm() != 0o700 {
					t.Errorf("modes %v, %v", info.Mode(), dir.Mode())
				}
				server.set(func() { server.err = errors.New("down") })
				pass(c.down)
				run(t, o, conf, time.Second, func(k *jwks.Keys, s *jwks.Source) {
					st := k.Status()[0]
					if has(s, "one") != c.good || !st.Restored || st.Failure == "" {
						t.Errorf("keys: %v, %+v", has(s, "one"), st)
					}
					limit := 24 * time.Hour
					if c.maxStale > 0 {
						limit = c.maxStale
					}
					if left := time.Until(st.Until); left > limit-c.down {
						t.Errorf("trusted for %v more, %v of %v have passed", left, c.down, limit)
					}
					pass(limit)
					if s.Set() != nil {
						t.Error("trusted beyond the limit")
					}
				})
			})
		})
	}
}

// A clock that went back must not make keys last longer, however often the product starts.
func TestKeys4FutureTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &idp{body: ecSet("one"), status: http.StatusOK, header: http.Header{}}
		ahead := func() time.Time { return time.Now().Add(1000 * time.Hour) }
		o := jwks.Options{Dir: t.TempDir(), Transport: server, Now: ahead}
		conf := issuer(policy.KeySource{URL: "https://idp.example/jwks"})
		run(t, o, conf, time.Second, nil)
		server.set(func() { server.err = errors.New("down") })
		o.Now = time.Now
		for range 3 {
			run(t, o, conf, 10*time.Hour, nil)
		}
		run(t, o, conf, time.Second, func(k *jwks.Keys, s *jwks.Source) {
			if s.Set() != nil {
				t.Errorf("trusted 30 h after it was seen: %+v", k.Status())
			}
		})
	})
}

// What may not be used is left alone: the issuer is asked anyway.
func TestKeys4DamagedFile(t *testing.T) {
	set := func(name string, v any) func(map[string]any) { return func(m map[string]any) { m[name] = v } }
	for name, edit := range map[string]func(map[string]any){
		"a newer format":      set("format", 2),
		"no format":           func(m map[string]any) { delete(m, "format") },
		"another issuer's":    set("identity", strings.Repeat("0", 64)),
		"another document":    set("document", string(ecSet("evil"))),
		"a sum that is none":  set("sum", "x"),
		"an unknown member":   set("extra", 1),
		"a time that is none": set("fetched", "yesterday"),
		"no JSON":             nil,
		"cut off":             nil,
		"a pipe":              nil,
		"large":               nil,
	} {
		synctest.Test(t, func(t *testing.T) {
			server := &idp{body: ecSet("one"), status: http.StatusOK, header: http.Header{}}
			o := jwks.Options{Dir: t.TempDir(), Transport: server}
			conf := issuer(policy.KeySource{URL: "https://idp.example/jwks"})
			run(t, o, conf, time.Second, nil)
			path := savedFile(t, o.Dir)
			text, err := os.ReadFile(path)
			must(err)
			switch {
			case edit != nil:
				var m map[string]any
				must(json.Unmarshal(text, &m))
				edit(m)
				text, err = json.Marshal(m)
				must(err)
			case name == "no JSON":
				text = []byte("keys")
			case name == "cut off":
				text = text[:len(text)/2]
			case name == "large":
				text = append(text, make([]byte, 2<<20)...)
			case name == "a pipe":
				must(os.Remove(path))
				must(syscall.Mkfifo(path, 0o600))
			}
			if name != "a pipe" {
				must(os.WriteFile(path, text, 0o600))
			}
			server.set(func() { server.err = errors.New("down") })
			run(t, o, conf, time.Second, func(_ *jwks.Keys, s *jwks.Source) {
				if s.Set() != nil {
					t.Errorf("%s: it is used", name)
				}
				server.set(func() { server.err = nil })
				pass(10 * time.Second)
				if !has(s, "one") {
					t.Errorf("%s: the issuer was not asked", name)
				}
			})
		})
	}
}

// Keys belong to the place that they came from: an edit of anything that decides whose they are leaves them behind, in memory and on disk.
func TestKeys1EditsOfTheSource(t *testing.T) {
	const url = "https://idp.example/jwks"
	base := issuer(policy.KeySource{URL: url})
	for _, c := range []struct {
		name string
		edit func(*policy.Issuer)
		keep bool
	}{
		{"nothing", func(*policy.Issuer) {}, true},
		{"maxStale", func(i *policy.Issuer) { i.Keys.MaxStale = time.Hour }, true},
		{"unknownKey", func(i *policy.Issuer) { i.Keys.UnknownKey = policy.UnknownKeyUnauthorized }, true},
		{"bearerTokenFile", func(i *policy.Issuer) { i.Keys.BearerTokenFile = "/nonexistent" }, true},
		{"audiences", func(i *policy.Issuer) { i.Audiences = []string{"other"} }, true},
		{"algorithms", func(i *policy.Issuer) { i.Algorithms = []string{"ES256"} }, true},
		{"url", func(i *policy.Issuer) { i.Keys.URL = url + "/" }, false},
		{"to discovery", func(i *policy.Issuer) { i.Keys.URL, i.Keys.Discovery = "", url }, false},
		{"issuer", func(i *policy.Issuer) { i.Issuers = []string{"https://other.example"} }, true},
		{"one more issuer", func(i *policy.Issuer) { i.Issuers = append([]string{"https://other.example"}, i.Issuers...) }, true},
		{"what metadata must name", func(i *policy.Issuer) { i.Keys.DiscoveryIssuer = "https://other.example" }, false},
		{"caFile", func(i *policy.Issuer) { i.Keys.CAFile = "/nonexistent" }, false},
		{"insecure", func(i *policy.Issuer) { i.Keys.Insecure = true }, false},
		{"name", func(i *policy.Issuer) { i.Name.Name = "other" }, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			server := &idp{body: ecSet("one"), status: http.StatusOK, header: http.Header{}}
			o := jwks.Options{Dir: t.TempDir(), Transport: server}
			edited := base
			c.edit(&edited)
			run(t, o, base, time.Second, func(k *jwks.Keys, old *jwks.Source) {
				server.set(func() { server.err = errors.New("down") })
				s := k.Publish([]policy.Issuer{edited})[edited.Name]
				if has(s, "one") != c.keep {
					t.Errorf("%s: keys in memory: %v", c.name, has(s, "one"))
				}
				if !has(old, "one") {
					t.Errorf("%s: the old source lost its keys", c.name)
				}
			})
			run(t, o, edited, time.Second, func(_ *jwks.Keys, s *jwks.Source) {
				if has(s, "one") != c.keep {
					t.Errorf("%s: keys from disk: %v", c.name, has(s, "one"))
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		server := &idp{body: ecSet("one"), status: http.StatusOK, header: http.Header{}}
		k := jwks.New(jwks.Options{Log: quiet, Transport: server})
		start(t, k)
		publish(t, k, base.Keys)
		pass(time.Second)
		without := base
		without.Algorithms = []string{"RS256"}
		if s := k.Publish([]policy.Issuer{without})[base.Name]; s.Set() == nil || s.Set().Len() != 0 {
			t.Error("a key for an algorithm that is not accepted any more")
		}
	})
}

// A disk that can't be written is told, and harms nothing now; files of issuers that are gone for long are removed, and nothing else.
func TestKeys4Disk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &idp{body: ecSet("one"), status: http.StatusOK, header: http.Header{}}
		conf := issuer(policy.KeySource{URL: "https://idp.example/jwks"})
		blocked := file(t, "not a directory")
		run(t, jwks.Options{Dir: filepath.Join(blocked, "jwks"), Transport: server}, conf, time.Second, func(_ *jwks.Keys, s *jwks.Source) {
			if !has(s, "one") {
				t.Error("no keys without a disk")
			}
		})
		dir := t.TempDir()
		old, young, foreign := strings.Repeat("0", 32)+".json", strings.Repeat("1", 32)+".json", "notes.json"
		for _, name := range []string{old, young, foreign} {
			path := filepath.Join(dir, name)
			must(os.WriteFile(path, nil, 0o600))
			age := 9 * 24 * time.Hour
			if name == young {
				age = time.Hour
			}
			must(os.Chtimes(path, time.Now().Add(-age), time.Now().Add(-age)))
		}
		run(t, jwks.Options{Dir: dir, Transport: server}, conf, time.Second, nil)
		entries, err := os.ReadDir(dir)
		must(err)
		var left []string
		for _, e := range entries {
			if n := e.Name(); n == old || n == young || n == foreign {
				left = append(left, n)
			}
		}
		if diff := cmp.Diff([]string{young, foreign}, left); diff != "" || len(entries) != 3 {
			t.Errorf("%v: %s", entries, diff)
		}
	})
}
