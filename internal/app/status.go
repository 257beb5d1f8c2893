package app

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/credence-mesh/credence/controlplane"
	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/internal/envoy"
	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/policy"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// Status is a picture of the product now.
func (a *app) Status() admin.Status {
	c := a.snapshot()
	s := admin.Status{
		Version: a.opts.Version, Time: time.Now(), Generation: c.generation, Hash: c.hash, NotReady: a.notReady(), Diagnostics: c.diagnostics,
		Pinned: keyNames(c.snapshot.Pinned), Denied: keyNames(c.snapshot.Missing),
		Gateways: []admin.Listening{}, Workloads: []admin.Listening{}, Issuers: []admin.Issuer{}, Proxies: a.proxyStatus(c),
	}
	s.Ready = len(s.NotReady) == 0
	if c.set == nil {
		return s
	}
	s.TrustDomain, s.Development = c.set.Mesh.TrustDomain, c.set.Mesh.Development
	where := a.endpointsOf(c.set)
	for _, g := range c.set.Gateways {
		e := where.Gateways[g.Name.String()]
		s.Gateways = append(s.Gateways, admin.Listening{
			Name: g.Name.String(), SPIFFEID: g.SPIFFEID, Expires: a.expiry(g.SPIFFEID), Addresses: pairs(e.Listeners), AdminSocket: e.AdminSocket,
		})
	}
	for _, w := range c.set.Workloads {
		e := where.Workloads[w.Name.String()]
		l := admin.Listening{
			Name: w.Name.String(), SPIFFEID: w.SPIFFEID, Addresses: pairs(e.Inbound), Applications: pairs(e.Application),
			Outbound: e.Outbound, Boundary: boundary(w.Boundary), AdminSocket: e.AdminSocket, Denied: w.Denied,
		}
		for _, p := range w.Ports {
			if p.OwnMTLS {
				l.OwnMTLS = append(l.OwnMTLS, p.Name)
			}
		}
		slices.Sort(l.OwnMTLS)
		if w.Denied == "" {
			l.Expires = a.expiry(w.SPIFFEID)
		}
		s.Workloads = append(s.Workloads, l)
	}
	s.Issuers, s.Degraded = issuerStatus(c.set, &a.keyHealth), append(a.keyHealth.degraded(), a.revoked.degraded()...)
	return s
}

func (a *app) proxyStatus(c current) []admin.Proxy {
	byID := map[string]*admin.Proxy{}
	get := func(id string) *admin.Proxy {
		if byID[id] == nil {
			byID[id] = &admin.Proxy{ID: id}
		}
		return byID[id]
	}
	for _, p := range a.plane.Status() {
		fill(get(string(p.Proxy)), p)
	}
	for _, p := range a.supervisor.States() {
		st := get(p.ID)
		st.PID, st.Restarts = p.PID, p.Restarts
		if p.Error != "" {
			st.Error = p.Error
		}
	}
	for id, err := range c.problems {
		get(string(id)).Error = err.Error()
	}
	out := make([]admin.Proxy, 0, len(byID))
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		out = append(out, *byID[id])
	}
	return out
}

func fill(st *admin.Proxy, p controlplane.ProxyStatus) {
	st.Connected, st.Version, st.Generation, st.Error = p.Streams > 0, p.EnvoyVersion, p.Acknowledged, p.Error
	for _, t := range p.Types {
		if r := t.Rejected; r != nil {
			st.Rejected = fmt.Sprintf("%s (%s): %s", t.TypeURL[strings.LastIndexByte(t.TypeURL, '.')+1:], strings.Join(r.Names, ", "), r.Message)
		}
	}
}

// expiry of the SVID in use. Every identity asked for has a proxy that uses it.
func (a *app) expiry(id string) time.Time {
	a.mu.Lock()
	servers := a.identity
	a.mu.Unlock()
	parsed, err := spiffeid.FromString(id)
	if servers == nil || err != nil {
		return time.Time{}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s, err := servers.keeper.Get(ctx, parsed)
	if err != nil {
		return time.Time{}
	}
	return s.Certificates[0].NotAfter
}

func pairs(m map[string]string) []string {
	out := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+"="+m[k])
	}
	return out
}

