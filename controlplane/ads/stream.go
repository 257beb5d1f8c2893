package ads

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/policy"
)

// transport is one discovery stream of either protocol.
type transport interface {
	Context() context.Context
	// recv returns the next request and the node in it, if any.
	recv() (request, *corev3.Node, error)
	send(response) error
}

// stream is one client of a proxy. The goroutine of the RPC alone touches the session.
type stream struct {
	id      policy.ProxyID
	proxy   *proxy
	session *session
	wake    chan struct{}
	removed chan struct{}
}

func (st *stream) notify() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// message is what the receiving goroutine of a stream hands over.
type message struct {
	request request
	node    string
	version string
	named   bool
	err     error
}

// serve runs one stream until the client or the proxy goes.
func (s *Server) serve(t transport, delta bool) error {
	id, err := s.o.Callers.Caller(t.Context())
	if err != nil {
		s.o.Log.Warn("refused a discovery stream", slog.Any("error", err))
		return status.Error(codes.PermissionDenied, "the caller is not an attested proxy")
	}
	st := &stream{
		id: id, wake: make(chan struct{}, 1), removed: make(chan struct{}),
		session: &session{
			delta: delta, gate: s.o.Gate, grace: s.o.Grace, maxBytes: s.o.MaxMessage, prefix: rand.Text()[:12], types: map[string]*subscription{},
		},
	}
	messages := make(chan message)
	// Ends with the RPC: recv fails once this function has returned, and nothing blocks on a finished context.
	go receive(t, messages)
	defer s.closed(st)
	return s.loop(t, st, messages)
}

func receive(t transport, messages chan<- message) {
	for {
		r, node, err := t.recv()
		m := message{request: r, err: err}
		if node != nil {
			// Envoy's node carries 61 kB of extensions: two strings of it are kept.
			m.node, m.version, m.named = node.GetId(), envoyVersion(node), true
		}
		select {
		case messages <- m:
		case <-t.Context().Done():
			return
		}
		if err != nil {
			return
		}
	}
}

func (s *Server) loop(t transport, st *stream, messages <-chan message) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case m := <-messages:
			if m.err != nil {
				if errors.Is(m.err, io.EOF) {
					return nil
				}
				return m.err
			}
			if err := s.admit(st, m); err != nil {
				return err
			}
			s.heard(st, st.session.request(m.request))
		case <-st.wake:
		case <-timer.C:
		case <-st.removed:
			return status.Error(codes.Unavailable, "the proxy is not part of the mesh any more")
		case <-t.Context().Done():
			return status.FromContextError(t.Context().Err()).Err()
		}
		if st.proxy == nil {
			continue
		}
		until, err := s.push(t, st)
		if err != nil {
			return err
		}
		if !until.IsZero() {
			timer.Reset(max(until.Sub(s.o.Now()), time.Millisecond))
		}
	}
}

// push sends what is due and returns when to look again.
func (s *Server) push(t transport, st *stream) (time.Time, error) {
	st.session.view, st.session.generation = s.latest(st)
	responses, until := st.session.next(s.o.Now())
	s.sent(st, responses)
	for _, r := range responses {
		if err := t.send(r); err != nil {
			return time.Time{}, fmt.Errorf("send to %s: %w", st.id, err)
		}
	}
	if st.session.overflow() {
		return time.Time{}, status.Error(codes.ResourceExhausted, "too many types, or too many responses without an answer")
	}
	if st.session.settled() {
		s.settled(st, st.session.generation)
	}
	return until, nil
}

// admit checks what the client says of itself against what its transport proves.
func (s *Server) admit(st *stream, m message) error {
	if m.request.typeURL == "" {
		return status.Error(codes.InvalidArgument, "a request on an aggregated stream needs a type_url")
	}
	if !m.named && st.proxy != nil {
		return nil
	}
	if policy.ProxyID(m.node) != st.id {
		s.o.Log.Warn("refused a discovery stream: node.id is not the caller's",
			slog.String("proxy", string(st.id)), slog.String("node", m.node))
		return status.Errorf(codes.PermissionDenied, "node.id %q is not the id of the calling proxy", m.node)
	}
	if st.proxy != nil {
		return nil
	}
	if tooOld(m.version) {
		return status.Errorf(codes.FailedPrecondition, "Envoy %s is older than %s", m.version, minimumEnvoy)
	}
	s.open(st, m.version)
	return nil
}
