package app

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/dir"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/compile"
)

// apply puts what was read into force. It is called from one goroutine.
func (a *authz) apply(ctx context.Context, s dir.Snapshot) {
	a.mu.Lock()
	next := a.current
	a.mu.Unlock()
	next.snapshot, next.refused = s, ""
	set, diagnostics := compile.Compile(compile.Input{Objects: s.Objects, Missing: s.Missing, GatewayPeers: true})
	if !s.OK && len(s.Objects) == 0 {
		diagnostics = nil // they would say of every kind that it is missing, and hide why
	}
	all := append(append([]manifests.Diagnostic(nil), s.Diagnostics...), diagnostics...)
	if set == nil {
		next.refused = "there is no valid Mesh in " + a.opts.Dir
	} else {
		next.refused = a.enforce(ctx, &next, set)
		if gateway, err := chooseGateway(set, a.opts.Gateway); err == nil {
			all = append(all, notInForce(set, gateway, s.Objects)...)
		}
	}
	next.diagnostics = AdminDiagnostics(manifests.Sort(all))
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

// enforce makes set the one that decides, unless it can't be told which Gateway is meant: then the last Set stays, and the reason is
// returned. A Gateway that has gone denies everything.
func (a *authz) enforce(ctx context.Context, next *current, set *policy.Set) (refused string) {
	gateway, err := chooseGateway(set, a.opts.Gateway)
	if err != nil && a.opts.Gateway == (policy.Name{}) && len(set.Gateways) > 1 {
		return err.Error()
	}
	hash := set.Hash()
	if hash == next.hash {
		return ""
	}
	a.issuers.Apply(ctx, a.group, set)
	a.revoked.Publish(set)
	if err := a.verifiers.publish(set); err != nil {
		return err.Error()
	}
	a.server.Publish(set, next.generation+1)
	next.set, next.hash, next.generation = set, hash, next.generation+1
	a.mu.Lock()
	a.gateway = gateway
	a.mu.Unlock()
	if err := a.endpoints(set).write(a.state.path); err != nil {
		a.log.Error("endpoints.json is not up to date", "error", err)
	}
	a.log.Info("manifests are in force", "generation", next.generation, "hash", hash, "gateway", gateway.String())
	return ""
}

// endpoints are what scripts, and `credence status`, find the Check server by.
func (a *authz) endpoints(set *policy.Set) Endpoints {
	e := Endpoints{
		Format: 1, PID: os.Getpid(), TrustDomain: set.Mesh.TrustDomain, Admin: a.adminAddress, AdminSocket: a.adminSocket, Issuer: a.issuers.first(),
		Gateways: map[string]GatewayEndpoint{}, Workloads: map[string]WorkloadEndpoint{},
		Checks: a.checks(),
	}
	if t := set.Mesh.InternalTokens; t != nil {
		e.InternalTokenKeys, e.InternalTokenIssuer = "http://"+a.adminAddress+admin.KeysPath, t.Issuer
	}
	return e
}

// checks are the addresses on which Checks are answered.
func (a *authz) checks() []string {
	var out []string
	if a.opts.Socket.Path != "" {
		out = append(out, a.opts.Socket.Path)
	}
	if a.checkAddress != "" {
		out = append(out, a.checkAddress)
	}
	return out
}

// Status is a picture of the Check server now.
func (a *authz) Status() admin.Status {
	a.mu.Lock()
	c, gateway := a.current, a.gateway
	a.mu.Unlock()
	s := admin.Status{
		Version: a.opts.Version, Time: time.Now(), Generation: c.generation, Hash: c.hash, NotReady: a.notReady(), Diagnostics: c.diagnostics,
		Pinned: keyNames(c.snapshot.Pinned), Denied: keyNames(c.snapshot.Missing),
		Gateways: []admin.Listening{}, Workloads: []admin.Listening{}, Issuers: []admin.Issuer{}, Proxies: []admin.Proxy{},
	}
	s.Ready = len(s.NotReady) == 0
	if c.set == nil {
		return s
	}
	s.TrustDomain, s.Development = c.set.Mesh.TrustDomain, c.set.Mesh.Development
	if gateway != (policy.Name{}) {
		l := admin.Listening{Name: gateway.String(), Addresses: []string{}}
		for _, at := range a.checks() {
			l.Addresses = append(l.Addresses, "check="+at)
		}
		s.Gateways = append(s.Gateways, l)
	}
	s.Issuers, s.Degraded = issuerStatus(c.set, &a.keyHealth), a.degraded(&c)
	return s
}

// degraded lists what does not keep requests from being judged, and should be looked at.
func (a *authz) degraded(c *current) []string {
	out := append(a.keyHealth.degraded(), a.revoked.degraded()...)
	if c.refused != "" {
		out = append(out, "the newest manifests are not in force: "+c.refused)
	}
	if a.files != nil {
		if why := a.files.problem(); why != "" {
			out = append(out, "the newest files of mTLS are not in use: "+why)
		}
	}
	return out
}

// notReady lists what is missing before every request can be judged as the manifests say; empty: ready.
func (a *authz) notReady() []string {
	a.mu.Lock()
	c := a.current
	a.mu.Unlock()
	switch {
	case c.set == nil && c.refused != "":
		return []string{c.refused}
	case c.set == nil:
		return []string{"the manifests have not been read yet"}
	}
	var out []string
	if _, err := chooseGateway(c.set, a.opts.Gateway); err != nil {
		out = append(out, fmt.Sprint(err))
	}
	out = a.keyHealth.notReady(out)
	slices.Sort(out)
	return out
}
