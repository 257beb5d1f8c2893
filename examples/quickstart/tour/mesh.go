package tour

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// patience is how long a part may take to come up before the tour gives up.
const patience = 60 * time.Second

// Services that have a sidecar and run as processes of their own; batch is started per call.
var services = []string{"ledger", "web", "orders", "payments"}

// Options of a Mesh.
type Options struct {
	// Source is examples/quickstart, Bin the folder with credence and the services.
	Source, Bin string
	// Work is an empty directory that every user may enter; all files of the run lie there.
	Work string
	// Ports take the place of those in the manifests, in the order in which they stand there; nil: the ports stay.
	Ports []int
	// Users gives each workload a user of its own and boundary user (needs root). Nil: boundary none.
	Users map[string]uint32
	// Log receives what credence and the services print.
	Log io.Writer
}

// Mesh is a running quickstart.
type Mesh struct {
	opts      Options
	Endpoints Endpoints

	credence *exec.Cmd
	ended    chan error
	services []*exec.Cmd
	notes    []string
	// before is what killed saw of the state, for restarted.
	before string
}

// Endpoints is the part of endpoints.json that the tour reads.
type Endpoints struct {
	PID         int    `json:"pid"`
	Admin       string `json:"admin"`
	Issuer      string `json:"issuer"`
	WorkloadAPI string `json:"workloadAPI"`
	Gateways    map[string]struct {
		SPIFFEID    string            `json:"spiffeID"`
		Listeners   map[string]string `json:"listeners"`
		AgentSocket string            `json:"agentSocket"`
	} `json:"gateways"`
	Workloads map[string]struct {
		SPIFFEID    string            `json:"spiffeID"`
		Inbound     map[string]string `json:"inbound"`
		Application map[string]string `json:"application"`
		Outbound    string            `json:"outbound"`
	} `json:"workloads"`
}

func (m *Mesh) state() string    { return filepath.Join(m.opts.Work, "state") }
func (m *Mesh) manifest() string { return filepath.Join(m.opts.Work, "mesh") }

// Manifests is the folder of the manifests in force.
func (m *Mesh) Manifests() string { return m.manifest() }

// Start copies the manifests and starts everything. The caller calls Stop, also after an error.
func Start(ctx context.Context, o Options) (*Mesh, error) {
	m := &Mesh{opts: o}
	if err := m.copyFiles(); err != nil {
		return m, err
	}
	if err := m.StartCredence(ctx); err != nil {
		return m, err
	}
	for _, name := range services {
		w, ok := m.Endpoints.Workloads["default/"+name]
		if !ok {
			return m, fmt.Errorf("endpoints.json has no workload default/%s", name)
		}
		cmd := m.command(name, filepath.Join(o.Work, "bin", name))
		cmd.Env = append(cmd.Env, "LISTEN="+w.Application["http"], "OUTBOUND="+w.Outbound, "LEDGER="+m.Endpoints.Workloads["default/ledger"].Inbound["http"],
			"LISTEN_GRPC="+w.Application["grpc"])
		if err := cmd.Start(); err != nil {
			return m, fmt.Errorf("starting %s: %w", name, err)
		}
		m.services = append(m.services, cmd)
		if err := m.await(ctx, name, func() error { return dial(ctx, w.Application["http"]) }); err != nil {
			return m, err
		}
	}
	return m, nil
}

// StartCredence starts `credence up` and waits until it is ready; after Kill it starts it anew on the same state.
func (m *Mesh) StartCredence(ctx context.Context) error {
	// A file of an earlier run must not be taken for this one's.
	if err := os.Remove(filepath.Join(m.state(), "endpoints.json")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	cmd := exec.Command(filepath.Join(m.opts.Bin, "credence"), "up", "-f", m.manifest(), //nolint:gosec // our own binary
		"--state-dir", m.state(), "--admin-address", "127.0.0.1:0")
	cmd.Stdout, cmd.Stderr = m.opts.Log, m.opts.Log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting credence: %w", err)
	}
	m.credence, m.ended = cmd, make(chan error, 1)
	go func(ended chan<- error) { ended <- cmd.Wait() }(m.ended) // ends with the process, which Stop and Kill end
	return m.await(ctx, "credence", func() error {
		select {
		case err := <-m.ended:
			m.ended <- err
			return fmt.Errorf("%w: it ended: %w", errGiveUp, err)
		default:
		}
		body, err := os.ReadFile(filepath.Join(m.state(), "endpoints.json"))
		if err != nil {
			return err
		}
		if err := json.Unmarshal(body, &m.Endpoints); err != nil {
			return err
		}
		return ready(ctx, m.Endpoints.Admin)
	})
}

func ready(ctx context.Context, admin string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Timeout: 2 * time.Second}).Do(req)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", bytes.TrimSpace(body))
	}
	return nil
}

// Signal sends a signal to credence alone.
func (m *Mesh) Signal(sig syscall.Signal) error { return m.credence.Process.Signal(sig) }

// Kill ends credence as `kill -9` does and waits for its death.
func (m *Mesh) Kill() error {
	if err := m.credence.Process.Kill(); err != nil {
		return err
	}
	<-m.ended //nolint:errcheck // it was killed
	m.credence = nil
	return nil
}

