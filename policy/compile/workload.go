package compile

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
)

// workload is one Workload on its way into the Set.
type workload struct {
	item[v1alpha1.Workload]
	out   policy.Workload
	ports map[string]uint16 // by name
}

// deny refuses the workload its identity and says so at the field. The first reason is the one that the Set holds.
func (c *compiler) deny(w *workload, field string, text [3]string) {
	if w.out.Denied == "" {
		w.out.Denied = text[1]
	}
	c.errorAt(place{w.obj, field}, text[0], text[1], text[2])
}

// useWorkloads decides who each Workload is and where it listens. The access of its ports comes later.
func (c *compiler) useWorkloads() {
	c.workloadByName = make(map[policy.Name]*workload, len(c.workloads))
	all := make([]*workload, 0, len(c.workloads))
	for _, it := range c.workloads {
		w := &workload{item: it, ports: make(map[string]uint16)}
		w.out = policy.Workload{Name: it.name, Ports: []policy.Port{}}
		c.workloadID(w)
		c.workloadSelectors(w)
		c.workloadPorts(w)
		c.workloadByName[it.name] = w
		all = append(all, w)
	}
	c.refuseSharedIDs(all)
	for _, w := range all {
		c.takeExplicit(w)
	}
	for _, w := range all {
		c.takePlaced(w)
	}
	c.warnEqualSelectors(all)
}

// workloadID sets the SPIFFE ID. An ID that the namespace may not claim is no claim at all: else one namespace could have the
// workloads of another denied, or pass for them in a rule that names this Workload.
func (c *compiler) workloadID(w *workload) {
	ns := w.name.Namespace
	w.out.SPIFFEID = c.defaultWorkloadID(w.name)
	asked := w.value.Spec.SPIFFEID
	if asked == "" {
		return
	}
	id, err := spiffeid.FromString(asked)
	switch {
	case err != nil:
		c.deny(w, "spec.spiffeID", [3]string{"spiffe-id", fmt.Sprintf("%q is not a SPIFFE ID: %v", asked, err), ""})
	case !id.MemberOf(c.td):
		c.deny(w, "spec.spiffeID", [3]string{
			"spiffe-id-foreign",
			fmt.Sprintf("%s is not of the mesh's trust domain %s", asked, c.td.Name()), "leave spec.spiffeID out",
		})
	case !c.mayClaim(ns, id.Path()):
		c.deny(w, "spec.spiffeID", [3]string{
			"spiffe-id-not-allowed",
			fmt.Sprintf("namespace %s may not claim %s", ns, asked),
			fmt.Sprintf("use an ID below spiffe://%s/ns/%s/, or delegate the prefix in Mesh spec.delegatedIDs", c.td.Name(), ns),
		})
	default:
		w.out.SPIFFEID = asked
	}
}

func (c *compiler) mayClaim(namespace, path string) bool {
	if strings.HasPrefix(path, "/ns/"+namespace+"/") {
		return true
	}
	return slices.ContainsFunc(c.mesh.value.Spec.DelegatedIDs, func(d v1alpha1.DelegatedID) bool {
		prefix := strings.TrimSuffix(d.PathPrefix, "/")
		return d.Namespace == namespace && prefix != "" && (path == prefix || strings.HasPrefix(path, prefix+"/"))
	})
}

func (c *compiler) workloadSelectors(w *workload) {
	spec := &w.value.Spec
	w.out.Boundary = policy.BoundaryUser
	if spec.Boundary == v1alpha1.BoundaryNone {
		w.out.Boundary = policy.BoundaryNone
		if !c.set.Mesh.Development {
			c.deny(w, "spec.boundary", [3]string{
				"development-only", "boundary none is for a development mesh only",
				"use boundary: user",
			})
		}
	}
	u := spec.Selectors.Unix
	if u == nil {
		u = &v1alpha1.UnixSelectors{}
	}
	out := policy.Selectors{Path: u.Path, SHA256: u.SHA256}
	for _, f := range []struct {
		name string
		in   *int64
		to   **uint32
	}{{"uid", u.UID, &out.UID}, {"gid", u.GID, &out.GID}} {
		if f.in == nil {
			continue
		}
		if *f.in < 0 || *f.in > 1<<32-2 {
			c.deny(w, "spec.selectors.unix."+f.name, [3]string{"selector", fmt.Sprintf("%d is not a %s", *f.in, f.name), ""})
			continue
		}
		v := uint32(*f.in)
		*f.to = &v
	}
	w.out.Selectors = out
	switch bare := out.UID == nil && out.GID == nil && out.SHA256 == ""; {
	case bare && out.Path == "":
		c.deny(w, "spec.selectors", [3]string{
			"no-selector", w.obj.Key.String() + " has no selector: no process can be recognised",
			"set spec.selectors.unix.uid",
		})
	case bare && !c.set.Mesh.Development:
		c.deny(w, "spec.selectors.unix", [3]string{
			"development-only", "a path alone is a selector for a development mesh only",
			"add uid or sha256",
		})
	}
}

