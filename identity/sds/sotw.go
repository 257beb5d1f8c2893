package sds

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"
)

// StreamSecrets is state-of-the-world SDS: each response holds all secrets of the stream that there are.
func (s *Server) StreamSecrets(stream grpc.BidiStreamingServer[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse]) error {
	return run(stream.Context(), s, stream.Recv, &sotw{server: s, stream: stream})
}

type sotw struct {
	server *Server
	stream grpc.BidiStreamingServer[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse]

	nonces nonces
	node   string
	wanted []string
	sent   map[string]string // versions by name, of the last response
}

func (d *sotw) accept(req *discoveryv3.DiscoveryRequest) error {
	if err := checkRequest(req.GetTypeUrl(), req.GetResourceNames()); err != nil {
		return err
	}
	if id := req.GetNode().GetId(); id != "" {
		d.node = id
	}
	// An answer to an older response: the client will answer the last one too, with the names that it wants then.
	if req.GetResponseNonce() != "" && d.nonces.n > 0 && req.GetResponseNonce() != d.nonces.last() {
		return nil
	}
	d.server.logRefusal(req.GetErrorDetail(), d.node)
	names := slices.Compact(slices.Sorted(slices.Values(req.GetResourceNames())))
	if err := checkCount(len(names)); err != nil {
		return err
	}
	for _, n := range names {
		if !slices.Contains(d.wanted, n) {
			delete(d.sent, n)
		}
	}
	d.wanted = names
	return nil
}

func (d *sotw) names() []string { return d.wanted }

func (d *sotw) send(current []secret, _ []string) error {
	if len(current) == 0 {
		return nil // the client waits
	}
	news := false
	for _, s := range current {
		news = news || d.sent[s.name] != s.version
	}
	if !news {
		return nil
	}
	sum := sha256.New()
	resources := make([]*anypb.Any, 0, len(current))
	versions := map[string]string{}
	for _, s := range current {
		_, _ = sum.Write([]byte(s.version))
		resources = append(resources, s.body)
		versions[s.name] = s.version
	}
	d.sent = versions
	return d.stream.Send(&discoveryv3.DiscoveryResponse{
		VersionInfo: hex.EncodeToString(sum.Sum(nil)[:16]), TypeUrl: TypeURL, Nonce: d.nonces.next(),
		Resources: resources, ControlPlane: &corev3.ControlPlane{Identifier: "credence"},
	})
}
