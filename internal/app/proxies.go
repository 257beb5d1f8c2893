package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/credence-mesh/credence/controlplane/xds"
	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/internal/envoy"
	"github.com/credence-mesh/credence/policy"
)

// wantedProxies are the Envoys of a Set, and for each proxy that can't be run why.
func (a *app) wantedProxies(set *policy.Set) (proxies []envoy.Proxy, problems map[policy.ProxyID]error) {
	problems = map[policy.ProxyID]error{}
	for _, g := range set.Gateways {
		proxies = append(proxies, a.proxy(policy.GatewayID(g.Name), g.SPIFFEID, nil))
	}
	for _, w := range set.Workloads {
		id := policy.SidecarID(w.Name)
		if w.Denied != "" {
			problems[id] = errors.New(w.Denied)
			continue
		}
		owner, err := workloadUser(w)
		if err != nil {
			problems[id] = err
			continue
		}
		proxies = append(proxies, a.proxy(id, w.SPIFFEID, owner))
	}
	return proxies, problems
}

func (a *app) proxy(id policy.ProxyID, identity string, owner *envoy.User) envoy.Proxy {
	dir := a.run.proxyDir(id)
	return envoy.Proxy{
		Node: envoy.Node{
			ID: string(id), AgentSocket: filepath.Join(dir, "agent.sock"), AdminSocket: a.run.proxyAdminSocket(id),
			SDSSocket: a.run.workloadSocket(),
		},
		Dir:     dir,
		LogFile: a.state.file("log", strings.ReplaceAll(string(id), "/", "_")+".log"),
		User:    owner, Identity: identity,
	}
}

// workloadUser is whose process the sidecar of w is: with boundary user the workload's own, so that the directory of its sockets is
// closed to all others. Nil: the user who runs Credence.
func workloadUser(w policy.Workload) (*envoy.User, error) {
	if w.Boundary != policy.BoundaryUser {
		return nil, nil //nolint:nilnil // nil is "our own user"
	}
	uid := w.Selectors.UID
	if uid == nil {
		if os.Geteuid() != 0 {
			return nil, nil //nolint:nilnil // as above
		}
		return nil, errors.New("boundary user needs selectors.unix.uid: the sockets of the workload are given to that user")
	}
	if int(*uid) == os.Geteuid() {
		return nil, nil //nolint:nilnil // as above
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("boundary user with uid %d needs credence to run as root: only root gives sockets to another user", *uid)
	}
	owner := &envoy.User{UID: *uid, GID: *uid}
	switch u, err := user.LookupId(strconv.FormatUint(uint64(*uid), 10)); {
	case w.Selectors.GID != nil:
		owner.GID = *w.Selectors.GID
	case err == nil:
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("the group of user %d: %w", *uid, err)
		}
		owner.GID = uint32(gid)
	}
	return owner, nil
}

// openSockets makes the directories and agent sockets of the proxies, before Envoy is started or told of them. It returns the proxies
// that have theirs.
func (a *app) openSockets(ctx context.Context, set *policy.Set, proxies []envoy.Proxy, problems map[policy.ProxyID]error) []envoy.Proxy {
	wanted := map[string]bool{}
	var opened []envoy.Proxy
	for _, p := range proxies {
		wanted[p.Node.ID] = true
		if err := a.openSocket(ctx, p); err != nil {
			problems[policy.ProxyID(p.Node.ID)] = err
			continue
		}
		opened = append(opened, p)
	}
	for _, w := range set.Workloads {
		owner, err := workloadUser(w)
		if w.Boundary != policy.BoundaryUser || w.Denied != "" || err != nil {
			continue
		}
		if err := ownDir(a.run.workloadDir(w.Name), owner); err != nil {
			problems[policy.SidecarID(w.Name)] = err
		}
	}
	a.agentSockets.keep(wanted)
	maps.DeleteFunc(a.owners, func(id string, _ envoy.User) bool { return !wanted[id] })
	return opened
}

func (a *app) openSocket(ctx context.Context, p envoy.Proxy) error {
	var owner envoy.User
	if p.User != nil {
		owner = *p.User
	}
	if a.agentSockets.has(p.Node.ID) && a.owners[p.Node.ID] == owner {
		return nil
	}
	// Ours, not the proxy's: its user could put a link in the place of the socket before we change its owner.
	if err := os.Mkdir(p.Dir, 0o711); err != nil && !errors.Is(err, os.ErrExist) { //nolint:gosec // other users pass through it
		return fmt.Errorf("making %s: %w", p.Dir, err)
	}
	l, err := listenUnix(ctx, p.Node.AgentSocket, 0o600, p.User)
	if err != nil {
		return err
	}
	a.agentSockets.add(p.Node.ID, l)
	a.owners[p.Node.ID] = owner
	return nil
}

// paths are the places of a proxy's workload.
func (a *app) paths(id policy.ProxyID) xds.Paths {
	namespace, name, _ := strings.Cut(strings.TrimPrefix(string(id), "sidecar/"), "/")
	return xds.Paths{WorkloadDir: a.run.workloadDir(policy.Name{Namespace: namespace, Name: name})}
}

// endpointsOf says where everything of the Set is.
func (a *app) endpointsOf(set *policy.Set) Endpoints {
	e := Endpoints{
		Format: 1, PID: os.Getpid(), TrustDomain: set.Mesh.TrustDomain, Admin: a.adminAddress, AdminSocket: a.run.adminSocket(),
		WorkloadAPI: "unix://" + a.run.workloadSocket(), Issuer: a.issuers.first(),
		Gateways: map[string]GatewayEndpoint{}, Workloads: map[string]WorkloadEndpoint{},
	}
	if t := set.Mesh.InternalTokens; t != nil {
		e.InternalTokenKeys, e.InternalTokenIssuer = "http://"+a.adminAddress+admin.KeysPath, t.Issuer
	}
	for _, g := range set.Gateways {
		id := policy.GatewayID(g.Name)
		ge := GatewayEndpoint{
			SPIFFEID: g.SPIFFEID, Listeners: map[string]string{}, ProxyID: string(id),
			AdminSocket: a.run.proxyAdminSocket(id), AgentSocket: filepath.Join(a.run.proxyDir(id), "agent.sock"),
		}
		for _, l := range g.Listeners {
			for _, s := range l.Sections {
				ge.Listeners[s.Name] = hostPort(l.Address, l.Port)
			}
		}
		e.Gateways[g.Name.String()] = ge
	}
	for _, w := range set.Workloads {
		id := policy.SidecarID(w.Name)
		we := WorkloadEndpoint{
			SPIFFEID: w.SPIFFEID, Inbound: map[string]string{}, Application: map[string]string{}, Outbound: w.Outbound, ProxyID: string(id),
			AdminSocket: a.run.proxyAdminSocket(id), AgentSocket: filepath.Join(a.run.proxyDir(id), "agent.sock"),
		}
		dir := a.run.workloadDir(w.Name)
		if w.Boundary == policy.BoundaryUser {
			we.Outbound = filepath.Join(dir, xds.OutboundSocket)
		}
		for _, p := range w.Ports {
			we.Inbound[p.Name] = p.Inbound
			if p.OwnMTLS {
				we.Application[p.Name] = p.Inbound
				continue
			}
			we.Application[p.Name] = hostPort("127.0.0.1", p.Port)
			if w.Boundary == policy.BoundaryUser {
				we.Application[p.Name] = filepath.Join(dir, xds.ApplicationSocket(p.Name))
			}
		}
		e.Workloads[w.Name.String()] = we
	}
	return e
}
