package app_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/credence-mesh/credence/internal/app"
	"github.com/credence-mesh/credence/internal/envoy"
)

// A directory of sockets that was another user's, or that its user has opened to others, is made anew: a socket that lies in it would
// pass for the workload's. One that is in order stays as it is, with what listens in it.
func TestDirectoryOfAnotherUserIsMadeAnew(t *testing.T) {
	me := &envoy.User{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	for _, c := range []struct {
		name  string
		owner int
		mode  os.FileMode
		stays bool
	}{
		{"in order", os.Geteuid(), 0o700, true},
		{"open to others", os.Geteuid(), 0o777, false},
		{"another user's", 12345, 0o700, false},
	} {
		if c.owner != os.Geteuid() && os.Geteuid() != 0 {
			continue // only root can make one
		}
		dir := filepath.Join(t.TempDir(), "workload")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		socket := filepath.Join(dir, "http.sock")
		if err := os.WriteFile(socket, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Lchown(dir, c.owner, -1); err != nil {
			t.Fatal(err)
		}
		if err := app.OwnDir(dir, me); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if _, err := os.Lstat(socket); (err == nil) != c.stays {
			t.Errorf("%s: the socket: %v, want it to stay: %v", c.name, err, c.stays)
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(dir, &st); err != nil {
			t.Fatal(err)
		}
		if st.Mode&0o777 != 0o700 || st.Uid != me.UID {
			t.Errorf("%s: mode %o, user %d", c.name, st.Mode&0o777, st.Uid)
		}
	}
}
