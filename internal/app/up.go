package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/credence-mesh/credence/controlplane"
	"github.com/credence-mesh/credence/controlplane/ads"
	"github.com/credence-mesh/credence/controlplane/xds"
	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/identity/attest"
	"github.com/credence-mesh/credence/identity/svid"
	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/internal/envoy"
	"github.com/credence-mesh/credence/manifests/dir"
	"github.com/credence-mesh/credence/policy"
)

// Options of Up.
type Options struct {
	// Dir is the directory of manifests.
	Dir string
	// StateDir outlives the process; RunDir holds its sockets, empty: chosen (see runDir).
	StateDir, RunDir string
	// Envoy names the binary; empty: found.
	Envoy string
	// NoProxies starts no Envoy and needs none; everything else runs.
	NoProxies bool
	// AdminAddress is where /healthz, /readyz and /metrics listen.
	AdminAddress string
	// Concurrency is the number of worker threads of each Envoy; 0: 1.
	Concurrency int
	Version     string
	Log         *slog.Logger
	// Decisions receives one record per Check; nil: Log.
	Decisions *slog.Logger
	// Changed is told after every read of the manifests that changed anything, every two seconds until the
	// product is ready, and once when it is. It must not block.
	Changed func(Event)
	// Intercept wraps the streams of the control plane, so that a test can hold routes back; nil in production.
	Intercept func(grpc.StreamServerInfo, grpc.ServerStream) grpc.ServerStream
}

// Event is what Options.Changed is told.
type Event struct {
	Status admin.Status
	// Ready is true once.
	Ready bool
	// Waiting is true every two seconds until then: Status.NotReady says for what.
	Waiting bool
}

// app is one running product.
type app struct {
	opts  Options
	state *stateDir
	run   *runDir
	log   *slog.Logger

	source       *dir.Source
	children     attest.Children
	entitlements *entitlements
	certificates *certificates
	issuers      *devIssuers
	keys         *jwks.Keys
	keyHealth    keyHealth
	verifiers    *verifiers
	revoked      *revocations
	authz        *extauthz.Server
	plane        *controlplane.Plane
	supervisor   *envoy.Supervisor
	agentSockets *joined
	owners       map[string]envoy.User // touched by apply alone
	metrics      *prometheus.Registry
	adminAddress string
	group        *errgroup.Group

	mu       sync.Mutex
	identity *identityServers
	current  current
	reached  map[string]bool
}

// current is what the last read of the manifests came to.
type current struct {
	snapshot    dir.Snapshot
	set         *policy.Set
	hash        string
	generation  uint64
	diagnostics []admin.Diagnostic
	problems    map[policy.ProxyID]error
	// refused says why the newest manifests are not in force at all; empty: they are.
	refused string
}

