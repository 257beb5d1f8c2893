package identity

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ErrNoIdentity says that there is no SVID to show, or it has expired.
var ErrNoIdentity = errors.New("no SPIFFE identity")

const handshakeTimeout = 10 * time.Second

// Options of Open. The zero value is what a service needs.
type Options struct {
	// Address of the Workload API, "unix:///path" or "tcp://ip:port". Default: $SPIFFE_ENDPOINT_SOCKET (Workload Endpoint §4).
	Address string
	// HandshakeTimeout is how long a peer may take to show who it is. Default: 10 s.
	HandshakeTimeout time.Duration
	// Log receives what goes wrong, and each identity that is received, never a key. Default: slog.Default().
	Log *slog.Logger
}

// Source is the identity of this process, kept up to date from the Workload API. All methods may be called by several goroutines.
type Source struct {
	log       *slog.Logger
	now       func() time.Time
	handshake time.Duration
	client    *workloadapi.Client
	stop      context.CancelFunc
	ended     chan struct{}

	// state is nil until the first update, and again once the Workload API has said that this process is no workload.
	state atomic.Pointer[state]
	// changed is closed at the first update.
	first chan struct{}
	once  sync.Once
	fault atomic.Pointer[error]
	conns sync.Map // *conn to struct{}
}

// Open asks the Workload API who this process is and blocks until it answers or ctx ends; then the error says what it answered last:
// no Workload recognises this process (PermissionDenied), it is not ready or not there (Unavailable). It keeps asking until then, because
// both pass. ctx bounds the wait only. A goroutine follows the API until Close.
func Open(ctx context.Context, o Options) (*Source, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.HandshakeTimeout <= 0 {
		o.HandshakeTimeout = handshakeTimeout
	}
	if o.Address == "" {
		var set bool
		if o.Address, set = os.LookupEnv(workloadapi.SocketEnv); !set || o.Address == "" {
			return nil, fmt.Errorf("%w: $%s is not set: it names the socket of the Workload API, with credence workloadAPI in endpoints.json", ErrNoIdentity, workloadapi.SocketEnv)
		}
	}
	if err := workloadapi.ValidateAddress(o.Address); err != nil {
		return nil, fmt.Errorf("%w: the address of the Workload API: %w", ErrNoIdentity, err)
	}
	// gRPC's own pauses grow to two minutes: longer than an SVID may be good for.
	pauses := grpc.WithConnectParams(grpc.ConnectParams{
		Backoff: grpcbackoff.Config{BaseDelay: firstPause, Multiplier: 1.6, Jitter: 0.2, MaxDelay: longestPause}, MinConnectTimeout: time.Second,
	})
	run, stop := context.WithCancel(context.Background())
	client, err := workloadapi.New(run, workloadapi.WithAddr(o.Address), workloadapi.WithDialOptions(pauses), workloadapi.WithBackoffStrategy(strategy{}))
	if err != nil {
		stop()
		return nil, fmt.Errorf("%w: %w", ErrNoIdentity, err)
	}
	s := &Source{
		log: o.Log, now: time.Now, handshake: o.HandshakeTimeout, client: client, stop: stop, ended: make(chan struct{}), first: make(chan struct{}),
	}
	go s.follow(run) // ends with Close, which waits for it
	select {
	case <-s.first:
		return s, nil
	case <-ctx.Done():
		err := fmt.Errorf("%w: %w: %w", ErrNoIdentity, ctx.Err(), s.lastFault(o.Address))
		return nil, errors.Join(err, s.Close())
	}
}

// Close forgets the identity: every handshake fails from here on, and open connections of Listen, Client and the gRPC credentials are
// closed. It returns when nothing of the Source runs any more. Later calls do nothing.
func (s *Source) Close() error {
	s.stop()
	<-s.ended
	s.state.Store(nil)
	s.recheck()
	if err := s.client.Close(); err != nil && status.Code(err) != codes.Canceled {
		return err
	}
	return nil
}

