package bolt_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/credence-mesh/credence/store"
	"github.com/credence-mesh/credence/store/bolt"
)

// TestRun: what has expired is removed, and an old key replaced, without anybody asking.
func TestRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	synctest.Test(t, func(t *testing.T) {
		s := open(t, path, bolt.Options{SweepEvery: time.Minute, RotateAfter: 24 * time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 10 {
			must(t, s.Put(ctx, store.Item{Kind: "k", ID: fmt.Sprint(i), Expires: time.Now().Add(time.Duration(i) * time.Hour), Indexes: []string{"x"}}))
		}
		must(t, s.Put(ctx, store.Item{Kind: "k", ID: "never", Value: []byte("1")}))
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		<-time.After(5*time.Hour + 2*time.Minute)
		synctest.Wait()
		if got := s.Stats().Entries; got != 5 {
			t.Errorf("%d entries after five hours, want 5", got)
		}
		before, err := os.ReadFile(path + ".keys")
		must(t, err)
		<-time.After(20 * time.Hour)
		synctest.Wait()
		after, err := os.ReadFile(path + ".keys")
		must(t, err)
		if string(before) == string(after) || s.Stats().SealingKeys != 1 || s.Stats().Entries != 1 {
			t.Errorf("after a day: %+v, key replaced: %v", s.Stats(), string(before) != string(after))
		}
		if v, err := s.Get(ctx, "k", "never"); err != nil || string(v) != "1" {
			t.Errorf("Get = %q, %v", v, err)
		}
		cancel()
		must(t, <-ended)
	})
}

// TestFileIsBounded: however much is put and removed, the file stays about as large as its room.
func TestFileIsBounded(t *testing.T) {
	path, ctx := filepath.Join(t.TempDir(), "store.db"), context.Background()
	const room = 1 << 20
	s := open(t, path, bolt.Options{MaxBytes: room})
	for round := range 3 {
		for i := 0; ; i++ {
			err := s.Put(ctx, store.Item{Kind: "k", ID: fmt.Sprint(round, i), Value: make([]byte, 8000), Indexes: []string{"x"}})
			if errors.Is(err, store.ErrFull) {
				break
			}
			must(t, err)
		}
		if _, err := s.DeleteIndexed(ctx, "k", "x"); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Stats(); got.Bytes != 0 || got.Entries != 0 {
		t.Errorf("an empty store counts %+v", got)
	}
	info, err := os.Stat(path)
	must(t, err)
	t.Logf("room for %d bytes, file of %d", room, info.Size())
	if info.Size() > 4*room {
		t.Errorf("a file of %d bytes for a room of %d", info.Size(), room)
	}
}

const diskFullDir = "CREDENCE_BOLT_DISK_FULL"

// TestDiskFull: a disk without room refuses, and neither loses what was acknowledged nor ends the store; with room it goes on. The limit on
// the size of files stands for the disk, in a process of its own.
func TestDiskFull(t *testing.T) {
	if dir := os.Getenv(diskFullDir); dir != "" {
		diskFull(t, filepath.Join(dir, "store.db"))
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestDiskFull$", "-test.v")
	cmd.Env = append(os.Environ(), diskFullDir+"="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func diskFull(t *testing.T, path string) {
	signal.Ignore(syscall.SIGXFSZ)
	ctx := context.Background()
	s := open(t, path, bolt.Options{})
	var old syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old))
	limit := syscall.Rlimit{Cur: 256 << 10, Max: old.Max}
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
	put := func(i int) error {
		return s.Put(ctx, store.Item{Kind: "k", ID: fmt.Sprint(i), Value: make([]byte, 4000)})
	}
	n := 0
	for ; ; n++ {
		if err := put(n); errors.Is(err, store.ErrFull) {
			break
		} else if err != nil || n > 1000 {
			t.Fatalf("put %d: %v", n, err)
		}
	}
	wantErr := put(n)
	if !errors.Is(wantErr, store.ErrFull) {
		t.Errorf("the next one: %v", wantErr)
	}
	t.Logf("%d entries before: %v", n, wantErr)
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old))
	must(t, put(n))
	must(t, s.Close())
	s = open(t, path, bolt.Options{})
	for i := range n + 1 {
		if _, err := s.Get(ctx, "k", fmt.Sprint(i)); err != nil {
			t.Errorf("entry %d of %d: %v", i, n, err)
		}
	}
}
