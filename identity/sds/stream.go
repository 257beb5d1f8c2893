package sds

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/identity/attest"
)

// dialect is what differs between state-of-the-world and delta.
type dialect[Req any] interface {
	// accept takes one request in. It returns an error for a malformed one.
	accept(req Req) error
	// names that the client is subscribed to, sorted.
	names() []string
	// send answers with what the client doesn't have yet: current holds what there is, unknown what it may not have or doesn't exist.
	send(current []secret, unknown []string) error
}

// run serves one stream until it ends. receive blocks; it ends with the stream's context.
func run[Req any](ctx context.Context, s *Server, receive func() (Req, error), d dialect[Req]) error {
	p, err := attest.FromContext(ctx)
	if err != nil {
		return toStatus(err)
	}
	requests := make(chan Req)
	ended := make(chan error, 1)
	// Owned by the stream: gRPC ends it, and with it receive and ctx, once this function has returned.
	go func() {
		for {
			req, err := receive()
			if err != nil {
				ended <- err
				return
			}
			select {
			case requests <- req:
			case <-ctx.Done():
				return
			}
		}
	}()
	tick := time.NewTicker(s.recheck)
	defer tick.Stop()
	for {
		changes := [...]<-chan struct{}{s.entitlements.Changed(), s.svids.Changed(), s.bundles.Changed(), s.certificates.Changed()}
		if err := s.answer(ctx, p, d.names(), d.send); err != nil {
			return err
		}
		select {
		case <-ctx.Done(): // receive may have ended without a word
			return grpcstatus.FromContextError(ctx.Err()).Err()
		case req := <-requests:
			if err := d.accept(req); err != nil {
				return err
			}
		case err := <-ended:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		case <-p.Done():
			return toStatus(attest.ErrGone)
		case <-changes[0]:
		case <-changes[1]:
		case <-changes[2]:
		case <-changes[3]:
		case <-tick.C:
		}
	}
}

// answer asks for entitlement again and sends what there is. Before the first complete configuration it waits: Envoy's back-off would be slower.
func (s *Server) answer(ctx context.Context, p *attest.Process, names []string, send func([]secret, []string) error) error {
	if len(names) == 0 {
		return nil
	}
	ids, err := s.entitlements.Entitled(ctx, p)
	switch {
	case errors.Is(err, attest.ErrNotReady):
		return nil
	case err == nil && len(ids) == 0:
		err = &attest.NotEntitledError{Reason: "the process matches nothing"}
	}
	if err != nil {
		s.log.Info("no identity issued", "pid", p.PID(), "uid", p.UID(), "error", err)
		return toStatus(err)
	}
	var current []secret
	var unknown []string
	for _, name := range names {
		found, err := s.lookup(ctx, caller{process: p, ids: ids}, name)
		switch {
		case err == nil:
			current = append(current, found)
		case errors.Is(err, ErrUnknown):
			unknown = append(unknown, name)
		default:
			// Kept back: what the proxy has stays in use.
			s.log.Error("a secret is not fit to be sent", "pid", p.PID(), "error", err)
		}
	}
	return send(current, unknown)
}

func toStatus(err error) error {
	var denied *attest.NotEntitledError
	switch {
	case errors.As(err, &denied):
		return grpcstatus.Error(codes.PermissionDenied, denied.Error())
	case errors.Is(err, attest.ErrChanged), errors.Is(err, attest.ErrGone), errors.Is(err, attest.ErrNoProcess):
		return grpcstatus.Error(codes.PermissionDenied, "no identity issued: "+err.Error())
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return grpcstatus.FromContextError(err).Err()
	default:
		return grpcstatus.Error(codes.Unavailable, err.Error())
	}
}

func checkRequest(typeURL string, names []string) error {
	if typeURL != "" && typeURL != TypeURL {
		return grpcstatus.Errorf(codes.InvalidArgument, "type %q: only secrets are served here", typeURL)
	}
	for _, n := range names {
		if n == "" || n == "*" || len(n) > maxName {
			return grpcstatus.Error(codes.InvalidArgument, "a secret's name must be explicit and no longer than 2048 bytes")
		}
	}
	return nil
}

func checkCount(n int) error {
	if n > maxNames {
		return grpcstatus.Errorf(codes.ResourceExhausted, "more than %d secrets on one stream", maxNames)
	}
	return nil
}

// nonces numbers responses.
type nonces struct{ n uint64 }

func (n *nonces) next() string {
	n.n++
	return strconv.FormatUint(n.n, 10)
}

func (n *nonces) last() string { return strconv.FormatUint(n.n, 10) }

func (s *Server) logRefusal(detail *status.Status, node string) {
	if detail != nil {
		s.log.Error("a proxy has refused a secret", "node", node, "error", detail.GetMessage())
	}
}
