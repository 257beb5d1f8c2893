package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/identity/svid"
	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/manifests/decode"
	"github.com/credence-mesh/credence/manifests/dir"
	"github.com/credence-mesh/credence/policy"
)

// shutdown is how long Checks that have begun may take to end.
const shutdown = 3 * time.Second

// AuthzOptions of Authz. One of Socket and Address is needed.
type AuthzOptions struct {
	// Dir is the directory of manifests.
	Dir string
	// StateDir outlives the process; RunDir holds the admin socket, empty: chosen (see runDir).
	StateDir, RunDir string
	// Gateway is the one whose routes count; the zero value: the only one there is.
	Gateway policy.Name
	// Socket is the path of the unix socket on which Checks are answered, empty: none.
	Socket UnixOptions
	// Address is "host:port" on which Checks are answered with mTLS, empty: none.
	Address string
	TLS     TLSOptions
	// TrustPrincipal believes the name of a client's certificate where the proxy does not send the certificate itself.
	TrustPrincipal bool
	// AdminAddress is where /healthz, /readyz and /metrics listen.
	AdminAddress string
	Version      string
	Log          *slog.Logger
	// Decisions receives one record per Check; nil: Log.
	Decisions *slog.Logger
	// Changed is as in Options.
	Changed func(Event)
}

// authz is a running Check server, beside another control plane.
type authz struct {
	opts  AuthzOptions
	state *stateDir
	log   *slog.Logger

	source    *dir.Source
	issuers   *devIssuers
	keys      *jwks.Keys
	keyHealth keyHealth
	verifiers *verifiers
	revoked   *revocations
	server    *extauthz.Server
	files     *tlsFiles // nil without Address
	metrics   *prometheus.Registry
	group     *errgroup.Group
	// where the parts listen, set before anything is served.
	adminAddress, adminSocket, checkAddress string

	mu      sync.Mutex
	current current
	gateway policy.Name // whose routes count in current
}

// Authz runs the Check server alone until ctx ends: no CA, no proxies, no configuration of any. It returns an error where it can't
// start, or where a part that everything depends on has ended.
func Authz(ctx context.Context, opts AuthzOptions) (err error) {
	defer collectLess()()
	if err := notFile(opts.Dir); err != nil {
		return err
	}
	state, err := openStateDir(opts.StateDir)
	if err != nil {
		return err
	}
	a := &authz{opts: opts, state: state, log: opts.Log, metrics: prometheus.NewRegistry()}
	defer func() { err = errors.Join(err, a.close()) }()
	if err := a.build(ctx); err != nil {
		return err
	}
	return a.serve(ctx)
}

func (a *authz) build(ctx context.Context) (err error) {
	if a.source, err = dir.New(dir.Options{
		Dir: a.opts.Dir, StateDir: a.state.path, Decode: decodeFile, Restore: decode.FromCanonical, Log: a.log,
	}); err != nil {
		return err
	}
	if a.opts.Address != "" {
		if a.files, err = newTLSFiles(a.opts.TLS, a.log, time.Now); err != nil {
			return err
		}
	}
	a.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.issuers = newDevIssuers(a.state, a.log)
	a.keys = jwks.New(jwks.Options{Development: a.issuers.JWKS, Dir: a.state.file("jwks"), Log: a.log})
	a.keyHealth.keys = a.keys
	a.metrics.MustRegister(a.keys)
	if a.revoked, err = openRevocations(ctx, a.state, a.log, a.metrics); err != nil {
		return err
	}
	if a.verifiers, err = newVerifiers(a.keys, a.state, a.log, a.metrics); err != nil {
		return err
	}
	a.keyHealth.passwords, a.keyHealth.opaque = a.verifiers.passwords, a.verifiers.tokens.opaque
	decisions := a.opts.Decisions
	if decisions == nil {
		decisions = a.log
	}
	lookup := &extauthz.Lookup{Gateway: func(set *policy.Set) (policy.Name, bool) {
		name, err := chooseGateway(set, a.opts.Gateway)
		return name, err == nil
	}}
	if a.opts.TrustPrincipal {
		lookup.Principal = principalID
	}
	a.server, err = extauthz.New(extauthz.Options{
		Callers: permittedCallers{}, Verifier: a.verifiers.tokens, Snapshot: a.verifiers.snapshot,
		Lookup: lookup, Minter: a.verifiers.minter, Revocations: a.revoked, Log: decisions, Metrics: a.metrics, PeerID: peerInTime(time.Now),
	})
	return err
}

// peerInTime reads the SPIFFE ID of a client whose certificate has not run out: the other Envoy looked at the handshake, perhaps days ago.
func peerInTime(now func() time.Time) func(string) (string, error) {
	return func(urlEncodedPEM string) (string, error) {
		id, until, err := svid.PeerUntil(urlEncodedPEM)
		switch {
		case err != nil:
			return "", err
		case !now().Before(until):
			return "", fmt.Errorf("the certificate of %s has run out at %s", id, until.Format(time.RFC3339))
		}
		return id.String(), nil
	}
}

// principalID takes a principal for the ID of a peer only where it is a SPIFFE ID of a workload, to the letter.
func principalID(principal string) (string, error) {
	id, err := spiffeid.FromString(principal)
	switch {
	case err != nil:
		return "", err
	case id.Path() == "":
		return "", errors.New("the SPIFFE ID of a trust domain is no workload's")
	}
	return id.String(), nil
}