// workloadPorts lists the ports; addresses are still what the manifest says.
func (c *compiler) workloadPorts(w *workload) {
	seen := make(map[int32]bool)
	for i, p := range w.value.Spec.Ports {
		name := p.Name
		if name == "" {
			name = strings.ToLower(protocol(&p))
		}
		number, isPort := portNumber(p.Port)
		if _, double := w.ports[name]; double || seen[p.Port] || !isPort {
			c.errorAt(place{w.obj, fmt.Sprintf("spec.ports[%d]", i)}, "port",
				fmt.Sprintf("port %s (%d) of %s is no port or there twice", name, p.Port, w.obj.Key), "give each port a name and number of its own")
			continue
		}
		seen[p.Port] = true
		w.ports[name] = number
		w.out.Ports = append(w.out.Ports, policy.Port{
			Name: name, Port: number, HTTP2: p.Protocol == v1alpha1.ProtocolHTTP2 || p.Protocol == v1alpha1.ProtocolGRPC, Paths: pathRules(p.Paths), Inbound: p.Inbound, Access: policy.Access{Levels: []policy.Level{}},
		})
		ownMTLS(&p, &w.out.Ports[len(w.out.Ports)-1])
	}
	slices.SortFunc(w.out.Ports, func(a, b policy.Port) int { return int(a.Port) - int(b.Port) })
	if w.value.Spec.Sidecar != nil && w.value.Spec.Sidecar.Outbound != "" {
		if w.out.Boundary == policy.BoundaryNone {
			w.out.Outbound = w.value.Spec.Sidecar.Outbound
		} else {
			c.warnAt(place{w.obj, "spec.sidecar.outbound"}, "outbound-unused",
				"with boundary user the outbound proxy is a unix socket: spec.sidecar.outbound is not used", "remove it")
		}
	}
}

// refuseSharedIDs denies all Workloads that claim one ID, and a Workload that claims the ID of a Gateway.
func (c *compiler) refuseSharedIDs(all []*workload) {
	owners := make(map[string][]string)
	for _, g := range c.set.Gateways {
		owners[g.SPIFFEID] = append(owners[g.SPIFFEID], gatewayKey(kindGateway, g.Name).String())
	}
	for _, w := range all {
		owners[w.out.SPIFFEID] = append(owners[w.out.SPIFFEID], w.obj.Key.String())
	}
	for _, w := range all {
		if names := owners[w.out.SPIFFEID]; len(names) > 1 {
			c.deny(w, "spec.spiffeID", [3]string{
				"spiffe-id-shared",
				fmt.Sprintf("%s is claimed by %s", w.out.SPIFFEID, strings.Join(names, " and ")), "give each an ID of its own",
			})
		}
	}
}

// takeExplicit claims the addresses that the manifest gives, those of the application included.
func (c *compiler) takeExplicit(w *workload) {
	for i := range w.out.Ports {
		p := &w.out.Ports[i]
		if w.out.Boundary == policy.BoundaryNone && !p.OwnMTLS {
			app := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), p.Port)
			c.take(w, app, fmt.Sprintf("the application port %s", p.Name))
		}
		if p.Inbound != "" {
			c.takeText(w, p.Inbound, "port "+p.Name+" (inbound)")
		}
	}
	if w.out.Outbound != "" {
		c.takeText(w, w.out.Outbound, "its outbound proxy")
	}
}

// takePlaced gives addresses to what has none yet.
func (c *compiler) takePlaced(w *workload) {
	for i := range w.out.Ports {
		p := &w.out.Ports[i]
		if p.Inbound == "" {
			ap := c.placement(w.name, fmt.Sprintf("inbound/%d", p.Port))
			p.Inbound = ap.String()
			c.take(w, ap, "port "+p.Name+" (inbound, placed)")
		}
	}
	if w.out.Boundary == policy.BoundaryNone && w.out.Outbound == "" {
		ap := c.placement(w.name, "outbound")
		w.out.Outbound = ap.String()
		c.take(w, ap, "its outbound proxy (placed)")
	}
}

func (c *compiler) takeText(w *workload, text, what string) {
	ap, err := netip.ParseAddrPort(text)
	if err != nil || ap.Port() == 0 {
		c.deny(w, "spec", [3]string{"address", fmt.Sprintf("%q of %s of %s is not an IP address and port", text, what, w.obj.Key), ""})
		return
	}
	c.take(w, ap, what)
}

func (c *compiler) take(w *workload, ap netip.AddrPort, what string) {
	if err := c.sockets.take(ap, what+" of "+w.obj.Key.String()); err != nil {
		c.deny(w, "spec.ports", [3]string{
			"port-collision", fmt.Sprintf("%s of %s cannot have %s: %v", what, w.obj.Key, ap, err),
			"place one of them: spec.ports[].inbound, spec.sidecar.outbound, or another port",
		})
	}
}

// warnEqualSelectors tells of Workloads that recognise the same processes: those processes get no identity.
func (c *compiler) warnEqualSelectors(all []*workload) {
	first := make(map[string]*workload)
	for _, w := range all {
		s := w.out.Selectors
		key := fmt.Sprintf("%s %s %q %q", orAny(s.UID), orAny(s.GID), s.Path, s.SHA256)
		if o, ok := first[key]; ok {
			c.warnAt(place{w.obj, "spec.selectors"}, "same-selectors",
				fmt.Sprintf("%s and %s recognise the same processes: these get no identity", o.obj.Key, w.obj.Key),
				"add a selector that tells them apart")
			continue
		}
		first[key] = w
	}
}

func orAny(n *uint32) string {
	if n == nil {
		return "any"
	}
	return fmt.Sprint(*n)
}
