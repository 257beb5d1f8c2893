// Command browser runs the example: `credence up` on mesh/, the API behind its gateway, and the page that calls it from another origin.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/credence-mesh/credence/examples/browser/site"
)

// The ports of mesh/.
const (
	pageAddress = "127.0.0.1:18200"
	apiAddress  = "127.0.0.1:18201"
	plain       = "http://localhost:18240"
	secure      = "https://localhost:18241"
)

func main() {
	credence := flag.String("credence", "bin/credence", "the credence binary")
	mesh := flag.String("mesh", "examples/browser/mesh", "the manifests")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *credence, *mesh); err != nil {
		fmt.Fprintln(os.Stderr, "browser:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, credence, mesh string) error {
	work, err := os.MkdirTemp("", "credence-browser-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	log, err := os.Create(filepath.Join(work, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	state := filepath.Join(work, "state")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	up := exec.CommandContext(ctx, credence, "up", "-f", mesh, "--state-dir", state, "--run-dir", filepath.Join(work, "run"), //nolint:gosec // the caller's choice
		"--admin-address", "127.0.0.1:0")
	up.Stdout, up.Stderr = log, log
	up.Cancel = func() error { return up.Process.Signal(syscall.SIGTERM) }
	if err := up.Start(); err != nil {
		return fmt.Errorf("%w (make build makes it)", err)
	}
	ended := make(chan error, 3)
	go func() { ended <- errors.Join(errEnded, up.Wait()) }() // ends with the process
	page, err := site.Page(func(r *http.Request) (site.Session, error) {
		token, err := exec.CommandContext(r.Context(), credence, "token", "mint", "--state-dir", state, "--sub", "alice", //nolint:gosec // as above
			"--scope", "orders:read", "--aud", "https://api.localhost").Output()
		return site.Session{Plain: plain, Secure: secure, Token: strings.TrimSpace(string(token))}, err
	})
	if err != nil {
		return err
	}
	for address, handler := range map[string]http.Handler{apiAddress: site.API(), pageAddress: page} {
		srv := &http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
		defer func() { _ = srv.Close() }()
		go func() { ended <- srv.ListenAndServe() }() // ends with Close
	}
	if err := ready(ctx, state, ended); err != nil {
		text, _ := os.ReadFile(log.Name()) // only to explain
		return fmt.Errorf("%w\n%s", err, text)
	}
	fmt.Println("open http://localhost:18200 in a browser; Ctrl-C ends it")
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	cancel()
	if err := <-ended; !errors.Is(err, errEnded) { // the processes of the mesh are gone before their files are
		return err
	}
	return nil
}

var errEnded = errors.New("credence has ended")

// ready waits until endpoints.json names an address whose /readyz answers 200.
func ready(ctx context.Context, state string, ended chan error) error {
	limit := time.After(time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := readyz(ctx, state)
		if err == nil {
			return nil
		}
		select {
		case gone := <-ended:
			return gone
		case <-ctx.Done():
			return ctx.Err()
		case <-limit:
			return fmt.Errorf("not ready: %w", err)
		case <-tick.C:
		}
	}
}

func readyz(ctx context.Context, state string) error {
	body, err := os.ReadFile(filepath.Join(state, "endpoints.json"))
	if err != nil {
		return err
	}
	var endpoints struct {
		Admin string `json:"admin"`
	}
	if err := json.Unmarshal(body, &endpoints); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+endpoints.Admin+"/readyz", nil)
	if err != nil {
		return err
	}
	res, err := (&http.Client{Timeout: time.Second}).Do(req)
	if err != nil {
		return err
	}
	if err := res.Body.Close(); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return nil
}