// Stop ends everything and tells whether credence ended well.
func (m *Mesh) Stop() error {
	var errs []error
	for _, s := range m.services {
		_ = s.Process.Signal(syscall.SIGTERM)
		_ = s.Wait() // a service that was told to end
	}
	if m.credence != nil {
		_ = m.credence.Process.Signal(os.Interrupt)
		select {
		case err := <-m.ended:
			errs = append(errs, err)
		case <-time.After(patience):
			errs = append(errs, errors.New("credence did not end after an interrupt"), m.credence.Process.Kill())
			<-m.ended //nolint:errcheck // it was killed
		}
	}
	return errors.Join(errs...)
}

func (m *Mesh) command(workload, path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...) //nolint:gosec // our own binaries
	cmd.Env = []string{"PATH=/usr/bin:/bin", "SPIFFE_ENDPOINT_SOCKET=" + m.Endpoints.WorkloadAPI}
	cmd.Stdout, cmd.Stderr = m.opts.Log, m.opts.Log
	cmd.Dir = m.opts.Work
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if uid, ok := m.opts.Users[workload]; ok {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid, Groups: []uint32{}}
	}
	return cmd
}

// Batch runs the workload batch once against target, with this internal token (empty: without), through the outbound listener out (empty: its own), and returns what it printed.
func (m *Mesh) Batch(out, target, token string) (string, error) {
	if out == "" {
		out = m.Endpoints.Workloads["default/batch"].Outbound
	}
	cmd := m.command("batch", filepath.Join(m.opts.Work, "bin", "batch"), target)
	cmd.Env = append(cmd.Env, "OUTBOUND="+out, "TOKEN="+token)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("batch: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// Run runs a command of credence on this mesh's state and returns its standard output.
func (m *Mesh) Run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(m.opts.Bin, "credence"), append(args, "--state-dir", m.state())...) //nolint:gosec // our own binary
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("credence %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}

// Edit rewrites one manifest in place, the way an editor does: a new file is renamed over it. It returns a function that undoes it.
func (m *Mesh) Edit(file string, change func(string) string) (undo func() error, err error) {
	path := filepath.Join(m.manifest(), file)
	old, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	changed := change(string(old))
	if changed == string(old) {
		return nil, fmt.Errorf("the edit of %s changes nothing", file)
	}
	return func() error { return replace(path, old) }, replace(path, []byte(changed))
}

func replace(path string, body []byte) error {
	tmp := path + ".new~"
	if err := os.WriteFile(tmp, body, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

var errGiveUp = errors.New("given up")

// await calls try every few milliseconds until it succeeds.
func (m *Mesh) await(ctx context.Context, what string, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil || errors.Is(err, errGiveUp) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, err)
		case <-tick.C:
		}
	}
}

func dial(ctx context.Context, addr string) error {
	network := "tcp"
	if filepath.IsAbs(addr) {
		network = "unix"
	}
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, addr)
	if err != nil {
		return err
	}
	return c.Close()
}

var port = regexp.MustCompile(`\b18[0-9]{3}\b`)

func (m *Mesh) copyFiles() error {
	free, ports := m.opts.Ports, map[string]string{}
	rewrite := func(text string) string {
		if free != nil {
			text = port.ReplaceAllStringFunc(text, func(p string) string {
				if ports[p] == "" {
					ports[p], free = strconv.Itoa(free[0]), free[1:]
				}
				return ports[p]
			})
		}
		for name, uid := range m.opts.Users {
			text = strings.ReplaceAll(text, "{path: ../bin/"+name+"}", fmt.Sprintf("{path: ../bin/%s, uid: %d, gid: %d}", name, uid, uid))
		}
		if m.opts.Users != nil {
			text = strings.ReplaceAll(text, "boundary: none", "boundary: user")
			text = regexp.MustCompile(`(?m)^  sidecar:\n    outbound: .*\n`).ReplaceAllString(text, "")
		}
		return text
	}
	if err := os.MkdirAll(filepath.Join(m.opts.Work, "bin"), 0o755); err != nil { //nolint:gosec // other users pass through it
		return err
	}
	if err := os.Mkdir(m.manifest(), 0o700); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(m.opts.Source, "mesh", "*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no manifests in %s: %w", m.opts.Source, err)
	}
	for _, f := range files {
		body, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(m.manifest(), filepath.Base(f)), []byte(rewrite(string(body))), 0o600); err != nil {
			return err
		}
	}
	for _, name := range append([]string{"batch"}, services...) {
		if err := copyExecutable(filepath.Join(m.opts.Bin, name), filepath.Join(m.opts.Work, "bin", name)); err != nil {
			return err
		}
	}
	return nil
}

func copyExecutable(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("%w: run `make build` first", err)
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755) //nolint:gosec // an executable
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Chmod(0o755), out.Close())
}

// note keeps a figure that the table shows beside the row.
func (m *Mesh) note(format string, args ...any) {
	m.notes = append(m.notes, fmt.Sprintf(format, args...))
}

// Notes returns what the last row has noted, and forgets it.
func (m *Mesh) Notes() []string {
	n := m.notes
	m.notes = nil
	return n
}
