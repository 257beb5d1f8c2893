package app

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/credence-mesh/credence/manifests/decode"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/route"
)

// aimed is a question with its proxy and route.
type aimed struct {
	proxy              policy.ProxyID
	route              policy.RouteID
	scheme, host, path string
	peer               string
}

func aim(set *policy.Set, q *Question) (aimed, error) {
	at := aimed{}
	var port uint16
	if err := at.split(q.URL, &port); err != nil {
		return at, err
	}
	if q.Peer != "" {
		id, err := peerOf(set, q.Peer)
		if err != nil {
			return at, err
		}
		at.peer = id
	}
	if q.Workload != (policy.Name{}) {
		return at, at.workload(set, q)
	}
	if at.scheme == "" {
		return at, fmt.Errorf("%w: %q is no URL: write scheme://host/path, or name a --workload", ErrQuestion, q.URL)
	}
	return at, at.gateway(set, q, port)
}

// ErrQuestion is an error of a question that can't be understood; the text says why.
var ErrQuestion = errors.New("the question can't be asked")

// split cuts a URL as it is written: nothing is decoded or normalised.
func (a *aimed) split(url string, port *uint16) error {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		if !strings.HasPrefix(url, "/") {
			return fmt.Errorf("%w: %q is neither a URL nor a path", ErrQuestion, url)
		}
		a.path = url
		return nil
	}
	if scheme != "http" && scheme != "https" {
		return fmt.Errorf("%w: %q is neither http nor https", ErrQuestion, scheme)
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		rest, end = rest+"/", len(rest)
	}
	a.scheme, a.host, a.path = scheme, rest[:end], rest[end:]
	if a.path[0] != '/' {
		a.path = "/" + a.path
	}
	a.path, _, _ = strings.Cut(a.path, "#")
	*port = 80
	if scheme == "https" {
		*port = 443
	}
	if i := strings.LastIndexByte(a.host, ':'); i >= 0 && !strings.HasSuffix(a.host, "]") {
		n, err := strconv.ParseUint(a.host[i+1:], 10, 16)
		if err != nil {
			return fmt.Errorf("%w: %q has no port that can be read", ErrQuestion, a.host)
		}
		*port = uint16(n)
	}
	return nil
}

func peerOf(set *policy.Set, text string) (string, error) {
	if strings.HasPrefix(text, "spiffe://") {
		id, err := spiffeid.FromString(text)
		if err != nil {
			return "", fmt.Errorf("%w: --peer: %w", ErrQuestion, err)
		}
		return id.String(), nil
	}
	for _, w := range set.Workloads {
		if w.Name.String() == text || w.Name.Namespace == decode.DefaultNamespace && w.Name.Name == text {
			return w.SPIFFEID, nil
		}
	}
	for _, g := range set.Gateways {
		if g.Name.String() == text || g.Name.Namespace == decode.DefaultNamespace && g.Name.Name == text {
			return g.SPIFFEID, nil
		}
	}
	return "", fmt.Errorf("%w: --peer %s is neither a SPIFFE ID nor a Workload or Gateway", ErrQuestion, text)
}

func (a *aimed) workload(set *policy.Set, q *Question) error {
	for i := range set.Workloads {
		w := &set.Workloads[i]
		if w.Name != q.Workload {
			continue
		}
		var names []string
		for _, p := range w.Ports {
			if !p.OwnMTLS && (q.Port == "" && len(w.Ports) == 1 || p.Name == q.Port) {
				a.proxy, a.route = policy.SidecarID(w.Name), p.Route
				if a.host == "" {
					a.host = w.Name.Name
				}
				return nil
			}
			names = append(names, p.Name)
		}
		return fmt.Errorf("%w: say which port of Workload %s with --port: %s", ErrQuestion, w.Name, strings.Join(names, ", "))
	}
	return fmt.Errorf("%w: there is no Workload %s", ErrQuestion, q.Workload)
}