// ID is who this process is now; the zero ID where it is nobody.
func (s *Source) ID() spiffeid.ID {
	if st := s.state.Load(); st != nil {
		return st.id
	}
	return spiffeid.ID{}
}

// follow keeps the state up to date until ctx ends. It asks again after InvalidArgument too, which Workload Endpoint §6 advises against: a
// service that never asks again would have no identity until somebody restarts it.
func (s *Source) follow(ctx context.Context) {
	defer close(s.ended)
	pause := strategy{}.NewBackoff()
	for ctx.Err() == nil {
		err := s.client.WatchX509Context(ctx, watcher{s, ctx}) // returns where go-spiffe gives up
		if ctx.Err() != nil {
			return
		}
		s.failed(err)
		select {
		case <-ctx.Done():
		case <-time.After(pause.Next()):
		}
	}
}

// watcher receives the updates.
type watcher struct {
	s   *Source
	ctx context.Context //nolint:containedctx // go-spiffe's callbacks carry none, and the end of the watch is no fault
}

var _ workloadapi.X509ContextWatcher = watcher{}

// OnX509ContextUpdate puts a new SVID and bundles in force, as a whole.
func (w watcher) OnX509ContextUpdate(c *workloadapi.X509Context) { w.s.update(c) }

// OnX509ContextWatchError keeps the reason, and drops the identity where there is none any more.
func (w watcher) OnX509ContextWatchError(err error) {
	if w.ctx.Err() == nil {
		w.s.failed(err)
	}
}

func (s *Source) update(c *workloadapi.X509Context) {
	st, err := newState(c, s.now())
	if err != nil {
		s.failed(err)
		return
	}
	s.state.Store(st)
	s.fault.Store(nil)
	s.log.Info("SVID received", "spiffe_id", st.id.String(), "serial", st.cert.Leaf.SerialNumber.Text(16), "until", st.expires)
	s.once.Do(func() { close(s.first) })
	s.recheck()
}

func (s *Source) failed(err error) {
	s.fault.Store(&err)
	denied := status.Code(err) == codes.PermissionDenied
	s.log.Warn("Workload API", "fault", explain(err), "identity_dropped", denied && s.state.Load() != nil)
	if denied {
		s.state.Store(nil)
		s.recheck()
	}
}

// recheck closes the connections whose peers, or whose own end, are not trusted any more.
func (s *Source) recheck() {
	s.conns.Range(func(c, _ any) bool {
		if c, ok := c.(*conn); ok {
			c.check()
		}
		return true
	})
}

func (s *Source) lastFault(address string) error {
	if err := s.fault.Load(); err != nil {
		return explain(*err)
	}
	return fmt.Errorf("no answer from the Workload API at %s", address)
}

// explain says in words what a status of the Workload API means for a service.
func explain(err error) error {
	switch status.Code(err) {
	case codes.PermissionDenied:
		return fmt.Errorf("no Workload recognises this process: %w", err)
	case codes.Unavailable:
		return fmt.Errorf("the Workload API is not there or not ready: %w", err)
	default:
		return err
	}
}

// current is the state to show or to verify with; an error where there is no identity, or it has expired.
func (s *Source) current() (*state, error) {
	st := s.state.Load()
	if st == nil {
		if err := s.fault.Load(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoIdentity, explain(*err))
		}
		return nil, fmt.Errorf("%w: the Source is closed", ErrNoIdentity)
	}
	if now := s.now(); !now.Before(st.expires) {
		return nil, fmt.Errorf("%w: the SVID of %s has expired at %s", ErrNoIdentity, st.id, st.expires.Format(time.RFC3339))
	}
	return st, nil
}

// verify verifies a chain by the bundles of now. until is when it must be asked again: when the chain ends, or our own SVID.
func (s *Source) verify(certs []*x509.Certificate) (id spiffeid.ID, until time.Time, err error) {
	st, err := s.current()
	if err != nil {
		return spiffeid.ID{}, time.Time{}, err
	}
	if id, until, err = st.verify(certs, s.now()); err == nil && st.expires.Before(until) {
		until = st.expires
	}
	return id, until, err
}
