package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"

	"github.com/credence-mesh/credence/identity/ca"
	"github.com/credence-mesh/credence/identity/keeper"
	"github.com/credence-mesh/credence/identity/sds"
	"github.com/credence-mesh/credence/identity/workloadapi"
	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/decode"
	"github.com/credence-mesh/credence/manifests/dir"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/compile"
)

// identityServers exist from the first valid Mesh on: it names the trust domain.
type identityServers struct {
	keeper         *keeper.Keeper
	caTTL, svidTTL time.Duration
}

func (a *app) newSource() (*dir.Source, error) {
	return dir.New(dir.Options{
		Dir: a.opts.Dir, StateDir: a.state.path, Decode: decodeFile, Restore: decode.FromCanonical, Log: a.log,
	})
}

func decodeFile(name string, data []byte) dir.Decoded {
	r := decode.File(name, data)
	return dir.Decoded{Objects: r.Objects, Diagnostics: r.Diagnostics, Parsed: r.Parsed, Broken: r.Broken}
}

// apply puts what was read into force: everything is built and checked first, then extauthz judges by it, and only then do proxies
// hear of it. It is called from one goroutine.
func (a *app) apply(ctx context.Context, s dir.Snapshot, proxiesEnded <-chan struct{}) {
	next := a.snapshot()
	next.snapshot, next.refused = s, ""
	set, diagnostics := compile.Compile(compile.Input{Objects: s.Objects, Missing: s.Missing})
	if !s.OK && len(s.Objects) == 0 {
		diagnostics = nil // they would say of every kind that it is missing, and hide why
	}
	all := manifests.Sort(append(append([]manifests.Diagnostic(nil), s.Diagnostics...), diagnostics...))
	next.diagnostics = AdminDiagnostics(all)
	switch {
	case set == nil:
		next.refused = "there is no valid Mesh in " + a.opts.Dir
	case next.set != nil && set.Mesh.TrustDomain != next.set.Mesh.TrustDomain:
		next.refused = fmt.Sprintf("the trust domain can't change from %s to %s while credence runs: start it with another --state-dir",
			next.set.Mesh.TrustDomain, set.Mesh.TrustDomain)
	default:
		if err := a.enforce(ctx, &next, set, proxiesEnded); err != nil {
			next.refused = err.Error()
		}
	}
	if next.refused != "" {
		a.log.Error("the manifests are not in force", "reason", next.refused)
	}
	a.mu.Lock()
	a.current = next
	a.mu.Unlock()
	if a.opts.Changed != nil {
		a.opts.Changed(Event{Status: a.Status()})
	}
}

func (a *app) snapshot() current {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current
}

func (a *app) enforce(ctx context.Context, next *current, set *policy.Set, proxiesEnded <-chan struct{}) error {
	hash := set.Hash()
	if hash == next.hash {
		return nil
	}
	if err := a.openIdentity(ctx, set, proxiesEnded); err != nil {
		// Nothing runs without identities, and a damaged CA does not heal by waiting.
		a.group.Go(func() error { return err })
		return err
	}
	if err := a.entitlements.Apply(set); err != nil {
		return err
	}
	generation := next.generation + 1
	a.issuers.Apply(ctx, a.group, set)
	a.revoked.Publish(set)
	if err := a.verifiers.publish(set); err != nil {
		return err
	}
	a.authz.Publish(set, generation)
	a.certificates.ApplyClients(set.Gateways)
	a.certificates.Apply(set.Certificates)
	proxies, problems := a.wantedProxies(set)
	proxies = a.openSockets(ctx, set, proxies, problems)
	for id, err := range problems {
		a.log.Error("a proxy can't be run", "proxy", string(id), "error", err)
	}
	if err := a.plane.Publish(set, generation); err != nil {
		a.log.Error("a part of the manifests is not in force", "error", err)
	}
	if !a.opts.NoProxies {
		a.supervisor.Apply(proxies)
	}
	next.set, next.hash, next.generation, next.problems = set, hash, generation, problems
	if err := a.endpointsOf(set).write(a.state.path); err != nil {
		a.log.Error("endpoints.json is not up to date", "error", err)
	}
	a.log.Info("manifests are in force", "generation", generation, "hash", hash)
	return nil
}

