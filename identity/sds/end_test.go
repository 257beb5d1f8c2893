package sds_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/credence-mesh/credence/identity/attest"
	"github.com/credence-mesh/credence/identity/sds"
)

// heard tells of each message that a server has received.
type heard struct {
	grpc.ServerStream
	message chan struct{}
}

func (h heard) RecvMsg(m any) error {
	err := h.ServerStream.RecvMsg(m)
	if err == nil {
		h.message <- struct{}{}
	}
	return err
}

// A stream that ends while a request of it waits ends at once, not when entitlement is asked for again.
func TestEndWithARequestWaiting(t *testing.T) {
	messages, streams, over := make(chan struct{}), make(chan context.Context, 1), make(chan error, 1)
	st, client := startWith(t, sds.Options{Recheck: time.Hour}, grpc.Creds(attest.Credentials()),
		grpc.StreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			streams <- ss.Context()
			err := next(srv, heard{ss, messages})
			over <- err
			return err
		}))
	for range 20 { // which of two things that are due comes first is chance
		asked, release := make(chan struct{}, 1), make(chan struct{})
		st.set(func(s *state) {
			s.err = attest.ErrNotReady
			s.hold = func() {
				select {
				case asked <- struct{}{}:
				default:
				}
				<-release
			}
		})
		ctx, cancel := context.WithCancel(limited(t))
		stream, err := client.StreamSecrets(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := stream.Send(&sotwRequest{TypeUrl: sds.TypeURL, ResourceNames: []string{orders}}); err != nil {
				t.Fatal(err)
			}
			<-messages
		}
		<-asked
		cancel()
		<-(<-streams).Done()
		close(release)
		select {
		case <-over:
		case <-time.After(10 * time.Second):
			t.Fatal("the stream has not ended 10 s after its client")
		}
	}
}
