package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/credence-mesh/credence/internal/app"
	"github.com/credence-mesh/credence/internal/devissuer"
)

func newToken(streams IO) *cobra.Command {
	c := &cobra.Command{
		Use:     "token",
		Short:   "tokens of the development issuer",
		Example: `  credence token mint --sub alice --scope orders:read --aud https://shop.localhost`,
		Args:    subcommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	mint := newMint(streams)
	c.AddCommand(mint)
	mint.Args = exactly(mint)
	return c
}

func newMint(streams IO) *cobra.Command {
	c := &cobra.Command{
		Use:   "mint",
		Short: "print an access token of the development issuer, and nothing else",
		Long: `mint makes an access token (RFC 9068) signed by the development issuer of the running mesh. Only a mesh that is marked as development and has a
TokenIssuer with keys.development trusts it.

A value of --claim that is JSON (a number, true, an array, an object, a quoted string) is taken as such, anything else as a string. Claims that the
token has anyway are replaced: that is how tests make a token that is expired, early, or meant for somebody else.`,
		Example: `  credence token mint --sub alice --scope "orders:read orders:write" --aud https://shop.localhost
  TOKEN=$(credence token mint --sub alice --scope orders:read --aud https://shop.localhost --ttl 10m --claim roles='["admin"]')`,
	}
	state := stateFlag(c)
	sub := c.Flags().String("sub", "", "the user (required)")
	scope := c.Flags().String("scope", "", "scopes, separated by blanks")
	aud := c.Flags().StringArray("aud", nil, "audience; may be given several times (required)")
	ttl := c.Flags().Duration("ttl", 5*time.Minute, "how long the token lives")
	claims := c.Flags().StringArray("claim", nil, "k=v; may be given several times")
	c.RunE = func(_ *cobra.Command, _ []string) error {
		if *sub == "" || len(*aud) == 0 {
			return fmt.Errorf("%w: a token needs --sub and --aud; see `credence token mint --help`", errUsage)
		}
		extra, err := parseClaims(*claims)
		if err != nil {
			return err
		}
		stateDir, err := state()
		if err != nil {
			return err
		}
		e, err := app.ReadEndpoints(stateDir)
		if err != nil {
			return err
		}
		if e.Issuer == "" {
			return fmt.Errorf("the running mesh has no development issuer: add a TokenIssuer with keys.development to a mesh with development: true")
		}
		issuer, err := devissuer.Open(app.DevIssuerDir(stateDir, e.Issuer), e.Issuer)
		if err != nil {
			return err
		}
		token, err := issuer.Mint(devissuer.Request{
			Subject: *sub, Audience: *aud, Scopes: strings.Fields(*scope), TTL: *ttl, Claims: extra,
		})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(streams.Out, token)
		return err
	}
	return c
}

func parseClaims(list []string) (map[string]any, error) {
	out := map[string]any{}
	for _, kv := range list {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("%w: --claim %q is not k=v", errUsage, kv)
		}
		one := map[string]any{k: v}
		var value any
		dec := json.NewDecoder(strings.NewReader(v))
		dec.UseNumber()
		if err := dec.Decode(&value); err == nil && !dec.More() {
			one[k] = value
		}
		maps.Copy(out, one)
	}
	return out, nil
}
