package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/internal/app"
)

func newRevoke(streams IO) *cobra.Command {
	var format output
	c := &cobra.Command{
		Use:   "revoke",
		Short: "end credentials before their time: tokens, users, clients, issuers",
		Long: `revoke ends credentials in the running credence. A credential is revoked where all flags that are given are true of it. When the command has
ended, the revocation is on disk, and every request that begins from then on is judged by it: 401, token_revoked in the decision log.

A jti, and whatever --issued-before bounds, is forgotten once nothing that it covers can be alive (the issuers' maxLifetime). Without
--issued-before a subject, client or issuer is revoked for tokens that are yet to be issued as well, until ` + "`credence revoke undo`" + `.

Users of passwords, API keys and client certificates are revoked by --subject, with --issuer credentials/NAMESPACE/NAME for those of one
Credentials object alone; what does not say when it was issued is never spared by --issued-before.`,
		Example: `  credence revoke --jti 0b1f7c1e --reason "in a public log"      # one token
  credence revoke --subject alice --issued-before now            # alice has to sign in again
  credence revoke --subject alice                                # alice is out until it is undone
  credence revoke --client web --issuer https://id.example --issued-before 2026-01-31T12:00:00Z
  credence revoke list
  credence revoke undo r-3f2a9c0d11e87b54`,
		Args: subcommand,
	}
	state := stateFlag(c)
	format.add(c)
	var n admin.NewRevocation
	c.Flags().StringVar(&n.TokenID, "jti", "", "the token with this jti")
	c.Flags().StringVar(&n.Subject, "subject", "", "credentials of this subject (sub, user name)")
	c.Flags().StringVar(&n.Client, "client", "", "tokens that this OAuth client has got")
	c.Flags().StringVar(&n.Issuer, "issuer", "", "credentials of this issuer: the exact iss, introspection/NAMESPACE/NAME where answers have none, or credentials/NAMESPACE/NAME")
	before := c.Flags().String("issued-before", "", "spare what was issued at this time or later: now, or a time (RFC 3339)")
	c.Flags().StringVar(&n.Reason, "reason", "", "for people who read the list")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var err error
		if n.IssuedBefore, err = parseBefore(*before); err != nil {
			return err
		}
		if n.TokenID == "" && n.Subject == "" && n.Client == "" && n.Issuer == "" {
			return fmt.Errorf("%w: say what is revoked: --jti, --subject, --client or --issuer; see `credence revoke --help`", errUsage)
		}
		e, err := endpoints(state)
		if err != nil {
			return err
		}
		r, err := admin.Revoke(cmd.Context(), e.AdminSocket, n)
		if err != nil {
			return revokeError(&e, err, "whether it is revoked can't be told")
		}
		if format == "json" {
			return printJSON(streams.Out, r)
		}
		_, err = fmt.Fprintf(streams.Out, "revoked: %s, %s, %s\n", r.ID, oneLine(revokedWhat(&r)), forgotten(&r))
		return err
	}
	list, undo := newRevokeList(streams), newRevokeUndo(streams)
	c.AddCommand(list, undo)
	list.Args = exactly(list)
	return c
}

func newRevokeList(streams IO) *cobra.Command {
	var format output
	c := &cobra.Command{
		Use:     "list",
		Short:   "what is revoked, by commands and by manifests",
		Example: "  credence revoke list\n  credence revoke list -o json",
	}
	state := stateFlag(c)
	format.add(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		e, err := endpoints(state)
		if err != nil {
			return err
		}
		all, err := admin.ListRevocations(cmd.Context(), e.AdminSocket)
		if err != nil {
			return revokeError(&e, err, "")
		}
		if format == "json" {
			return printJSON(streams.Out, admin.RevocationList{Revocations: all})
		}
		return printRevocations(streams.Out, all)
	}
	return c
}

func printRevocations(w io.Writer, all []admin.Revocation) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "nothing is revoked")
		return err
	}
	var rows [][]string
	for i := range all {
		r := &all[i]
		since, until := "", "undone"
		if !r.Created.IsZero() {
			since = r.Created.Local().Format(time.DateTime)
		}
		switch {
		case r.Source == "manifest":
			until = "removed"
		case !r.Until.IsZero():
			until = r.Until.Local().Format(time.DateTime)
		}
		rows = append(rows, []string{r.ID, r.Source, revokedWhat(r), since, until, r.Reason})
	}
	return table(w, []string{"ID", "SOURCE", "WHAT", "SINCE", "UNTIL", "REASON"}, rows)
}

func newRevokeUndo(streams IO) *cobra.Command {
	c := &cobra.Command{
		Use:     "undo ID",
		Short:   "end a revocation: what it covered is good again, if it is alive",
		Example: "  credence revoke undo r-3f2a9c0d11e87b54",
		Args:    cobra.ArbitraryArgs,
	}
	state := stateFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 || args[0] == "" {
			return fmt.Errorf("%w: name one id of `credence revoke list`", errUsage)
		}
		e, err := endpoints(state)
		if err != nil {
			return err
		}
		if err := admin.Unrevoke(cmd.Context(), e.AdminSocket, args[0]); err != nil {
			return revokeError(&e, err, "whether it is undone can't be told")
		}
		_, err = fmt.Fprintf(streams.Out, "undone: %s\n", oneLine(args[0]))
		return err
	}
	return c
}

// endpoints of the running credence.
func endpoints(state func() (string, error)) (app.Endpoints, error) {
	dir, err := state()
	if err != nil {
		return app.Endpoints{}, err
	}
	return app.ReadEndpoints(dir)
}

// revokeError tells what was refused from what was not answered. doubt is what a lost answer leaves open.
func revokeError(e *app.Endpoints, err error, doubt string) error {
	if errors.Is(err, admin.ErrRefused) {
		return err
	}
	if doubt != "" {
		doubt = ", and " + doubt
	}
	return fmt.Errorf("process %d does not answer at %s (%w)%s: if it does not run any more, start it with `credence up -f DIR`", e.PID, e.AdminSocket, err, doubt)
}

func parseBefore(s string) (time.Time, error) {
	switch s {
	case "":
		return time.Time{}, nil
	case "now":
		return time.Now().UTC(), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.IsZero() {
		return time.Time{}, fmt.Errorf("%w: --issued-before %q is neither now nor a time like 2026-01-31T12:00:00Z", errUsage, s)
	}
	return t, nil
}

// revokedWhat is what r covers in the words of the flags.
func revokedWhat(r *admin.Revocation) string {
	var out []string
	for _, p := range [...]struct{ name, value string }{{"jti", r.TokenID}, {"subject", r.Subject}, {"client", r.Client}, {"issuer", r.Issuer}} {
		if p.value != "" {
			out = append(out, p.name+" "+p.value)
		}
	}
	if len(out) == 0 {
		out = append(out, "every credential")
	}
	if !r.IssuedBefore.IsZero() {
		out = append(out, "issued before "+r.IssuedBefore.Local().Format(time.DateTime))
	}
	return strings.Join(out, ", ")
}

func forgotten(r *admin.Revocation) string {
	if r.Until.IsZero() {
		return "until it is undone"
	}
	return "kept until " + r.Until.Local().Format(time.DateTime)
}
