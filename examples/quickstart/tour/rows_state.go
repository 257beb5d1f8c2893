package tour

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

func stateRows() []Row {
	return []Row{
		{"a start with a damaged last-good file", "refused, nothing overwritten", "one sentence says which file and what to do", func(ctx context.Context, m *Mesh) (string, error) {
			return m.refusedStart(ctx, map[string]string{"format": "1\n", "last-good.json": `{"format": 1, "obj`}, "last-good.json")
		}},
		{"a start with the state of a newer version", "refused, nothing overwritten", "only a version that understands it may touch it", func(ctx context.Context, m *Mesh) (string, error) {
			return m.refusedStart(ctx, map[string]string{"format": "9\n", "something": "of a newer version"}, "format 9")
		}},
	}
}

// refusedStart starts another credence on a state directory with these files, and tells whether it refuses with one sentence that names
// the fault and leaves every file as it was.
func (m *Mesh) refusedStart(ctx context.Context, files map[string]string, fault string) (string, error) {
	state, err := os.MkdirTemp(m.opts.Work, "state-")
	if err != nil {
		return "", err
	}
	for name, body := range files {
		if err := os.WriteFile(filepath.Join(state, name), []byte(body), 0o600); err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(m.opts.Bin, "credence"), "up", "-f", m.manifest(), "--state-dir", state, "--admin-address", "127.0.0.1:0") //nolint:gosec // our own binary
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err = cmd.Run()
	said := strings.TrimSpace(stderr.String())
	switch {
	case err == nil || ctx.Err() != nil:
		return "started", nil
	case !strings.HasPrefix(said, "credence: ") || strings.Contains(said, "\n") || !strings.Contains(said, fault):
		return fmt.Sprintf("refused with %q", said), nil
	}
	for name, body := range files {
		if now, err := os.ReadFile(filepath.Join(state, name)); err != nil || string(now) != body {
			return "refused, " + name + " overwritten", err
		}
	}
	return "refused, nothing overwritten", nil
}
