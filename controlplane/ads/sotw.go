package ads

import (
	"context"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

type worldTransport struct {
	stream discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer
}

var _ transport = worldTransport{}

// StreamAggregatedResources serves the state-of-the-world protocol.
func (s *Server) StreamAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return s.serve(worldTransport{stream: stream}, false)
}

// Context of the RPC.
func (t worldTransport) Context() context.Context { return t.stream.Context() }

func (t worldTransport) recv() (request, *corev3.Node, error) {
	m, err := t.stream.Recv()
	if err != nil {
		return request{}, nil, err
	}
	r := request{
		typeURL: m.GetTypeUrl(), nonce: m.GetResponseNonce(),
		failed: m.GetErrorDetail() != nil, failure: m.GetErrorDetail().GetMessage(),
		subscribe: m.GetResourceNames(), version: m.GetVersionInfo(),
	}
	return r, m.GetNode(), nil
}

func (t worldTransport) send(r response) error {
	m := &discoveryv3.DiscoveryResponse{
		TypeUrl: r.typeURL, Nonce: r.nonce, VersionInfo: r.version, Resources: make([]*anypb.Any, len(r.resources)),
	}
	for i, res := range r.resources {
		m.Resources[i] = res.Body
	}
	return t.stream.Send(m)
}
