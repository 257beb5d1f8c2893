package cli

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/internal/app"
	"github.com/credence-mesh/credence/internal/envoy"
)

// stateFlag is --state-dir.
func stateFlag(c *cobra.Command) func() (string, error) {
	flag := c.Flags().String("state-dir", "", "where what outlives the process is kept, and endpoints.json (default: /var/lib/credence for root, else ~/.local/state/credence)")
	return func() (string, error) {
		if *flag != "" {
			return *flag, nil
		}
		return app.DefaultStateDir()
	}
}

func manifestFlag(c *cobra.Command) *string {
	return c.Flags().StringP("file", "f", "", "the directory of manifests")
}

func newUp(streams IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "up -f DIR",
		Short: "run the mesh on this machine: server, agent, and an Envoy per gateway and per workload",
		Long: `up reads the manifests in DIR and keeps to them: every edit takes effect by itself. It starts an Envoy per Gateway and per Workload, gives every
process its SPIFFE identity at the Workload API, judges every request, and prints what listens where. Ctrl-C ends it and leaves nothing behind.

endpoints.json in the state directory says for scripts where everything is. The decision log goes to the error stream, a line per request.`,
		Example: `  credence up -f examples/quickstart/mesh
  credence up -f mesh/ --state-dir ./state --admin-address 127.0.0.1:0`,
	}
	dir := manifestFlag(c)
	state := stateFlag(c)
	run := c.Flags().String("run-dir", "", "where sockets are made (default: below /run/credence for root, else below $XDG_RUNTIME_DIR)")
	bin := c.Flags().String("envoy", "", "the Envoy binary (default: $"+envoy.Environment+", then .envoy/envoy, then PATH)")
	address := c.Flags().String("admin-address", "127.0.0.1:15080", "where /healthz, /readyz, /metrics and the keys of internal tokens are served")
	threads := c.Flags().Int("proxy-concurrency", 1, "worker threads of each Envoy")
	level := c.Flags().String("log-level", "info", "debug, info, warn or error; decisions are logged at info")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if *dir == "" {
			return fmt.Errorf("%w: name the directory of manifests with -f DIR", errUsage)
		}
		var lvl slog.Level
		if err := lvl.UnmarshalText([]byte(*level)); err != nil {
			return fmt.Errorf("%w: %q is no log level: debug, info, warn or error", errUsage, *level)
		}
		stateDir, err := state()
		if err != nil {
			return err
		}
		p := &upPrinter{out: streams.Out, err: streams.Err}
		return app.Up(cmd.Context(), app.Options{
			Dir: *dir, StateDir: stateDir, RunDir: *run, Envoy: *bin, AdminAddress: *address, Concurrency: *threads, Version: version,
			Log: slog.New(slog.NewTextHandler(streams.Err, &slog.HandlerOptions{Level: lvl})), Changed: p.changed,
		})
	}
	return c
}

// upPrinter tells the operator what changed: diagnostics that are new or fixed, what is waited for, and the table once all listens.
type upPrinter struct {
	out, err io.Writer
	// announce writes what listens, once all does; nil: the table of the mesh.
	announce func(io.Writer, admin.Status)

	mu      sync.Mutex
	known   map[string]admin.Diagnostic
	waiting string
}

func (p *upPrinter) changed(e app.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case e.Ready:
		p.ready(e.Status)
	case e.Waiting:
		p.wait(e.Status)
	default:
		p.diagnose(e.Status.Diagnostics)
	}
}

func (p *upPrinter) diagnose(ds []admin.Diagnostic) {
	now := map[string]admin.Diagnostic{}
	for _, d := range ds {
		key := sameFault(d)
		if _, known := p.known[key]; !known {
			_, _ = fmt.Fprintln(p.err, diagnosticLine(d))
		}
		now[key] = d
	}
	for _, key := range slices.Sorted(maps.Keys(p.known)) {
		if _, still := now[key]; !still {
			_, _ = fmt.Fprintln(p.err, "fixed: "+diagnosticLine(p.known[key]))
		}
	}
	p.known = now
}

// sameFault leaves the line out: an edit above a fault moves it, and it is no news then.
func sameFault(d admin.Diagnostic) string {
	file, _, _ := strings.Cut(d.Position, ":")
	return strings.Join([]string{file, d.Object, d.Code, d.Message}, "\x00")
}

// wait prints one line. While nothing is in force, an edit is waited for, and it is said once.
func (p *upPrinter) wait(s admin.Status) {
	if len(s.NotReady) == 0 {
		return
	}
	line := "waiting: " + oneLine(s.NotReady[0])
	if more := len(s.NotReady) - 1; more > 0 {
		line += fmt.Sprintf(" (and %d more)", more)
	}
	if s.Generation == 0 && line == p.waiting {
		return
	}
	p.waiting = line
	_, _ = fmt.Fprintln(p.err, line)
}

func (p *upPrinter) ready(s admin.Status) {
	if p.announce != nil {
		p.announce(p.out, s)
		return
	}
	_, _ = fmt.Fprintf(p.out, "\nThe mesh %s is up (credence %s, process %d). Ctrl-C ends it.\n\n", s.TrustDomain, s.Version, os.Getpid())
	_ = listening(p.out, s)
	if names := noBoundary(s); names != "" {
		_, _ = fmt.Fprintf(p.out, "\nWarning: boundary none: any process of this machine can reach the outbound and application ports of %s.\n", names)
	}
}

func noBoundary(s admin.Status) string {
	var names []string
	for _, w := range s.Workloads {
		if w.Boundary == "none" {
			names = append(names, w.Name)
		}
	}
	return strings.Join(names, ", ")
}

func diagnosticLine(d admin.Diagnostic) string {
	line := d.Severity + ": " + d.Message + " [" + d.Code + "]"
	if d.Position != "" {
		line = d.Position + ": " + line
	}
	if d.Hint != "" {
		line += " (" + d.Hint + ")"
	}
	return oneLine(line)
}

// listening is the table of who listens where, as whom, until when.
func listening(w io.Writer, s admin.Status) error {
	var rows [][]string
	add := func(kind string, l admin.Listening) {
		until := ""
		if !l.Expires.IsZero() {
			until = l.Expires.Local().Format(time.DateTime)
		}
		id := l.SPIFFEID
		if l.Denied != "" {
			id = "none: " + l.Denied
		}
		rows = append(rows, []string{kind, l.Name, strings.Join(listens(l), " "), l.Outbound, id, until})
	}
	for _, g := range s.Gateways {
		add("gateway", g)
	}
	for _, l := range s.Workloads {
		add("workload", l)
	}
	return table(w, []string{"KIND", "NAME", "LISTENS (mTLS for workloads)", "CALLS OTHERS THROUGH", "IDENTITY", "UNTIL"}, rows)
}

// listens are the addresses of l; those that no sidecar serves say so, because no policy is in force there.
func listens(l admin.Listening) []string {
	out := slices.Clone(l.Addresses)
	for i, a := range out {
		if name, _, _ := strings.Cut(a, "="); slices.Contains(l.OwnMTLS, name) {
			out[i] = a + " (its own mTLS)"
		}
	}
	return out
}
