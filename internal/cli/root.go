package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/credence-mesh/credence/internal/app"
)

// version is set by the build (-ldflags -X).
var version = "development"

// IO is where a command writes: results to Out, all else to Err.
type IO struct{ Out, Err io.Writer }

// errUsage marks a wrong use of the command line: exit code 2.
var errUsage = errors.New("wrong use")

// errSilent ends a command whose output has said all already.
var errSilent = errors.New("failed")

// Main runs one command and returns the exit code. It ends when ctx does.
func Main(ctx context.Context, args []string, io IO) int {
	root := newRoot(io)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errSilent):
		return 1
	}
	_, _ = fmt.Fprintln(io.Err, "credence:", err)
	if errors.Is(err, errUsage) || errors.Is(err, app.ErrCannotTell) {
		return 2
	}
	return 1
}

func newRoot(streams IO) *cobra.Command {
	root := &cobra.Command{
		Use:   "credence",
		Short: "identity and authorization control plane for Envoy",
		Long: `Credence configures Envoy proxies, gives every workload a SPIFFE identity, and decides for every request which workload calls, for which
user, and whether they may. It reads manifests (Gateway API kinds and its own) from a directory.`,
		Example: `  credence validate -f mesh/                    # what is wrong with the manifests, with file:line:col
  credence up -f mesh/                          # run the mesh on this machine
  credence authz -f mesh/ --socket check.sock   # only the Check server, for Envoys of another control plane
  credence status                               # what runs, which identities, which proxies refused what
  credence revoke --subject alice --issued-before now   # end her tokens
  credence token mint --sub alice --scope orders:read --aud https://shop.localhost`,
		SilenceErrors: true,
		SilenceUsage:  true,
		CompletionOptions: cobra.CompletionOptions{
			DisableDefaultCmd: true,
		},
		Args: subcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w: %w; see `%s --help`", errUsage, err, cmd.CommandPath())
	})
	root.AddCommand(newUp(streams), newAuthz(streams), newValidate(streams), newStatus(streams), newCheck(streams), newExplain(streams), newRevoke(streams), newCredentials(streams), newToken(streams), newVersion(streams))
	for _, c := range root.Commands() {
		if !c.HasSubCommands() && c.Args == nil {
			c.Args = exactly(c)
		}
	}
	return root
}

// subcommand refuses a word that is none of c's commands.
func subcommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	hint := "commands are " + strings.Join(names, ", ")
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean " + near[0] + "?"
	}
	return fmt.Errorf("%w: %q is no command of %s: %s", errUsage, args[0], c.CommandPath(), hint)
}

// exactly refuses words that no command of ours takes.
func exactly(c *cobra.Command) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("%w: %q is not understood; see `%s --help`", errUsage, args[0], c.CommandPath())
		}
		return nil
	}
}

// output is the flag -o.
type output string

func (o *output) add(c *cobra.Command) {
	*o = "table"
	c.Flags().VarP((*outputValue)(o), "output", "o", "table or json")
}

type outputValue output

func (v *outputValue) String() string { return string(*v) }
func (v *outputValue) Type() string   { return "format" }
func (v *outputValue) Set(s string) error {
	if s != "table" && s != "json" {
		return fmt.Errorf("%q is no output format: table or json", s)
	}
	*v = outputValue(s)
	return nil
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// oneLine keeps what others wrote (errors of proxies and issuers, names of files) from breaking a table or steering a terminal.
func oneLine(s string) string {
	s = strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, s)
}

// table prints rows under a header, columns lined up, two blanks between them. An empty cell is "-".
func table(w io.Writer, header []string, rows [][]string) error {
	for _, row := range rows {
		for i := range row {
			row[i] = oneLine(row[i])
		}
	}
	width := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(cell)), 1)
		}
	}
	for _, row := range append([][]string{header}, rows...) {
		var line strings.Builder
		for i, cell := range row {
			if cell == "" {
				cell = "-"
			}
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", width[i]-len([]rune(cell))+2))
			}
		}
		if _, err := fmt.Fprintln(w, line.String()); err != nil {
			return err
		}
	}
	return nil
}
