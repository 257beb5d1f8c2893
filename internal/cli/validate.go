package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/internal/app"
	"github.com/credence-mesh/credence/manifests"
)

type validation struct {
	Valid       bool               `json:"valid"`
	Diagnostics []admin.Diagnostic `json:"diagnostics"`
	Skipped     []string           `json:"skipped"`
}

func newValidate(streams IO) *cobra.Command {
	var format output
	c := &cobra.Command{
		Use:   "validate -f DIR",
		Short: "say everything that is wrong with the manifests, with file:line:col and what to do",
		Long: `validate reads the manifests in DIR as ` + "`credence up`" + ` does, compiles them, and prints every fault. It exits with 1 when there is an error;
warnings and notices alone are well. It changes nothing and needs no Envoy.`,
		Example: "  credence validate -f mesh/\n  credence validate -f mesh/ -o json",
	}
	dir := manifestFlag(c)
	format.add(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if *dir == "" {
			return fmt.Errorf("%w: name the directory of manifests with -f DIR", errUsage)
		}
		diagnostics, skipped, err := app.Validate(cmd.Context(), *dir)
		if err != nil && !errors.Is(err, app.ErrInvalid) {
			return err
		}
		if format == "json" {
			v := validation{Valid: err == nil, Diagnostics: app.AdminDiagnostics(diagnostics), Skipped: append([]string{}, skipped...)}
			if jsonErr := printJSON(streams.Out, v); jsonErr != nil {
				return jsonErr
			}
		} else if printErr := printValidation(streams, *dir, diagnostics, skipped); printErr != nil {
			return printErr
		}
		if err != nil {
			return errSilent
		}
		return nil
	}
	return c
}

func printValidation(streams IO, dir string, diagnostics []manifests.Diagnostic, skipped []string) error {
	count := map[manifests.Severity]int{}
	for _, d := range diagnostics {
		count[d.Severity]++
		if _, err := fmt.Fprintln(streams.Out, oneLine(d.String())); err != nil {
			return err
		}
	}
	for _, s := range skipped {
		if _, err := fmt.Fprintf(streams.Out, "%s: not read\n", oneLine(s)); err != nil {
			return err
		}
	}
	verdict := "is valid"
	if count[manifests.Error] > 0 {
		verdict = "is not valid"
	}
	_, err := fmt.Fprintf(streams.Out, "%s %s: %s, %s, %s\n", dir, verdict,
		plural(count[manifests.Error], "error"), plural(count[manifests.Warning], "warning"), plural(count[manifests.Notice], "notice"))
	return err
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
