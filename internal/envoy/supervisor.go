package envoy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// stopPatience is how long an Envoy may take to end after SIGTERM (10 to 20 ms as observed) before it is killed.
	stopPatience = 5 * time.Second
	firstBackOff = 200 * time.Millisecond
	lastBackOff  = 10 * time.Second
	// steady is how long a proxy must have run for its next failure to count as the first.
	steady = 30 * time.Second
)

// Proxy is one Envoy to run.
type Proxy struct {
	Node Node
	// Dir is the proxy's directory. It is ours alone to write, so that nothing done there with our rights can be led elsewhere; the
	// bootstrap file lies in it. With a User the admin socket is in a directory below, which is given to that user.
	Dir string
	// LogFile receives what the process prints, access log included. It is begun anew at every start of the product and whenever it has
	// grown to Options.LogLimit; what it held before is in LogFile.1.
	LogFile string
	// User is whose process it is; nil: the user who runs Credence.
	User *User
	// Identity is the SPIFFE ID under which it speaks. With another one it is another process: streams that were let in under the old
	// identity end with the old process.
	Identity string
}

// User of a process.
type User struct{ UID, GID uint32 }

func (p Proxy) equal(o Proxy) bool {
	sameUser := (p.User == nil) == (o.User == nil) && (p.User == nil || *p.User == *o.User)
	return p.Node == o.Node && p.Dir == o.Dir && p.LogFile == o.LogFile && p.Identity == o.Identity && sameUser
}

// Options of a Supervisor.
type Options struct {
	Binary Binary
	// Records is the file that remembers running proxies over a crash of the product.
	Records string
	Log     *slog.Logger
	// Started is told of each process before it runs Envoy, so that its first connection is recognised; an error ends the process.
	Started func(id string, pid int) error
	// Ended is told when the process is gone.
	Ended func(id string, pid int)
	// Concurrency is the number of worker threads of each Envoy; 0: 1.
	Concurrency int
	// LogLimit is how many bytes a LogFile grows to; 0: 16 MiB.
	LogLimit int64
}

// State of one proxy for people.
type State struct {
	ID       string    `json:"id"`
	PID      int       `json:"pid"`
	Since    time.Time `json:"since"`
	Restarts int       `json:"restarts"`
	// Error is why the last process ended; empty while all is well.
	Error string `json:"error,omitempty"`
}

// Supervisor keeps one Envoy per Proxy running. Safe for concurrent use.
type Supervisor struct {
	opts    Options
	records *records
	wake    chan struct{}

	mu     sync.Mutex
	wanted map[string]Proxy
	states map[string]State
	begun  map[string]bool // log files of this run of the product
}

// NewSupervisor ends the survivors of an earlier run of the product (it waits for their death) and returns a Supervisor that runs nothing yet.
func NewSupervisor(ctx context.Context, opts Options) (*Supervisor, error) {
	rec := &records{file: opts.Records}
	if err := rec.endSurvivors(ctx, opts.Log); err != nil {
		return nil, err
	}
	if err := keepInherited(); err != nil {
		return nil, err
	}
	if opts.LogLimit <= 0 {
		opts.LogLimit = logLimit
	}
	return &Supervisor{
		opts: opts, records: rec, wake: make(chan struct{}, 1),
		wanted: map[string]Proxy{}, states: map[string]State{}, begun: map[string]bool{},
	}, nil
}

// Apply makes proxies the ones that run: missing ones are started, others ended. It returns at once.
func (s *Supervisor) Apply(proxies []Proxy) {
	s.mu.Lock()
	s.wanted = map[string]Proxy{}
	for _, p := range proxies {
		s.wanted[p.Node.ID] = p
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// States in order of ID.
func (s *Supervisor) States() []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]State, 0, len(s.states))
	for _, id := range slices.Sorted(maps.Keys(s.states)) {
		out = append(out, s.states[id])
	}
	return out
}

type running struct {
	proxy  Proxy
	cancel context.CancelFunc
	done   chan struct{}
}

// Run starts and ends proxies until ctx ends; then it ends all and waits for their death.
func (s *Supervisor) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.boundLogs(ctx) })
	active := map[string]*running{}
	for {
		select {
		case <-ctx.Done():
			return nil // the keepers watch ctx too; wg waits for them
		case <-s.wake:
		}
		s.mu.Lock()
		wanted := maps.Clone(s.wanted)
		s.mu.Unlock()
		for id, r := range active {
			if p, ok := wanted[id]; !ok || !p.equal(r.proxy) {
				r.cancel()
				<-r.done
				delete(active, id)
				s.forget(id)
			}
		}
		for _, id := range slices.Sorted(maps.Keys(wanted)) {
			if active[id] != nil {
				continue
			}
			keepCtx, cancel := context.WithCancel(ctx)
			r := &running{proxy: wanted[id], cancel: cancel, done: make(chan struct{})}
			active[id] = r
			wg.Go(func() {
				defer close(r.done)
				defer cancel()
				s.keep(keepCtx, r.proxy)
			})
		}
	}
}