// openIdentity opens the CA and serves the Workload API and SDS; later calls do nothing.
func (a *app) openIdentity(ctx context.Context, set *policy.Set, proxiesEnded <-chan struct{}) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.identity != nil {
		if a.identity.caTTL != set.Mesh.CATTL || a.identity.svidTTL != set.Mesh.SVIDTTL {
			a.log.Warn("new lifetimes of CA and SVIDs take effect when credence is started again", "ca", set.Mesh.CATTL, "svid", set.Mesh.SVIDTTL)
		}
		return nil
	}
	td, err := spiffeid.TrustDomainFromString(set.Mesh.TrustDomain)
	if err != nil {
		return err
	}
	authority, err := ca.Open(ca.Options{Dir: a.state.file("ca"), TrustDomain: td, TTL: set.Mesh.CATTL, Log: a.log})
	switch {
	case errors.Is(err, ca.ErrCorrupt):
		return fmt.Errorf("%w; restore it from a backup, or choose another state directory with --state-dir", err)
	case errors.Is(err, ca.ErrTrustDomain):
		return fmt.Errorf("%w; choose another state directory with --state-dir", err)
	case err != nil:
		return err
	}
	svids, err := keeper.New(keeper.Options{Authority: authority, TTL: set.Mesh.SVIDTTL, Log: a.log})
	if err != nil {
		return err
	}
	api, err := workloadapi.New(workloadapi.Options{Entitlements: a.entitlements, SVIDs: svids, Bundles: authority, Log: a.log})
	if err != nil {
		return err
	}
	secrets, err := sds.New(sds.Options{
		Entitlements: a.entitlements, SVIDs: svids, Bundles: authority, Log: a.log,
		Certificates: gatewayCertificates{entitlements: a.entitlements, store: a.certificates},
	})
	if err != nil {
		return err
	}
	// Services have other users: attestation is the guard of this socket.
	l, err := listenUnix(ctx, a.run.workloadSocket(), 0o666, nil)
	if err != nil {
		return err
	}
	server := grpc.NewServer(workloadapi.ServerOptions()...)
	api.Register(server)
	secrets.Register(server)
	a.group.Go(func() error { return authority.Run(ctx) })
	a.group.Go(func() error { return svids.Run(ctx) })
	a.group.Go(func() error { return ignoreClosed(server.Serve(l)) })
	a.group.Go(func() error {
		<-proxiesEnded
		server.Stop()
		return nil
	})
	a.identity = &identityServers{keeper: svids, caTTL: set.Mesh.CATTL, svidTTL: set.Mesh.SVIDTTL}
	return nil
}

// AdminDiagnostics renders diagnostics for the admin API and for JSON output.
func AdminDiagnostics(ds []manifests.Diagnostic) []admin.Diagnostic {
	out := make([]admin.Diagnostic, 0, len(ds))
	for _, d := range ds {
		object := ""
		if d.Object != (manifests.Key{}) {
			object = d.Object.String()
		}
		out = append(out, admin.Diagnostic{
			Severity: d.Severity.String(), Code: d.Code, Position: d.Pos.String(), Object: object, Message: d.Message, Hint: d.Hint,
		})
	}
	return out
}

// ErrInvalid is returned by Validate where the manifests have errors.
var ErrInvalid = errors.New("the manifests have errors")

// Validate reads and compiles the manifests in path once, and changes nothing.
func Validate(ctx context.Context, path string) (diagnostics []manifests.Diagnostic, skipped []string, err error) {
	if err := notFile(path); err != nil {
		return nil, nil, err
	}
	source, err := dir.New(dir.Options{Dir: path, Decode: decodeFile, Log: discard()})
	if err != nil {
		return nil, nil, err
	}
	s, err := source.Read(ctx)
	if err != nil {
		return nil, nil, err
	}
	if !s.OK { // there is nothing to compile, and to say so of every kind would hide why
		return s.Diagnostics, s.Skipped, ErrInvalid
	}
	// Whether an object has a last good version is known to the state directory of a running mesh, which is not read here.
	s.Diagnostics = slices.DeleteFunc(s.Diagnostics, func(d manifests.Diagnostic) bool { return d.Code == "no-last-good" })
	set, compiled := compile.Compile(compile.Input{Objects: s.Objects, Missing: s.Missing})
	diagnostics = manifests.Sort(slices.Concat(s.Diagnostics, compiled, passwordFiles(set, s.Objects)))
	if manifests.HasErrors(diagnostics) {
		err = ErrInvalid
	}
	return diagnostics, notPasswordFiles(s.Skipped, set), err
}

// notFile refuses a file where the directory of manifests is meant. A directory that is missing may still come.
func notFile(path string) error {
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return fmt.Errorf("%s is not a directory: name the directory that holds the manifests", path)
	}
	return nil
}
