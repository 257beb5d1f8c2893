package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/internal/app"
)

func newExplain(streams IO) *cobra.Command {
	var format output
	c := &cobra.Command{
		Use:   "explain ID",
		Short: "why a request was allowed or refused: every rule, and the smallest change that would have allowed it",
		Long: `explain tells how a request was judged, by its decision id: the header x-credence-decision and the body of every refusal have it, and so
has every line of the decision log. The running credence remembers the last 1,024 refusals and the last 256 allowed requests, with the
rules that judged them; it shows no credential.`,
		Example: "  credence explain 7Q4XKZJ2M6WQ3N5T\n  credence explain 7Q4XKZJ2M6WQ3N5T -o json",
		Args:    cobra.ArbitraryArgs,
	}
	state := stateFlag(c)
	format.add(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%w: name one decision id; see `credence explain --help`", errUsage)
		}
		stateDir, err := state()
		if err != nil {
			return err
		}
		e, err := app.ReadEndpoints(stateDir)
		if err != nil {
			return err
		}
		d, err := admin.FetchDecision(cmd.Context(), e.AdminSocket, args[0])
		switch {
		case errors.Is(err, admin.ErrNotFound):
			return fmt.Errorf("decision %s is not remembered any more, or was made by another process: the decision log has its line, and `credence check` answers the same request anew", args[0])
		case err != nil:
			return fmt.Errorf("process %d does not answer at %s (%w): if it does not run any more, start it with `credence up -f DIR`", e.PID, e.AdminSocket, err)
		}
		if format == "json" {
			return printJSON(streams.Out, d)
		}
		return printDecision(streams.Out, d)
	}
	return c
}