// gateway finds the route as Envoy would.
func (a *aimed) gateway(set *policy.Set, q *Question, port uint16) error {
	g, err := gatewayOf(set, q.Gateway, port)
	if err != nil {
		return err
	}
	a.proxy = policy.GatewayID(g.Name)
	path, query, _ := strings.Cut(a.path, "?")
	ask := route.Request{
		Method: q.Method, Host: hostWithoutPort(a.host), Path: path, Query: query,
		Header: func(name string) ([]string, bool) {
			var values []string
			for _, h := range q.Headers {
				if h.Name == name {
					values = append(values, h.Value)
				}
			}
			return values, false
		},
	}
	r, outcome := find(listenersFor(g, a.scheme, port), &ask)
	switch outcome {
	case route.Found:
		a.route = r.ID
		return nil
	case route.NoHost:
		return fmt.Errorf("%w: Gateway %s serves no host %s: Envoy answers 404", ErrCannotTell, g.Name, a.host)
	case route.NoRoute:
		return fmt.Errorf("%w: no route of Gateway %s matches: Envoy answers 404", ErrCannotTell, g.Name)
	case route.Ambiguous, route.NoSection:
	}
	return fmt.Errorf("%w: several listeners of Gateway %s serve this host with different policies", ErrCannotTell, g.Name)
}

// listenersFor is g with the listeners alone that a client of that scheme and port reaches; a port that none has is one that something in front
// maps.
func listenersFor(g *policy.Gateway, scheme string, port uint16) *policy.Gateway {
	only := func(keep func(*policy.Listener) bool) *policy.Gateway {
		out := *g
		out.Listeners = nil
		for i := range g.Listeners {
			if keep(&g.Listeners[i]) {
				out.Listeners = append(out.Listeners, g.Listeners[i])
			}
		}
		return &out
	}
	protocol := policy.HTTP
	if scheme == "https" {
		protocol = policy.HTTPS
	}
	if at := only(func(l *policy.Listener) bool { return l.Protocol == protocol && l.Port == port }); len(at.Listeners) > 0 {
		return at
	}
	if at := only(func(l *policy.Listener) bool { return l.Protocol == protocol }); len(at.Listeners) > 0 {
		return at
	}
	return g
}

// find finds the route of a client that opens a connection for this host: its SNI leads to the section that serves the host.
func find(g *policy.Gateway, ask *route.Request) (*policy.Route, route.Outcome) {
	table := route.New(g)
	r, outcome := table.Find(ask)
	if outcome != route.Ambiguous {
		return r, outcome
	}
	for i := range g.Listeners {
		for j := range g.Listeners[i].Sections {
			within := *ask
			within.Section = g.Listeners[i].Sections[j].Name
			if r, o := table.Find(&within); o == route.Found {
				return r, o
			}
		}
	}
	return nil, outcome
}

func gatewayOf(set *policy.Set, asked policy.Name, port uint16) (*policy.Gateway, error) {
	if asked == (policy.Name{}) && len(set.Gateways) > 1 {
		var found []*policy.Gateway
		for i := range set.Gateways {
			if slices.ContainsFunc(set.Gateways[i].Listeners, func(l policy.Listener) bool { return l.Port == port }) {
				found = append(found, &set.Gateways[i])
			}
		}
		if len(found) == 1 {
			return found[0], nil
		}
	}
	name, err := chooseGateway(set, asked)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrQuestion, err)
	}
	for i := range set.Gateways {
		if set.Gateways[i].Name == name {
			return &set.Gateways[i], nil
		}
	}
	return nil, fmt.Errorf("%w: there is no Gateway %s", ErrQuestion, name)
}

// hostWithoutPort is the host as routes compare it.
func hostWithoutPort(host string) string {
	if addr, err := netip.ParseAddrPort(host); err == nil && addr.Addr().Is6() {
		return "[" + addr.Addr().String() + "]"
	}
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}