func (s *Supervisor) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.states, id)
}

func (s *Supervisor) setState(id string, change func(*State)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.states[id]
	st.ID = id
	change(&st)
	s.states[id] = st
}

// keep restarts one proxy with back-off until ctx ends.
func (s *Supervisor) keep(ctx context.Context, p Proxy) {
	backOff := firstBackOff
	for ctx.Err() == nil {
		begun := time.Now()
		err := s.once(ctx, p)
		if ctx.Err() != nil {
			return
		}
		if time.Since(begun) > steady {
			backOff = firstBackOff
		}
		s.opts.Log.Error("a proxy ended and is started again", "proxy", p.Node.ID, "error", err, "wait", backOff, "log", p.LogFile)
		s.setState(p.Node.ID, func(st *State) { st.PID, st.Restarts, st.Error = 0, st.Restarts+1, fmt.Sprint(err) })
		select {
		case <-ctx.Done():
		case <-time.After(backOff + rand.N(backOff/4)): //nolint:gosec // jitter, not a secret
		}
		backOff = min(2*backOff, lastBackOff)
	}
}

// once runs one process to its end.
func (s *Supervisor) once(ctx context.Context, p Proxy) error {
	config, err := prepare(p)
	if err != nil {
		return err
	}
	child, err := s.launch(p, config)
	if err != nil {
		return err
	}
	pid := child.cmd.Process.Pid
	var wg sync.WaitGroup
	wg.Go(func() {
		child.err = child.cmd.Wait()
		close(child.ended)
	})
	defer wg.Wait()
	defer func() {
		if s.opts.Ended != nil {
			s.opts.Ended(p.Node.ID, pid)
		}
	}()

	err = s.release(p, child)
	if err == nil {
		s.setState(p.Node.ID, func(st *State) { st.PID, st.Since, st.Error = pid, time.Now(), "" })
		s.opts.Log.Info("a proxy was started", "proxy", p.Node.ID, "pid", pid)
		select {
		case <-child.ended:
			how := "exit status 0"
			if child.err != nil {
				how = child.err.Error()
			}
			return errors.Join(fmt.Errorf("envoy of %s ended by itself (%s): see %s", p.Node.ID, how, p.LogFile), s.records.remove(pid))
		case <-ctx.Done():
		}
	}
	child.stop()
	return errors.Join(err, s.records.remove(pid))
}

// child is a process that waits for one byte on gate before it becomes Envoy.
type child struct {
	cmd  *exec.Cmd
	gate *os.File
	// ended is closed once err says how the process ended.
	ended chan struct{}
	err   error
}

// shim holds the process back until its record is on disk and its pid is known to attestation: the pid stays the same over exec. Where
// the product dies in between, read meets the end of the pipe and the process ends.
const shim = `read -r _ <&3 || exit 70; exec "$@" 3<&-`

func (s *Supervisor) launch(p Proxy, config string) (*child, error) {
	out, err := s.openLog(p)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", p.Node.ID, err)
	}
	defer func() { _ = out.Close() }()
	held, gate, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = held.Close() }()
	binary, err := os.Open(s.opts.Binary.Path)
	if err != nil {
		return nil, errors.Join(err, gate.Close())
	}
	defer func() { _ = binary.Close() }()
	// The binary is executed by its descriptor: a proxy of another user could not follow a path through our home directory.
	cmd := exec.Command("/bin/sh", "-c", shim, "credence-proxy", //nolint:gosec // the binary was checked by Find, the rest is ours
		"/proc/self/fd/4", "--config-path", config, "--disable-hot-restart",
		"--concurrency", fmt.Sprint(max(1, s.opts.Concurrency)), "--log-level", "warning", "--drain-time-s", "5")
	cmd.Env = []string{"PATH=/usr/bin:/bin"} // nothing of our environment: it may hold what a proxy must not see
	cmd.Dir = p.Dir
	cmd.Stdout, cmd.Stderr = out, out
	cmd.ExtraFiles = []*os.File{held, binary}
	// A group of its own, so that Ctrl-C reaches the product alone and the product ends its proxies in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if p.User != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: p.User.UID, Gid: p.User.GID, Groups: []uint32{}}
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting envoy of %s: %w", p.Node.ID, err), gate.Close())
	}
	return &child{cmd: cmd, gate: gate, ended: make(chan struct{})}, nil
}

func (s *Supervisor) release(p Proxy, c *child) error {
	defer func() { _ = c.gate.Close() }()
	if err := s.records.add(p.Node.ID, c.cmd.Process.Pid, s.opts.Binary.Path); err != nil {
		return err
	}
	if s.opts.Started != nil {
		if err := s.opts.Started(p.Node.ID, c.cmd.Process.Pid); err != nil {
			return err
		}
	}
	_, err := c.gate.WriteString("go\n")
	return err
}

func (c *child) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.ended:
	case <-time.After(stopPatience):
		_ = c.cmd.Process.Kill()
		<-c.ended
	}
}
