package sds

import (
	"maps"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
)

// DeltaSecrets is delta SDS: each response holds the secrets that are new, and the names of those asked for that are unknown.
func (s *Server) DeltaSecrets(stream grpc.BidiStreamingServer[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]) error {
	return run(stream.Context(), s, stream.Recv, &delta{server: s, stream: stream, wanted: map[string]*wish{}})
}

type delta struct {
	server *Server
	stream grpc.BidiStreamingServer[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]

	nonces nonces
	node   string
	wanted map[string]*wish
}

// wish is one subscribed name.
type wish struct {
	version  string // that the client has; empty: none
	answered bool   // since it was last subscribed to
}

func (d *delta) accept(req *discoveryv3.DeltaDiscoveryRequest) error {
	if err := checkRequest(req.GetTypeUrl(), req.GetResourceNamesSubscribe()); err != nil {
		return err
	}
	if id := req.GetNode().GetId(); id != "" {
		d.node = id
	}
	d.server.logRefusal(req.GetErrorDetail(), d.node)
	for _, n := range req.GetResourceNamesUnsubscribe() {
		delete(d.wanted, n)
	}
	for _, n := range req.GetResourceNamesSubscribe() {
		// A name that is subscribed to again is sent again: the client has forgotten it.
		d.wanted[n] = &wish{version: req.GetInitialResourceVersions()[n]}
		if w := d.wanted[n]; w.version != "" {
			w.answered = true
		}
	}
	return checkCount(len(d.wanted))
}

func (d *delta) names() []string { return slices.Sorted(maps.Keys(d.wanted)) }

func (d *delta) send(current []secret, unknown []string) error {
	response := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: TypeURL, ControlPlane: &corev3.ControlPlane{Identifier: "credence"}}
	for _, s := range current {
		w := d.wanted[s.name]
		if w == nil || (w.answered && w.version == s.version) {
			continue
		}
		w.version, w.answered = s.version, true
		response.Resources = append(response.Resources, &discoveryv3.Resource{Name: s.name, Version: s.version, Resource: s.body})
	}
	for _, n := range unknown {
		// Only the answer to a subscription: one that was sent before is not taken back.
		if w := d.wanted[n]; w != nil && !w.answered {
			w.answered = true
			response.RemovedResources = append(response.RemovedResources, n)
		}
	}
	if len(response.GetResources())+len(response.GetRemovedResources()) == 0 {
		return nil
	}
	response.Nonce = d.nonces.next()
	response.SystemVersionInfo = response.GetNonce()
	return d.stream.Send(response)
}
