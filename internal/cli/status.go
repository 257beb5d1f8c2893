package cli

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/internal/app"
)

func newStatus(streams IO) *cobra.Command {
	var format output
	c := &cobra.Command{
		Use:     "status",
		Short:   "what runs: listeners, identities, proxies and what they refused, issuers, faults in the manifests",
		Example: "  credence status\n  credence status -o json --state-dir ./state",
	}
	state := stateFlag(c)
	format.add(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		stateDir, err := state()
		if err != nil {
			return err
		}
		e, err := app.ReadEndpoints(stateDir)
		if err != nil {
			return err
		}
		s, err := admin.Fetch(cmd.Context(), e.AdminSocket)
		if err != nil {
			return fmt.Errorf("process %d does not answer at %s (%w): if it does not run any more, start it with `credence up -f DIR`", e.PID, e.AdminSocket, err)
		}
		if format == "json" {
			return printJSON(streams.Out, s)
		}
		return printStatus(streams.Out, s)
	}
	return c
}

func printStatus(w io.Writer, s admin.Status) error {
	ready := "ready"
	switch {
	case !s.Ready:
		ready = "not ready"
	case len(s.Degraded) > 0:
		ready = "ready, degraded"
	}
	if _, err := fmt.Fprintf(w, "mesh %s, generation %d, %s\n", s.TrustDomain, s.Generation, ready); err != nil {
		return err
	}
	for _, why := range slices.Concat(s.NotReady, s.Degraded) {
		if _, err := fmt.Fprintln(w, "  "+oneLine(why)); err != nil {
			return err
		}
	}
	var proxies, issuers, pinned [][]string
	for _, p := range s.Proxies {
		state := "connected"
		switch {
		case p.Error != "":
			state = p.Error
		case p.Rejected != "":
			state = "refused " + p.Rejected
		case !p.Connected:
			state = "not connected"
		}
		proxies = append(proxies, []string{p.ID, strconv.Itoa(p.PID), p.Version, strconv.FormatUint(p.Generation, 10), strconv.Itoa(p.Restarts), state})
	}
	for _, i := range s.Issuers {
		issuers = append(issuers, issuerRow(s.Time, i))
	}
	for _, k := range s.Pinned {
		pinned = append(pinned, []string{k, "in force in its last good version"})
	}
	for _, k := range s.Denied {
		pinned = append(pinned, []string{k, "never valid: what depends on it is denied"})
	}
	if err := section(w, func() error { return listening(w, s) }, len(s.Gateways)+len(s.Workloads)); err != nil {
		return err
	}
	for _, t := range []struct {
		header []string
		rows   [][]string
	}{
		{[]string{"PROXY", "PROCESS", "ENVOY", "GENERATION", "RESTARTS", "STATE"}, proxies},
		{[]string{"ISSUER", "URL", "KEYS", "READ", "NEXT", "TRUSTED UNTIL", "FAILURE"}, issuers},
		{[]string{"OBJECT", "STATE"}, pinned},
	} {
		if err := section(w, func() error { return table(w, t.header, t.rows) }, len(t.rows)); err != nil {
			return err
		}
	}
	for i, d := range s.Diagnostics {
		if i == 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintln(w, diagnosticLine(d)); err != nil {
			return err
		}
	}
	return nil
}

// issuerRow is one issuer as it was at the time now.
func issuerRow(now time.Time, i admin.Issuer) []string {
	read, next, until := "", "", ""
	if !i.Updated.IsZero() {
		read = now.Sub(i.Updated).Round(time.Second).String() + " ago"
		if i.Restored {
			read += ", from disk"
		}
	}
	if !i.Next.IsZero() {
		next = "in " + max(0, i.Next.Sub(now)).Round(time.Second).String()
	}
	if !i.Until.IsZero() {
		until = i.Until.Local().Format(time.DateTime)
	}
	iss := i.Issuer
	if i.More > 0 {
		iss += fmt.Sprintf(" and %d more", i.More)
	}
	if iss == "" {
		iss = i.Introspection
	}
	keys := strconv.Itoa(i.Keys)
	if i.Introspection != "" && i.Keys == 0 {
		keys = "asked" // its tokens are opaque
	}
	return []string{i.Name, iss, keys, read, next, until, i.Error}
}

// section prints a blank line and a table; an empty one is left out.
func section(w io.Writer, print func() error, rows int) error {
	if rows == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return print()
}
