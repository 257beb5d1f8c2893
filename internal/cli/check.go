package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/credence-mesh/credence/internal/app"
	"github.com/credence-mesh/credence/manifests/decode"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

func newCheck(streams IO) *cobra.Command {
	var format output
	c := &cobra.Command{
		Use:   "check -f DIR [flags] URL",
		Short: "would this request pass, and why: every rule, and the smallest change that would allow it",
		Long: `check answers one request by the manifests in DIR, with the code that answers proxies. It needs no running mesh and no Envoy, and changes nothing.

URL is scheme://host/path for a gateway; for the sidecar of a workload name it with --workload, and give a path. Who the user is comes from --token, which
is verified (keys of issuers are fetched where the manifests do not hold them), from --claims, which are taken as they are, or from any other credential
in a header (-H). Internal tokens can't be made up: of a sidecar whose policies take them, check tells what else the rules ask for. Keys of a development
issuer are known to the running mesh alone. check exits with 0 when the request is allowed, 1 when it is refused, 2 when it can't be told.`,
		Example: `  credence check -f mesh/ --claims '{"sub":"alice","scope":"orders:read"}' --issuer dev https://shop.localhost:8443/orders/7
  credence check -f mesh/ -X POST --token - https://shop.example.com/orders < token.txt
  credence check -f mesh/ --workload orders --port http --peer web /orders/7
  credence check -f mesh/ -H 'x-api-key: …' -o json https://shop.example.com/reports`,
	}
	q := &questionFlags{dir: manifestFlag(c)}
	q.add(c)
	format.add(c)
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(cmd *cobra.Command, args []string) error {
		question, err := q.question(args)
		if err != nil {
			return err
		}
		d, faults, err := app.Check(cmd.Context(), question)
		for _, f := range faults {
			_, _ = fmt.Fprintln(streams.Err, oneLine(f.String()))
		}
		switch {
		case errors.Is(err, app.ErrQuestion):
			return fmt.Errorf("%w: %w", errUsage, err)
		case err != nil:
			return err
		}
		if format == "json" {
			err = printJSON(streams.Out, d)
		} else {
			err = printDecision(streams.Out, d)
		}
		if err == nil && !d.Allowed {
			return errSilent
		}
		return err
	}
	return c
}

// questionFlags are the flags of check.
type questionFlags struct {
	dir                                                          *string
	method, gateway, workload, port, token, claims, issuer, peer string
	headers                                                      []string
}

func (q *questionFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVarP(&q.method, "method", "X", "GET", "method of the request")
	f.StringVar(&q.gateway, "gateway", "", "Gateway that it comes in by, [namespace/]name; default: the one that listens at the URL's port")
	f.StringVar(&q.workload, "workload", "", "Workload whose sidecar is asked, [namespace/]name, instead of a gateway")
	f.StringVar(&q.port, "port", "", "port of the Workload, by name; default: its only one")
	f.StringVar(&q.token, "token", "", "file that holds a bearer token; - is standard input")
	f.StringVar(&q.claims, "claims", "", "claims of a token as a JSON object, or @FILE; nothing of them is verified")
	f.StringVar(&q.issuer, "issuer", "", "TokenIssuer whose token the claims are, [namespace/]name")
	f.StringVar(&q.peer, "peer", "", "calling workload: a SPIFFE ID, or the name of a Workload or Gateway")
	f.StringArrayVarP(&q.headers, "header", "H", nil, "header, 'Name: value'; may be given several times")
}

func (q *questionFlags) question(args []string) (app.Question, error) {
	out := app.Question{Dir: *q.dir, Method: q.method, Port: q.port, Peer: q.peer}
	switch {
	case *q.dir == "":
		return out, fmt.Errorf("%w: name the directory of manifests with -f DIR", errUsage)
	case len(args) != 1:
		return out, fmt.Errorf("%w: name one URL; see `credence check --help`", errUsage)
	case q.gateway != "" && q.workload != "":
		return out, fmt.Errorf("%w: either --gateway or --workload", errUsage)
	case q.token != "" && q.claims != "":
		return out, fmt.Errorf("%w: either --token or --claims", errUsage)
	case q.claims != "" && q.issuer == "":
		return out, fmt.Errorf("%w: --claims are those of a token of the TokenIssuer that --issuer names", errUsage)
	}
	out.URL, out.Gateway, out.Workload, out.Issuer = args[0], objectName(q.gateway), objectName(q.workload), objectName(q.issuer)
	for _, h := range q.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return out, fmt.Errorf("%w: a header is 'Name: value'", errUsage)
		}
		out.Headers = append(out.Headers, decide.Header{Name: strings.ToLower(strings.TrimSpace(name)), Value: strings.TrimSpace(value)})
	}
	if q.token != "" {
		token, err := readInput(q.token)
		if err != nil {
			return out, err
		}
		out.Token = string(bytes.TrimSpace(token))
	}
	if file, ok := strings.CutPrefix(q.claims, "@"); ok {
		claims, err := readInput(file)
		if err != nil {
			return out, err
		}
		out.Claims = claims
	} else if q.claims != "" {
		out.Claims = []byte(q.claims)
	}
	return out, nil
}

func objectName(text string) policy.Name {
	if text == "" {
		return policy.Name{}
	}
	if namespace, name, ok := strings.Cut(text, "/"); ok {
		return policy.Name{Namespace: namespace, Name: name}
	}
	return policy.Name{Namespace: decode.DefaultNamespace, Name: text}
}

// readInput reads a small file, or standard input for "-".
func readInput(name string) ([]byte, error) {
	in := io.Reader(os.Stdin)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	return io.ReadAll(io.LimitReader(in, 1<<20))
}
