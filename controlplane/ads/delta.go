package ads

import (
	"context"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

type deltaTransport struct {
	stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
}

var _ transport = deltaTransport{}

// DeltaAggregatedResources serves the incremental protocol.
func (s *Server) DeltaAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	return s.serve(deltaTransport{stream: stream}, true)
}

// Context of the RPC.
func (t deltaTransport) Context() context.Context { return t.stream.Context() }

func (t deltaTransport) recv() (request, *corev3.Node, error) {
	m, err := t.stream.Recv()
	if err != nil {
		return request{}, nil, err
	}
	r := request{
		typeURL: m.GetTypeUrl(), nonce: m.GetResponseNonce(),
		failed: m.GetErrorDetail() != nil, failure: m.GetErrorDetail().GetMessage(),
		subscribe: m.GetResourceNamesSubscribe(), unsubscribe: m.GetResourceNamesUnsubscribe(),
		initial: m.GetInitialResourceVersions(),
	}
	return r, m.GetNode(), nil
}

func (t deltaTransport) send(r response) error {
	m := &discoveryv3.DeltaDiscoveryResponse{
		TypeUrl: r.typeURL, Nonce: r.nonce, SystemVersionInfo: r.version, RemovedResources: r.removed,
		Resources: make([]*discoveryv3.Resource, len(r.resources)),
	}
	for i, res := range r.resources {
		m.Resources[i] = &discoveryv3.Resource{Name: res.Name, Version: res.Version, Resource: res.Body}
	}
	return t.stream.Send(m)
}