func keyNames(keys []manifests.Key) []string {
	out := make([]string, 0, len(keys))
	for _, k := range keys {
		out = append(out, k.String())
	}
	return out
}

func boundary(b policy.Boundary) string {
	if b == policy.BoundaryUser {
		return "user"
	}
	return "none"
}

// notReady lists what is missing before every request can be served as the manifests say; empty: ready. A proxy that has been
// configured once does not make the product unready while it takes up the next change.
func (a *app) notReady() []string {
	c := a.snapshot()
	switch {
	case c.set == nil && c.refused != "":
		return []string{c.refused}
	case c.set == nil:
		return []string{"the manifests have not been read yet"}
	}
	var out []string
	for id, err := range c.problems {
		out = append(out, fmt.Sprintf("proxy %s: %v", id, err))
	}
	acknowledged, refused := map[policy.ProxyID]bool{}, map[policy.ProxyID]string{}
	for _, p := range a.plane.Status() {
		var st admin.Proxy
		fill(&st, p)
		acknowledged[p.Proxy], refused[p.Proxy] = p.Acknowledged > 0, st.Rejected
	}
	for _, p := range a.supervisor.States() {
		if p.Error != "" {
			out = append(out, fmt.Sprintf("proxy %s: %s", p.ID, p.Error))
		}
	}
	var proxies []envoy.Proxy
	if !a.opts.NoProxies {
		proxies, _ = a.wantedProxies(c.set)
	}
	for _, p := range proxies {
		switch id := policy.ProxyID(p.Node.ID); {
		case acknowledged[id]:
		case refused[id] != "":
			out = append(out, fmt.Sprintf("proxy %s refused its configuration: %s", id, refused[id]))
		default:
			out = append(out, fmt.Sprintf("proxy %s has not taken its configuration yet", id))
		}
	}
	for n, e := range a.certificates.Errors() {
		if _, _, err := a.certificates.Pair(n); err != nil {
			out = append(out, fmt.Sprintf("certificate %s: %s", n, e))
		}
	}
	out = append(out, a.certificates.clientProblems()...)
	if len(out) == 0 && !a.opts.NoProxies {
		out = a.unreached(c.set)
	}
	out = a.keyHealth.notReady(out)
	slices.Sort(out)
	return out
}

// unreached are listeners that refuse connections: Envoy opens a listener once its secrets have arrived. What was reached once counts
// for as long as the product runs.
func (a *app) unreached(set *policy.Set) []string {
	e := a.endpointsOf(set)
	addresses := map[string]string{}
	for name, g := range e.Gateways {
		for _, addr := range g.Listeners {
			addresses[addr] = "gateway " + name
		}
	}
	for name, w := range e.Workloads {
		for port, addr := range w.Inbound {
			if addr != w.Application[port] { // else the application listens there itself, which may start later than the product
				addresses[addr] = "workload " + name
			}
		}
		if w.Outbound != "" {
			addresses[w.Outbound] = "workload " + name
		}
	}
	var out []string
	for _, addr := range slices.Sorted(maps.Keys(addresses)) {
		a.mu.Lock()
		known := a.reached[addr]
		a.mu.Unlock()
		if known {
			continue
		}
		if err := reach(addr); err != nil {
			out = append(out, fmt.Sprintf("%s does not listen on %s yet: %v", addresses[addr], addr, err))
			continue
		}
		a.mu.Lock()
		a.reached[addr] = true
		a.mu.Unlock()
	}
	return out
}

func reach(addr string) error {
	network := "tcp"
	if filepath.IsAbs(addr) {
		network = "unix"
	}
	c, err := net.DialTimeout(network, addr, 200*time.Millisecond)
	if err != nil {
		return err
	}
	return c.Close()
}

// watchReady tells changed, unless it is nil, once when all is ready, and every two seconds until then.
func watchReady(ctx context.Context, changed func(Event), notReady func() []string, status func() admin.Status) error {
	if changed == nil {
		return nil
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	progress := time.NewTicker(2 * time.Second)
	defer progress.Stop()
	for len(notReady()) > 0 {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-progress.C:
			changed(Event{Status: status(), Waiting: true})
		}
	}
	changed(Event{Status: status(), Ready: true})
	return nil
}
