package cli

import (
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/internal/app"
	"github.com/credence-mesh/credence/policy"
)

// authzFlags are the flags of `credence authz` as they were written.
type authzFlags struct {
	dir, run, gateway           string
	socket, socketMode, address string
	uids                        []string
	cert, key, clientCA         string
	clients                     []string
	trustPrincipal              bool
	adminAddress, level         string
}

func newAuthz(streams IO) *cobra.Command {
	f := &authzFlags{}
	c := &cobra.Command{
		Use:   "authz -f DIR (--socket PATH | --address HOST:PORT --tls-cert FILE --tls-key FILE --tls-client-ca FILE --allow-client NAME)",
		Short: "only the Check server (ext_authz), for Envoys that another control plane configures",
		Long: `authz answers the ext_authz Checks of Envoys that Istio, Envoy Gateway, Contour or a file configures. It reads the manifests in DIR (Mesh, one
Gateway, its routes, TokenIssuers, AuthPolicies; backendRefs may be left out), keeps to every edit, and finds the route of a request by its host and
path. There is no CA, no proxy and no configuration of any: what the other Envoy must do itself is the list in examples/authz/README.md.

In clear text it listens on a unix socket alone, and only for users that may ask. Over TCP it speaks mTLS, with clients that are named.`,
		Example: `  credence authz -f manifests/ --socket /run/credence/check.sock --allow-uid 101
  credence authz -f manifests/ --address :9001 --tls-cert tls.crt --tls-key tls.key --tls-client-ca ca.crt \
    --allow-client spiffe://cluster.local/ns/envoy-gateway-system/sa/envoy`,
	}
	f.add(c)
	state := stateFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		opts, err := f.options()
		if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		var lvl slog.Level
		if err := lvl.UnmarshalText([]byte(f.level)); err != nil {
			return fmt.Errorf("%w: %q is no log level: debug, info, warn or error", errUsage, f.level)
		}
		if opts.StateDir, err = state(); err != nil {
			return err
		}
		p := &upPrinter{out: streams.Out, err: streams.Err, announce: announceAuthz}
		opts.Log, opts.Changed = slog.New(slog.NewTextHandler(streams.Err, &slog.HandlerOptions{Level: lvl})), p.changed
		return app.Authz(cmd.Context(), opts)
	}
	return c
}

func (f *authzFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVarP(&f.dir, "file", "f", "", "the directory of manifests")
	flags.StringVar(&f.run, "run-dir", "", "where the admin socket is made (default: below /run/credence for root, else below $XDG_RUNTIME_DIR)")
	flags.StringVar(&f.gateway, "gateway", "", "namespace/name of the Gateway whose routes count (default: the only one)")
	flags.StringVar(&f.socket, "socket", "", "the unix socket for Checks")
	flags.StringVar(&f.socketMode, "socket-mode", "", "mode of --socket, in octal (default: 0600; 0666 with --allow-uid, which is the guard then)")
	flags.StringSliceVar(&f.uids, "allow-uid", nil, "users that may ask on --socket, by uid, besides the own one and root")
	flags.StringVar(&f.address, "address", "", "host:port for Checks with mTLS")
	flags.StringVar(&f.cert, "tls-cert", "", "PEM file: the certificate chain of this server, read anew when it changes")
	flags.StringVar(&f.key, "tls-key", "", "PEM file: the key of --tls-cert")
	flags.StringVar(&f.clientCA, "tls-client-ca", "", "PEM file: the CAs of clients")
	flags.StringSliceVar(&f.clients, "allow-client", nil, "a SPIFFE ID or exact DNS name that may ask; another certificate of the CA is not enough")
	flags.BoolVar(&f.trustPrincipal, "trust-principal", false, "believe source.principal where the proxy sends no certificate: only if it verifies SPIFFE IDs strictly")
	flags.StringVar(&f.adminAddress, "admin-address", "127.0.0.1:15080", "where /healthz, /readyz, /metrics and the keys of internal tokens are served")
	flags.StringVar(&f.level, "log-level", "info", "debug, info, warn or error; decisions are logged at info")
}

// options checks what was written. Its errors are wrong uses of the command line.
func (f *authzFlags) options() (app.AuthzOptions, error) {
	o := app.AuthzOptions{
		Dir: f.dir, RunDir: f.run, Address: f.address, AdminAddress: f.adminAddress, Version: version, TrustPrincipal: f.trustPrincipal,
		Socket: app.UnixOptions{Path: f.socket},
		TLS:    app.TLSOptions{CertFile: f.cert, KeyFile: f.key, ClientCAFile: f.clientCA, Clients: f.clients},
	}
	switch {
	case f.dir == "":
		return o, fmt.Errorf("name the directory of manifests with -f DIR")
	case f.socket == "" && f.address == "":
		return o, fmt.Errorf("say where Checks are answered: --socket PATH, or --address HOST:PORT with mTLS")
	case f.socket == "" && (f.socketMode != "" || len(f.uids) > 0):
		return o, fmt.Errorf("--socket-mode and --allow-uid are for --socket")
	case f.address == "" && (f.cert != "" || f.key != "" || f.clientCA != "" || len(f.clients) > 0):
		return o, fmt.Errorf("--tls-cert, --tls-key, --tls-client-ca and --allow-client are for --address")
	}
	if f.address != "" {
		if err := o.TLS.Check(); err != nil {
			return o, err
		}
	}
	if f.gateway != "" {
		namespace, name, ok := strings.Cut(f.gateway, "/")
		if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
			return o, fmt.Errorf("--gateway %q is not namespace/name", f.gateway)
		}
		o.Gateway = policy.Name{Namespace: namespace, Name: name}
	}
	if f.socketMode != "" {
		mode, err := strconv.ParseUint(f.socketMode, 8, 32)
		if err != nil || mode == 0 || mode > 0o777 {
			return o, fmt.Errorf("--socket-mode %q is no mode of a socket, such as 0660", f.socketMode)
		}
		o.Socket.Mode = fs.FileMode(mode)
	}
	for _, s := range f.uids {
		uid, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return o, fmt.Errorf("--allow-uid %q is no uid", s)
		}
		o.Socket.UIDs = append(o.Socket.UIDs, uint32(uid))
	}
	return o, nil
}

// announceAuthz tells where Checks are answered.
func announceAuthz(w io.Writer, s admin.Status) {
	for _, g := range s.Gateways {
		_, _ = fmt.Fprintf(w, "\nChecks for Gateway %s of %s are answered at %s (credence %s, process %d). Ctrl-C ends it.\n\n",
			g.Name, s.TrustDomain, strings.ReplaceAll(strings.Join(g.Addresses, " and "), "check=", ""), s.Version, os.Getpid())
	}
}
