package workloadapi

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/credence-mesh/credence/identity/attest"
)

// FetchX509SVID streams every SVID of the caller, with the bundle of its trust domain and those of all others (SPIFFE Workload API §5.2.1). The
// first state is sent at once, the next ones when an SVID, a bundle or the entitlement has changed.
func (s *Server) FetchX509SVID(_ *workload.X509SVIDRequest, ss grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	return serve(s, ss, s.svidState)
}

// FetchX509Bundles streams the bundles of all trust domains to a caller that has an identity (SPIFFE Workload API §5.2.2).
func (s *Server) FetchX509Bundles(_ *workload.X509BundlesRequest, ss grpc.ServerStreamingServer[workload.X509BundlesResponse]) error {
	return serve(s, ss, s.bundleState)
}

// message is a pointer to a generated message.
type message[T any] interface {
	*T
	proto.Message
}

func serve[T any, M message[T]](s *Server, ss grpc.ServerStreamingServer[T], state func(context.Context, []spiffeid.ID) (M, error)) error {
	ctx := ss.Context()
	p, err := attest.FromContext(ctx)
	if err != nil {
		return Status(err)
	}
	tick := time.NewTicker(s.recheck)
	defer tick.Stop()
	var sent M
	for {
		// Taken before the state is read: no change is lost in between.
		entitlements, svids, bundles := s.entitlements.Changed(), s.svids.Changed(), s.bundles.Changed()
		ids, err := s.entitled(ctx, p)
		if err != nil {
			return err
		}
		next, err := state(ctx, ids)
		if err != nil {
			return Status(err)
		}
		if sent == nil || !proto.Equal(sent, next) {
			if err := ss.Send((*T)(next)); err != nil {
				return err
			}
			sent = next
		}
		select {
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case <-p.Done():
			return status.Error(codes.PermissionDenied, attest.ErrGone.Error())
		case <-entitlements:
		case <-svids:
		case <-bundles:
		case <-tick.C:
		}
	}
}

func (s *Server) entitled(ctx context.Context, p *attest.Process) ([]spiffeid.ID, error) {
	ids, err := s.entitlements.Entitled(ctx, p)
	if err == nil && len(ids) == 0 {
		err = &attest.NotEntitledError{Reason: "the process matches nothing"}
	}
	if err != nil {
		s.log.Info("no identity issued", "pid", p.PID(), "uid", p.UID(), "error", err)
		return nil, Status(err)
	}
	return ids, nil
}

func (s *Server) svidState(ctx context.Context, ids []spiffeid.ID) (*workload.X509SVIDResponse, error) {
	out := &workload.X509SVIDResponse{FederatedBundles: map[string][]byte{}}
	bundles := map[spiffeid.TrustDomain][]byte{}
	for _, b := range s.bundles.Bundles() {
		bundles[b.TrustDomain()] = concat(b.X509Authorities())
	}
	own := map[spiffeid.TrustDomain]bool{}
	for _, id := range ids {
		own[id.TrustDomain()] = true
		bundle := bundles[id.TrustDomain()]
		if len(bundle) == 0 {
			return nil, fmt.Errorf("there is no bundle of %s", id.TrustDomain())
		}
		held, err := s.svids.Get(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
		key, err := x509.MarshalPKCS8PrivateKey(held.PrivateKey)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
		out.Svids = append(out.Svids, &workload.X509SVID{
			SpiffeId: id.String(), X509Svid: concat(held.Certificates), X509SvidKey: key, Bundle: bundle,
		})
	}
	for td, bundle := range bundles {
		if !own[td] && len(bundle) > 0 {
			out.FederatedBundles[td.IDString()] = bundle
		}
	}
	return out, nil
}

func (s *Server) bundleState(_ context.Context, ids []spiffeid.ID) (*workload.X509BundlesResponse, error) {
	out := &workload.X509BundlesResponse{Bundles: map[string][]byte{}}
	for _, b := range s.bundles.Bundles() {
		out.Bundles[b.TrustDomain().IDString()] = authorities(b)
	}
	for _, id := range ids {
		if _, ok := out.Bundles[id.TrustDomain().IDString()]; !ok {
			return nil, fmt.Errorf("there is no bundle of %s", id.TrustDomain())
		}
	}
	return out, nil
}

func authorities(b *x509bundle.Bundle) []byte { return concat(b.X509Authorities()) }

func concat(certs []*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, c.Raw...)
	}
	return out
}
