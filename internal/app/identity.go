package app

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/identity/attest"
	"github.com/credence-mesh/credence/identity/sds"
	"github.com/credence-mesh/credence/policy"
)

// entitlements decides who has which identity: the proxies that were started here by their process, all others by the selectors of
// Workloads. Safe for concurrent use.
type entitlements struct {
	children *attest.Children

	mu      sync.Mutex
	ready   bool
	entries []attest.Entry
	proxies map[policy.ProxyID]spiffeid.ID
	// certificates that the listeners of a proxy serve.
	certificates map[policy.ProxyID]map[policy.Name]bool
	changed      chan struct{}
}

func newEntitlements(children *attest.Children) *entitlements {
	return &entitlements{children: children, changed: make(chan struct{})}
}

// Apply makes set what decides. Identities of the Set were checked by compile; one that go-spiffe refuses is an error and changes nothing.
func (e *entitlements) Apply(set *policy.Set) error {
	var entries []attest.Entry
	proxies := map[policy.ProxyID]spiffeid.ID{}
	certificates := map[policy.ProxyID]map[policy.Name]bool{}
	for _, w := range set.Workloads {
		id, err := spiffeid.FromString(w.SPIFFEID)
		if err != nil {
			if w.Denied != "" {
				continue
			}
			return fmt.Errorf("workload %s: %w", w.Name, err)
		}
		s := w.Selectors
		entries = append(entries, attest.Entry{
			ID: id, Name: w.Name.String(), Denied: w.Denied,
			Selectors: attest.Selectors{UID: s.UID, GID: s.GID, Path: s.Path, SHA256: s.SHA256},
		})
		if w.Denied == "" {
			proxies[policy.SidecarID(w.Name)] = id
		}
	}
	for _, g := range set.Gateways {
		id, err := spiffeid.FromString(g.SPIFFEID)
		if err != nil {
			return fmt.Errorf("gateway %s: %w", g.Name, err)
		}
		proxy := policy.GatewayID(g.Name)
		proxies[proxy] = id
		certificates[proxy] = map[policy.Name]bool{}
		for _, l := range g.Listeners {
			for _, s := range l.Sections {
				for _, c := range s.Certificates {
					certificates[proxy][c] = true
				}
			}
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.entries, e.proxies, e.certificates, e.ready = entries, proxies, certificates, true
	close(e.changed)
	e.changed = make(chan struct{})
	return nil
}

// Entitled implements workloadapi.Entitlements and sds.Entitlements.
func (e *entitlements) Entitled(ctx context.Context, p *attest.Process) ([]spiffeid.ID, error) {
	e.mu.Lock()
	ready, entries, proxies := e.ready, e.entries, e.proxies
	e.mu.Unlock()
	if !ready {
		return nil, attest.ErrNotReady
	}
	if child, ok := e.children.Lookup(p); ok {
		if id, ok := proxies[policy.ProxyID(child)]; ok {
			return []spiffeid.ID{id}, nil
		}
		return nil, &attest.NotEntitledError{Reason: fmt.Sprintf("the manifests have no proxy %s any more", child)}
	}
	attributes, err := p.Attest(ctx)
	if err != nil {
		return nil, err
	}
	id, _, err := attest.Match(entries, attributes)
	if err != nil {
		return nil, err
	}
	return []spiffeid.ID{id}, nil
}

// Changed implements workloadapi.Entitlements.
func (e *entitlements) Changed() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.changed
}

// Caller implements extauthz.Callers and ads.Callers: only a process that was started here as a proxy and still lives.
func (e *entitlements) Caller(ctx context.Context) (policy.ProxyID, error) {
	p, err := attest.FromContext(ctx)
	if err != nil {
		return "", status.Error(codes.PermissionDenied, err.Error())
	}
	child, ok := e.children.Lookup(p)
	if !ok {
		return "", status.Errorf(codes.PermissionDenied, "process %d is not a proxy that credence started", p.PID())
	}
	return policy.ProxyID(child), nil
}

// gatewayCertificates gives a gateway its own listeners' certificates over SDS, and nobody else.
type gatewayCertificates struct {
	entitlements *entitlements
	store        *certificates
}

// Certificate implements sds.Certificates.
func (g gatewayCertificates) Certificate(_ context.Context, p *attest.Process, name string) (cert, key []byte, err error) {
	child, ok := g.entitlements.children.Lookup(p)
	namespace, short, found := strings.Cut(name, "/")
	n := policy.Name{Namespace: namespace, Name: short}
	g.entitlements.mu.Lock()
	served := g.entitlements.certificates[policy.ProxyID(child)][n]
	g.entitlements.mu.Unlock()
	if !ok || !found || !served {
		return nil, nil, sds.ErrUnknown
	}
	cert, key, err = g.store.Pair(n)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", sds.ErrUnknown, err)
	}
	return cert, key, nil
}

// Clients implements sds.Certificates: a gateway gets the CAs of its own clients.
func (g gatewayCertificates) Clients(_ context.Context, p *attest.Process, name string) (caPEM []byte, err error) {
	child, ok := g.entitlements.children.Lookup(p)
	namespace, short, found := strings.Cut(name, "/")
	n := policy.Name{Namespace: namespace, Name: short}
	if !ok || !found || policy.ProxyID(child) != policy.GatewayID(n) {
		return nil, sds.ErrUnknown
	}
	if caPEM, err = g.store.ClientCAs(n); err != nil {
		return nil, fmt.Errorf("%w: %w", sds.ErrUnknown, err)
	}
	return caPEM, nil
}

// Changed implements sds.Certificates.
func (g gatewayCertificates) Changed() <-chan struct{} { return g.store.Changed() }
