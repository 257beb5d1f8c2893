package attest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/credence-mesh/credence/identity/attest"
)

// childEnv makes the test binary a client: its value is the socket to connect to. The client then obeys lines of its standard input.
const childEnv = "ATTEST_TEST_SOCKET"

func TestMain(m *testing.M) {
	if socket := os.Getenv(childEnv); socket != "" {
		if err := client(socket); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func client(socket string) error {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("dialed a %T", c)
	}
	f, err := uc.File() // a blocking descriptor that exec can keep
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		word, arg, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "exec": // another program with the same socket
			if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0); err != nil {
				return err
			}
			return syscall.Exec(arg, []string{arg, "60"}, nil)
		case "setuid":
			if err := syscall.Setuid(12346); err != nil {
				return err
			}
		case "pass": // a child that outlives this process keeps the socket
			cmd := exec.Command("/bin/cat")
			cmd.Stdin = f
			if err := cmd.Start(); err != nil {
				return err
			}
			return nil
		}
		fmt.Println("done")
	}
	return lines.Err()
}

// host listens and starts clients.
type host struct {
	dir      string
	listener *net.UnixListener
	creds    credentials.TransportCredentials
}

func newHost(t *testing.T) *host {
	t.Helper()
	dir, err := os.MkdirTemp("", "attest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if err := os.Chmod(l.Addr().String(), 0o666); err != nil {
		t.Fatal(err)
	}
	return &host{dir: dir, listener: l, creds: attest.Credentials()}
}

// program copies the test binary to name.
func (h *host) program(t *testing.T, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(h.dir, name)
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// clientProcess is a started client.
type clientProcess struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func (h *host) start(t *testing.T, program string, cred *syscall.Credential) *clientProcess {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Env = []string{childEnv + "=" + h.listener.Addr().String()}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &clientProcess{cmd: cmd, in: in, out: bufio.NewScanner(out)}
	t.Cleanup(c.kill)
	return c
}

func (c *clientProcess) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

func (c *clientProcess) tell(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(c.in, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

func (c *clientProcess) do(t *testing.T, line string) {
	t.Helper()
	c.tell(t, line)
	if !c.out.Scan() {
		t.Fatalf("the client ended: %v", c.out.Err())
	}
}

// accept returns the process of the next connection.
func (h *host) accept(t *testing.T) (*attest.Process, net.Conn) {
	t.Helper()
	if err := h.listener.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	raw, err := h.listener.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	c, info, err := h.creds.ServerHandshake(raw)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	p, err := attest.FromContext(peer.NewContext(t.Context(), &peer.Peer{AuthInfo: info}))
	if err != nil {
		t.Fatal(err)
	}
	return p, c
}
