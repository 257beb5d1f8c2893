package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/credence-mesh/credence/internal/envoy"
)

type versionInfo struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	Envoy   string `json:"envoy,omitempty"`
	Path    string `json:"envoyPath,omitempty"`
	Problem string `json:"envoyProblem,omitempty"`
}

func newVersion(streams IO) *cobra.Command {
	var format output
	c := &cobra.Command{
		Use:     "version",
		Short:   "the versions of credence and of the Envoy that it would run",
		Example: "  credence version\n  credence version -o json",
	}
	format.add(c)
	flag := c.Flags().String("envoy", "", "the Envoy binary (default: $"+envoy.Environment+", then .envoy/envoy, then PATH)")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		info := versionInfo{Version: version, Go: runtime.Version()}
		if b, err := envoy.Find(cmd.Context(), *flag); err != nil {
			info.Problem = err.Error()
		} else {
			info.Envoy, info.Path = b.Version.String(), b.Path
		}
		if format == "json" {
			return printJSON(streams.Out, info)
		}
		line := "envoy " + info.Envoy + " (" + info.Path + ")"
		if info.Problem != "" {
			line = "envoy: " + info.Problem
		}
		_, err := fmt.Fprintf(streams.Out, "credence %s (%s)\n%s\n", info.Version, info.Go, line)
		return err
	}
	return c
}