// Up runs server and agent until ctx ends, and leaves nothing behind. It returns an error where it can't start, or where a part that
// everything depends on has ended.
func Up(ctx context.Context, opts Options) (err error) {
	defer collectLess()()
	a, err := open(ctx, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	return a.serve(ctx)
}

func open(ctx context.Context, opts Options) (*app, error) {
	if err := notFile(opts.Dir); err != nil {
		return nil, err
	}
	var binary envoy.Binary
	if !opts.NoProxies {
		var err error
		if binary, err = envoy.Find(ctx, opts.Envoy); err != nil {
			return nil, err
		}
	}
	state, err := openStateDir(opts.StateDir)
	if err != nil {
		return nil, err
	}
	a := &app{
		opts: opts, state: state, log: opts.Log, metrics: prometheus.NewRegistry(), agentSockets: newJoined(),
		owners: map[string]envoy.User{}, reached: map[string]bool{},
	}
	if err := a.build(ctx, binary); err != nil {
		return nil, errors.Join(err, a.revoked.close(), state.Close())
	}
	return a, nil
}

// build makes every part; nothing runs yet, but the survivors of an earlier run have ended.
func (a *app) build(ctx context.Context, binary envoy.Binary) (err error) {
	if a.source, err = a.newSource(); err != nil {
		return err
	}
	if a.revoked, err = openRevocations(ctx, a.state, a.log, a.metrics); err != nil {
		return err
	}
	if err := os.MkdirAll(a.state.file("log"), 0o711); err != nil { //nolint:gosec // proxies of other users open their own log in it
		return err
	}
	if a.supervisor, err = envoy.NewSupervisor(ctx, envoy.Options{
		Binary: binary, Records: a.state.file("proxies.json"), Log: a.log, Concurrency: a.opts.Concurrency,
		Started: func(id string, pid int) error { return a.children.Add(pid, id) },
		Ended:   func(id string, _ int) { a.children.Remove(id) },
	}); err != nil {
		return err
	}
	path := a.opts.RunDir
	if path == "" {
		if path, err = defaultRunDir(a.state.path); err != nil {
			return err
		}
	}
	if a.run, err = openRunDir(path); err != nil {
		return err
	}
	a.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.entitlements = newEntitlements(&a.children)
	a.certificates = newCertificates(a.log, time.Now)
	a.issuers = newDevIssuers(a.state, a.log)
	a.keys = jwks.New(jwks.Options{Development: a.issuers.JWKS, Dir: a.state.file("jwks"), Log: a.log})
	a.keyHealth.keys = a.keys
	a.metrics.MustRegister(a.keys)
	if a.verifiers, err = newVerifiers(a.keys, a.state, a.log, a.metrics); err != nil {
		return err
	}
	a.keyHealth.passwords, a.keyHealth.opaque = a.verifiers.passwords, a.verifiers.tokens.opaque
	decisions := a.opts.Decisions
	if decisions == nil {
		decisions = a.log
	}
	if a.authz, err = extauthz.New(extauthz.Options{
		Callers: a.entitlements, Verifier: a.verifiers.tokens, Snapshot: a.verifiers.snapshot, Minter: a.verifiers.minter, Revocations: a.revoked, Log: decisions, Metrics: a.metrics, PeerID: peerID,
	}); err != nil {
		return err
	}
	a.plane = controlplane.New(controlplane.Options{
		Translate: a.translate, Callers: a.entitlements, Log: a.log, Metrics: a.metrics,
		Acknowledged: a.authz.Acknowledged,
		Rejected: func(r ads.Rejection) {
			a.log.Error("a proxy refused its configuration", "proxy", string(r.Proxy), "type", r.TypeURL, "resources", r.Names, "message", r.Message)
		},
	})
	return nil
}

func peerID(urlEncodedPEM string) (string, error) {
	id, err := svid.PeerFromEnvoy(urlEncodedPEM)
	return id.String(), err
}

func (a *app) translate(set *policy.Set, proxy policy.ProxyID) ([]ads.Resource, error) {
	r, err := xds.Translate(set, proxy, a.paths(proxy))
	if err != nil {
		return nil, err
	}
	if err := xds.Validate(r); err != nil {
		return nil, err
	}
	var out []ads.Resource
	for _, list := range [][]xds.Resource{r.Clusters, r.Endpoints, r.Listeners, r.Routes} {
		for _, res := range list {
			out = append(out, ads.Resource(res))
		}
	}
	return out, nil
}

// serve runs all parts until ctx ends. The proxies end first, while what they depend on still answers.
func (a *app) serve(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	a.group = g
	proxiesEnded := make(chan struct{})
	agent := grpc.NewServer(append(extauthz.ServerOptions(a.authz), grpc.Creds(attest.Credentials()), grpc.StreamInterceptor(a.intercept))...)
	a.authz.Register(agent)
	a.plane.Register(agent)

	var lc net.ListenConfig
	probes, err := lc.Listen(ctx, "tcp", a.opts.AdminAddress)
	if err != nil {
		return fmt.Errorf("listening for /healthz, /readyz and /metrics: %w: choose another --admin-address", err)
	}
	a.adminAddress = probes.Addr().String()
	api, err := listenUnix(ctx, a.run.adminSocket(), 0o600, nil)
	if err != nil {
		return errors.Join(err, probes.Close())
	}
	g.Go(func() error {
		return admin.Serve(ctx, probes, admin.Probes(a.notReady, a.metrics, a.verifiers.tokenKeys.JWKS))
	})
	g.Go(func() error {
		return admin.Serve(ctx, admin.OwnerOnly(api), admin.API(admin.Sources{Status: a.Status, Decision: recentOf(a.authz), Revocations: a.revoked}))
	})
	g.Go(func() error { return ignoreClosed(agent.Serve(a.agentSockets)) })
	g.Go(func() error {
		<-proxiesEnded
		agent.Stop()
		return a.agentSockets.Close()
	})
	g.Go(func() error {
		defer close(proxiesEnded)
		return a.supervisor.Run(ctx)
	})
	g.Go(func() error { return a.certificates.Run(ctx) })
	g.Go(func() error { return a.keys.Run(ctx) })
	g.Go(func() error { return a.verifiers.Run(ctx) })
	g.Go(func() error { return a.revoked.Run(ctx) })
	g.Go(func() error { return a.revoked.keep(ctx) })
	g.Go(func() error {
		return a.source.Run(ctx, func(s dir.Snapshot) { a.apply(ctx, s, proxiesEnded) })
	})
	g.Go(func() error { return watchReady(ctx, a.opts.Changed, a.notReady, a.Status) })
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (a *app) intercept(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if a.opts.Intercept != nil {
		ss = a.opts.Intercept(*info, ss)
	}
	return handler(srv, ss)
}

func (a *app) close() error {
	a.children.Close()
	err := os.Remove(a.state.file(EndpointsFile))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, a.run.remove(), a.revoked.close(), a.state.Close())
}

func ignoreClosed(err error) error {
	if errors.Is(err, grpc.ErrServerStopped) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func hostPort(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}
