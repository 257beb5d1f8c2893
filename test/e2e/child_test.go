//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// child is what the test binary does when a test has started it as a process of its own, on the socket of $SPIFFE_ENDPOINT_SOCKET.
func child(mode string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	switch mode {
	case "svid":
		c, err := workloadapi.FetchX509Context(ctx)
		if err != nil {
			return err
		}
		for _, s := range c.SVIDs {
			if _, _, err := x509svid.Verify(s.Certificates, c.Bundles); err != nil {
				return fmt.Errorf("the SVID does not verify by the bundle: %w", err)
			}
			fmt.Println(s.ID)
		}
		return nil
	case "bundles":
		set, err := workloadapi.FetchX509Bundles(ctx)
		if err != nil {
			return err
		}
		for _, b := range set.Bundles() {
			fmt.Println(b.TrustDomain(), len(b.X509Authorities()) > 0)
		}
		return nil
	default:
		return fmt.Errorf("no child mode %q", mode)
	}
}

// executable is a copy of the test binary under another name: selectors tell processes apart by path.
func executable(t *testing.T, dir, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	path := filepath.Join(dir, name)
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// runChild runs it and returns what it printed; the error holds what it said.
func runChild(t *testing.T, path, mode, api string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path)
	cmd.Env = []string{childMode + "=" + mode, "SPIFFE_ENDPOINT_SOCKET=" + api}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