// chooseGateway is the Gateway whose routes count: the one that was asked for, else the only one.
func chooseGateway(set *policy.Set, asked policy.Name) (policy.Name, error) {
	names := make([]string, 0, len(set.Gateways))
	for _, g := range set.Gateways {
		if g.Name == asked {
			return asked, nil
		}
		names = append(names, g.Name.String())
	}
	switch {
	case asked != (policy.Name{}) && len(names) == 0:
		return policy.Name{}, fmt.Errorf("there is no Gateway %s, and no other of class credence: every request is denied", asked)
	case asked != (policy.Name{}):
		return policy.Name{}, fmt.Errorf("there is no Gateway %s: every request is denied; there is %s", asked, strings.Join(names, ", "))
	case len(names) == 0:
		return policy.Name{}, errors.New("there is no Gateway of class credence: every request is denied")
	case len(names) > 1:
		return policy.Name{}, fmt.Errorf("there are several Gateways: say with --gateway which one's routes count: %s", strings.Join(names, ", "))
	}
	return set.Gateways[0].Name, nil
}

// serve runs all parts until ctx ends. Checks are answered until all else has been told to end.
func (a *authz) serve(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	a.group = g
	var lc net.ListenConfig
	probes, err := lc.Listen(ctx, "tcp", a.opts.AdminAddress)
	if err != nil {
		return fmt.Errorf("listening for /healthz, /readyz and /metrics: %w: choose another --admin-address", err)
	}
	a.adminAddress = probes.Addr().String()
	api, err := a.listenAdmin(ctx)
	if err != nil {
		return errors.Join(err, probes.Close())
	}
	if err := a.serveChecks(ctx, g); err != nil {
		return errors.Join(err, probes.Close(), api.Close())
	}
	g.Go(func() error {
		return admin.Serve(ctx, probes, admin.Probes(a.notReady, a.metrics, a.verifiers.tokenKeys.JWKS))
	})
	g.Go(func() error {
		return admin.Serve(ctx, admin.OwnerOnly(api), admin.API(admin.Sources{Status: a.Status, Decision: recentOf(a.server), Revocations: a.revoked}))
	})
	g.Go(func() error { return a.keys.Run(ctx) })
	g.Go(func() error { return a.verifiers.Run(ctx) })
	g.Go(func() error { return a.revoked.Run(ctx) })
	g.Go(func() error { return a.revoked.keep(ctx) })
	if a.files != nil {
		g.Go(func() error { return a.files.Run(ctx) })
	}
	g.Go(func() error { return a.source.Run(ctx, func(s dir.Snapshot) { a.apply(ctx, s) }) })
	g.Go(func() error { return watchReady(ctx, a.opts.Changed, a.notReady, a.Status) })
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// serveChecks listens for proxies: one gRPC server per way in, because each knows its callers in its own way. With an error nothing
// of it listens any more.
func (a *authz) serveChecks(ctx context.Context, g *errgroup.Group) error {
	type way struct {
		listener net.Listener
		server   *grpc.Server
	}
	var ways []way
	add := func(l net.Listener, creds grpc.ServerOption) {
		s := grpc.NewServer(append(extauthz.LookupServerOptions(), creds)...)
		a.server.Register(s)
		ways = append(ways, way{l, s})
	}
	if a.opts.Socket.Path != "" {
		l, err := a.opts.Socket.listen(ctx)
		if err != nil {
			return err
		}
		if a.opts.Socket.exposed() {
			a.log.Warn("while credence is away, another user can put a socket in the place of ours, and proxies will believe it: choose a directory that only its owner may write", "socket", a.opts.Socket.Path)
		}
		add(l, grpc.Creds(newUnixCallers(a.opts.Socket.UIDs)))
	}
	if a.opts.Address != "" {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", a.opts.Address)
		if err != nil {
			err = fmt.Errorf("listening for Checks: %w: choose another --address", err)
			for _, w := range ways {
				err = errors.Join(err, w.listener.Close())
			}
			return err
		}
		a.checkAddress = l.Addr().String()
		add(l, grpc.Creds(newTLSCallers(a.files)))
	}
	for _, w := range ways {
		g.Go(func() error { return ignoreClosed(w.server.Serve(w.listener)) })
		g.Go(func() error {
			<-ctx.Done()
			// A caller that never sends what it began must not keep us.
			force := time.AfterFunc(shutdown, w.server.Stop)
			defer force.Stop()
			w.server.GracefulStop()
			return nil
		})
	}
	return nil
}

func (a *authz) listenAdmin(ctx context.Context) (net.Listener, error) {
	path := a.opts.RunDir
	if path == "" {
		var err error
		if path, err = defaultRunDir(a.state.path); err != nil {
			return nil, err
		}
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o755); err != nil { //nolint:gosec // as that of up
		return nil, fmt.Errorf("making the directory for sockets: %w", err)
	}
	if err := checkOwner(path, 0o022); err != nil {
		return nil, fmt.Errorf("directory for sockets: %w", err)
	}
	own := filepath.Join(path, "admin")
	if err := ownDir(own, nil); err != nil {
		return nil, err
	}
	a.adminSocket = filepath.Join(own, "admin.sock")
	return listenUnix(ctx, a.adminSocket, 0o600, nil)
}

func (a *authz) close() error {
	var errs []error
	remove := func(path string) {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	remove(a.state.file(EndpointsFile))
	if a.adminSocket != "" {
		remove(a.adminSocket)
		_ = os.Remove(filepath.Dir(a.adminSocket))               // only when empty
		_ = os.Remove(filepath.Dir(filepath.Dir(a.adminSocket))) // only when empty
	}
	return errors.Join(append(errs, a.revoked.close(), a.state.Close())...)
}
