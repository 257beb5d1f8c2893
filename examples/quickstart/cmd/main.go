// Command quickstart runs the tour and prints its table. With -keep it stays up afterwards.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/credence-mesh/credence/examples/quickstart/tour"
)

func main() {
	keep := flag.Bool("keep", false, "stay up afterwards")
	bin := flag.String("bin", "bin", "the folder with credence and the services")
	source := flag.String("source", "examples/quickstart", "the folder of the example")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ok, err := run(ctx, *source, *bin, *keep)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func run(ctx context.Context, source, bin string, keep bool) (ok bool, err error) {
	work, err := os.MkdirTemp("", "credence-quickstart-")
	if err != nil {
		return false, err
	}
	if bin, err = filepath.Abs(bin); err != nil {
		return false, err
	}
	log, err := os.Create(filepath.Join(work, "log"))
	if err != nil {
		return false, err
	}
	fmt.Printf("quickstart: starting credence, six Envoys and four services (log: %s)\n", log.Name())
	mesh, err := tour.Start(ctx, tour.Options{Source: source, Bin: bin, Work: work, Log: log})
	defer func() {
		if stopErr := mesh.Stop(); err == nil {
			err = stopErr
		}
		if err == nil && ok {
			_ = os.RemoveAll(work)
			return
		}
		tail(log.Name())
		fmt.Printf("quickstart: everything of this run is kept in %s\n", work)
	}()
	if err != nil {
		return false, err
	}
	fmt.Print("quickstart: boundary none: on this machine every process can reach the services' own ports; a real mesh gives each a user of its own\n\n")
	ok, err = table(ctx, os.Stdout, mesh)
	if err != nil || !ok || !keep {
		return ok, err
	}
	return ok, stay(ctx, mesh, work)
}

// table prints each row as soon as it is known.
func table(ctx context.Context, w io.Writer, mesh *tour.Mesh) (ok bool, err error) {
	rows := tour.Rows()
	name, want := 0, 0
	for _, r := range rows {
		name, want = max(name, len([]rune(r.Name))), max(want, len([]rune(r.Want)))
	}
	line := func(mark, n, expected, got, why string) {
		_, _ = fmt.Fprintf(w, "%-2s %-*s  %-*s  %-*s  %s\n", mark, name, n, want, expected, want, got, why)
	}
	line("", "REQUEST", "EXPECTED", "GOT", "WHY")
	agree, begun := 0, time.Now()
	for _, r := range rows {
		got, err := r.Do(ctx, mesh)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		mark := "✓"
		if err != nil || got != r.Want {
			mark = "✗"
		} else {
			agree++
		}
		if err != nil {
			got = strings.TrimSpace(got + " " + err.Error())
		}
		why := r.Why
		if notes := mesh.Notes(); len(notes) > 0 {
			why += " (" + strings.Join(notes, ", ") + ")"
		}
		line(mark, r.Name, r.Want, got, why)
	}
	_, _ = fmt.Fprintf(w, "\n%d of %d as expected, in %.1f s\n", agree, len(rows), time.Since(begun).Seconds())
	return agree == len(rows), nil
}

func stay(ctx context.Context, mesh *tour.Mesh, work string) error {
	token, err := mesh.Token(ctx, "orders:read")
	if err != nil {
		return err
	}
	_, https, _ := strings.Cut(mesh.Endpoints.Gateways["default/edge"].Listeners["https"], ":")
	fmt.Printf(`
The mesh stays up until Ctrl-C; its manifests are in %s: edit them and ask again.

  curl -sik https://shop.localhost:%[2]s/
  curl -sik https://shop.localhost:%[2]s/orders
  curl -sk https://shop.localhost:%[2]s/orders -H "Authorization: Bearer %[3]s"

  bin/credence status --state-dir %[4]s
`, filepath.Join(work, "mesh"), https, token, filepath.Join(work, "state"))
	<-ctx.Done()
	return nil
}

// tail shows the end of the log where something went wrong.
func tail(path string) {
	body, err := os.ReadFile(path)
	if err != nil {
		return
	}
	lines := strings.Split(strings.TrimSpace(string(body)), "\n")
	fmt.Fprintln(os.Stderr, strings.Join(lines[max(0, len(lines)-15):], "\n"))
}
