package extauthz

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/credence-mesh/credence/extauthz/dpop"
	"github.com/credence-mesh/credence/extauthz/txntoken"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

// Callers says who is on the other end of the connection that ctx belongs to: an attested proxy, else an error.
type Callers interface {
	Caller(ctx context.Context) (policy.ProxyID, error)
}

// Verifier verifies one kind of credential by the objects (TokenIssuers, Credentials) that the route accepts. Its errors wrap
// credential.ErrInvalid, ErrLimited or ErrUnavailable; any other error counts as the last. A nil User without an error does too.
type Verifier interface {
	Verify(ctx context.Context, raw string, accepted []policy.Name) (*decide.User, error)
}

// KeyVerifier verifies API keys.
type KeyVerifier interface {
	Verifier
	// Knows tells whether raw is an API key of one of these Credentials, or has the form of their keys, good or not: then it is no token.
	Knows(raw string, accepted []policy.Name) bool
}

// Verifiers are one Verifier per kind of credential. Where there is none, no credential of that kind can be verified: 503.
type Verifiers struct {
	// Tokens takes what follows "Bearer " or "DPoP ", JWTs and opaque tokens.
	Tokens Verifier
	// Basic takes what follows "Basic ".
	Basic Verifier
	// APIKeys takes the whole key.
	APIKeys KeyVerifier
	// Certificates takes the URL-encoded PEM of the client's certificate.
	Certificates Verifier
	// Internal takes the Txn-Token; accepted is empty.
	Internal Verifier
}

// Minter makes internal tokens. Its errors are answered with 503; an empty token without an error is one.
type Minter interface {
	Mint(ctx context.Context, r *txntoken.Request) (string, error)
}

// Revocations tell what has been revoked. They are asked on every Check, after the credential was found good, cached or not.
type Revocations interface {
	// Revoked is the id of a revocation that covers u at that time, "" where none does. It does not block.
	Revoked(u *decide.User, now time.Time) string
}

// Options of a Server. Callers, Verifier and PeerID are required.
type Options struct {
	Callers  Callers
	Verifier Verifier
	// Snapshot gives what verifies by the objects that were published last, and by no later ones. Publish calls it, so that rules are never
	// judged with the issuers of another Set. Nil: Verifier, for tokens alone, always.
	Snapshot func() Verifiers
	// Minter makes the internal tokens of a Set that asks for them. Nil: such requests get 503.
	Minter Minter
	// Revocations: nil: nothing is revoked.
	Revocations Revocations
	// PeerID reads the SPIFFE ID out of the URL-encoded PEM of one certificate, strictly (X509-SVID §5.2).
	PeerID func(urlEncodedPEM string) (string, error)
	// Lookup has routes found by host and path; nil: proxies send the id of the route that they chose, as ours do.
	Lookup *Lookup
	// Log receives one record per Check. Nil: none.
	Log *slog.Logger
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Metrics is where the Server's metrics are registered. Nil: nowhere.
	Metrics prometheus.Registerer
}

// Server answers Checks. Until the first Publish every answer is "cannot tell". All methods are safe for concurrent use.
type Server struct {
	authv3.UnimplementedAuthorizationServer
	callers  Callers
	snapshot func() Verifiers
	peers    *peers
	// byLookup is Options.Lookup.
	byLookup *Lookup
	log      *slog.Logger
	now      func() time.Time
	metrics  *metrics
	proofs   *dpop.Verifier
	recent   recent
	// minter and revocations are those of Options.
	minter      Minter
	revocations Revocations

	publishing sync.Mutex
	state      atomic.Pointer[state]
	// interest is what is decoded of a request; it is never less than what state needs.
	interest atomic.Pointer[interest]
}

var _ authv3.AuthorizationServer = (*Server)(nil)

// New makes a Server. It starts nothing.
func New(o Options) (*Server, error) {
	if o.Callers == nil || o.Verifier == nil || o.PeerID == nil {
		return nil, errors.New("extauthz: Callers, Verifier and PeerID are required")
	}
	if o.Lookup != nil && o.Lookup.Gateway == nil {
		return nil, errors.New("extauthz: a Lookup needs to know its Gateway")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Snapshot == nil {
		o.Snapshot = func() Verifiers { return Verifiers{Tokens: o.Verifier} }
	}
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, fmt.Errorf("extauthz: %w", err)
	}
	return &Server{
		callers: o.Callers, snapshot: o.Snapshot, peers: newPeers(o.PeerID, o.Now), byLookup: o.Lookup, log: o.Log, now: o.Now, metrics: m,
		minter: o.Minter, revocations: o.Revocations, proofs: dpop.New(dpop.Options{Now: o.Now}),
	}, nil
}

// Register adds the Authorization service to a gRPC server that was made with ServerOptions.
func (s *Server) Register(r grpc.ServiceRegistrar) { authv3.RegisterAuthorizationServer(r, s) }

// Check implements envoy.service.auth.v3.Authorization. It returns an allow only with a Decision that allows and a context that has
// not ended; everything else is a deny, or a gRPC error where it cannot be told (Envoy answers 503 to both errors and ends of time).
func (s *Server) Check(ctx context.Context, req *authv3.CheckRequest) (resp *authv3.CheckResponse, err error) {
	c := check{started: s.now(), id: newDecisionID()}
	defer func() {
		if p := recover(); p != nil {
			// The value is not logged: it could hold what the request holds.
			s.metrics.panics.Inc()
			s.log.LogAttrs(ctx, slog.LevelError, "check panicked", slog.String("decision", c.id),
				slog.String("type", fmt.Sprintf("%T", p)), slog.String("stack", string(debug.Stack())))
			c.outcome = outcome{kind: unavailable, reason: reasonInternal}
			resp, err = respond(&c), nil
		}
	}()
	err = s.run(ctx, req, &c)
	if err == nil {
		resp, err = seal(ctx, respond(&c))
	}
	if err != nil {
		resp = nil
		c.failed(err)
	}
	s.record(ctx, &c)
	s.recent.add(&c, resp)
	if ended := alive(ctx); ended != nil && err == nil {
		// The log took too long: Envoy has answered by now, and an allow that nobody waits for stays unsaid.
		return nil, ended
	}
	return resp, err
}
