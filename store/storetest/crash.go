package storetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/credence-mesh/credence/store"
)

// The child of the test that kills finds its store and its round here.
const (
	childDir   = "CREDENCE_STORETEST_DIR"
	childRound = "CREDENCE_STORETEST_ROUND"
	// writers is how many write at the same time in the child.
	writers = 8
)

// Main runs the tests of m, unless it is in the child of one: that writes to the store until it is killed.
func Main(m *testing.M, e Engine) {
	if dir := os.Getenv(childDir); dir != "" {
		fmt.Fprintln(os.Stderr, write(e, dir, os.Getenv(childRound)))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// write puts, replaces and takes entries, each in its turn, says so before and after, and only ends with an error.
func write(e Engine, dir, round string) error {
	s, err := e.Open(dir, Options{})
	if err != nil {
		return err
	}
	failed := make(chan error)
	for w := range writers {
		go func() {
			for i := 0; ; i++ {
				if err := writeOne(s, fmt.Sprintf("%s-%d-%d", round, w, i)); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

// writeOne leaves half of the entries there.
func writeOne(s Store, id string) error {
	ctx := context.Background()
	item := store.Item{Kind: "k", ID: id, Value: []byte(id + " put"), Indexes: []string{"all", id}, Expires: time.Now().Add(time.Hour)}
	if err := said("put", id, s.Put(ctx, item)); err != nil {
		return err
	}
	item.Value = []byte(id + " replaced")
	fmt.Println("will-replace", id)
	if err := said("replace", id, s.Replace(ctx, item)); err != nil {
		return err
	}
	if !taken(id) {
		return nil
	}
	fmt.Println("will-take", id)
	_, err := s.Take(ctx, "k", id)
	return said("take", id, err)
}

func taken(id string) bool { return strings.ContainsAny(id[len(id)-1:], "02468") }

func said(what, id string, err error) error {
	if err != nil {
		return err
	}
	_, err = fmt.Println(what, id)
	return err
}

// killed kills the process that writes at random moments: what it acknowledged is there, or gone for good, and everything else is whole.
func killed(t *testing.T, e Engine) {
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	dir, last := t.TempDir(), map[string]string{}
	for round := range rounds {
		acknowledged := killOne(t, dir, round, last)
		if acknowledged == 0 {
			t.Fatal("nothing was acknowledged before the kill")
		}
		s, err := e.Open(dir, Options{})
		must(t, err)
		judge(t, s, last)
		must(t, s.Close())
		if t.Failed() {
			return
		}
	}
	t.Logf("%d kills, %d entries", rounds, len(last))
}

// killOne starts a child, kills it after a while, and notes in last the latest that it said of each entry.
func killOne(t *testing.T, dir string, round int, last map[string]string) int {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$") //nolint:gosec // the test itself
	cmd.Env = append(os.Environ(), childDir+"="+dir, fmt.Sprintf("%s=%d", childRound, round))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	var once sync.Once
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	n := 0
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			break // a line cut off by the kill acknowledges nothing
		}
		once.Do(func() {
			time.AfterFunc(time.Duration(rand.IntN(150_000))*time.Microsecond, func() { _ = cmd.Process.Kill() }) //nolint:gosec // a moment
		})
		what, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		last[id] = what
		n++
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child ended by itself: %v", err)
	}
	return n
}

func judge(t *testing.T, s Store, last map[string]string) {
	t.Helper()
	ctx := context.Background()
	for id, what := range last {
		v, err := s.Get(ctx, "k", id)
		is := string(v)
		if errors.Is(err, store.ErrNotFound) {
			is = "none"
		} else if err != nil {
			t.Fatal(err)
		}
		put, replaced := id+" put", id+" replaced"
		may := map[string][]string{
			"put": {put}, "will-replace": {put, replaced}, "replace": {replaced}, "will-take": {replaced, "none"}, "take": {"none"},
		}[what]
		fine := false
		for _, m := range may {
			fine = fine || m == is
		}
		if !fine {
			t.Errorf("after %q of %s the store has %q", what, id, is)
		}
		if behind := len(values(t, s.Lookup(ctx, "k", id))); (behind == 1) != (is != "none") {
			t.Errorf("%s: %q, and %d behind its index", id, is, behind)
		}
	}
	all, behind := values(t, s.All(ctx, "k")), values(t, s.Lookup(ctx, "k", "all"))
	if len(all) != len(behind) {
		t.Errorf("%d entries, %d behind the index that all have", len(all), len(behind))
	}
}
