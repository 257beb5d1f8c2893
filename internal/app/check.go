package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/credence-mesh/credence/extauthz"
	"github.com/credence-mesh/credence/extauthz/credential"
	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/extauthz/revocation"
	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/dir"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/compile"
	"github.com/credence-mesh/credence/policy/decide"
)

// Question is a request that Check is asked about.
type Question struct {
	// Dir is the directory of manifests.
	Dir string
	// Gateway that the request comes in by; the zero value: the one that listens at the URL's port, or the only one. Or Workload and the name
	// of its Port, empty: the only one.
	Gateway, Workload policy.Name
	Port              string
	// Method and URL: scheme://host[:port]/path[?query]; of a Workload the path alone is enough.
	Method, URL string
	Headers     []decide.Header
	// Token is sent as Authorization: Bearer, and verified.
	Token string
	// Claims are those of a token of Issuer that needs no signature.
	Claims []byte
	Issuer policy.Name
	// Peer is the SPIFFE ID of the calling workload, or its name; empty: none.
	Peer string
}

// ErrCannotTell is the error of a question that has no answer by these manifests; the text says why.
var ErrCannotTell = errors.New("it can't be told")

// Check answers q by the manifests alone, with the very code that answers proxies: nothing runs, and no proxy is asked. Keys of issuers
// are fetched where they are not in the manifests. faults are what is wrong with the manifests: the answer is by what is left of them.
func Check(ctx context.Context, q Question) (_ *admin.Decision, faults []manifests.Diagnostic, _ error) {
	set, faults, err := compiled(ctx, q.Dir)
	if err != nil {
		return nil, faults, err
	}
	at, err := aim(set, &q)
	if err != nil {
		return nil, faults, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	keys := jwks.New(jwks.Options{Development: func(string) ([]byte, error) {
		return nil, errors.New("the development issuer runs with the mesh alone: use --claims")
	}, Log: discard()})
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return keys.Run(ctx) })
	defer func() { cancel(); _ = g.Wait() }()
	c, err := newChecker(set, keys)
	if err != nil {
		return nil, faults, err
	}
	d, err := c.check(ctx, &at, &q)
	return d, faults, err
}

// checker answers questions about one Set.
type checker struct {
	set       *policy.Set
	verifiers *verifiers
	revoked   *revocation.Set // by the manifests
}

func newChecker(set *policy.Set, keys *jwks.Keys) (*checker, error) {
	v, err := newVerifiers(keys, nil, discard(), prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	revoked, err := revocation.Open(context.Background(), revocation.Options{})
	if err != nil {
		return nil, err
	}
	revoked.Publish(set)
	return &checker{set: set, verifiers: v, revoked: revoked}, v.publish(set)
}

func (c *checker) check(ctx context.Context, at *aimed, q *Question) (*admin.Decision, error) {
	use, headers := c.verifiers.snapshot(), slices.Clone(q.Headers)
	switch {
	case q.Claims != nil:
		user, err := c.verifiers.tokens.assume(q.Issuer, q.Claims)
		if err != nil {
			return nil, fmt.Errorf("%w: --claims: %s", ErrQuestion, credentialText(err))
		}
		use.Tokens = assumed{user}
		headers = append(headers, decide.Header{Name: "authorization", Value: "Bearer assumed"})
	case q.Token != "":
		headers = append(headers, decide.Header{Name: "authorization", Value: "Bearer " + q.Token})
	}
	server, err := extauthz.New(extauthz.Options{
		Callers: askedFor(at.proxy), Verifier: use.Tokens, Snapshot: func() extauthz.Verifiers { return use },
		PeerID: func(id string) (string, error) { return id, nil }, Revocations: c.revoked,
	})
	if err != nil {
		return nil, err
	}
	server.Publish(c.set, 1)
	ask := extauthz.Question{Route: at.route, Method: q.Method, Scheme: at.scheme, Host: at.host, Path: at.path, Headers: headers, Certificate: at.peer}
	e := server.Examine(ctx, &ask)
	fetched := slices.ContainsFunc(c.set.Issuers, func(i policy.Issuer) bool { return !i.Keys.Development })
	for fetched && e.Status == 503 && strings.HasSuffix(e.Reason, ":no_keys") && ctx.Err() == nil {
		// The keys are on their way.
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
			e = server.Examine(ctx, &ask)
		}
	}
	if e.Status == 503 && strings.HasSuffix(e.Reason, ":no_keys") {
		return nil, fmt.Errorf("%w: %s; those of a development issuer are known to the running mesh alone: use --claims", ErrCannotTell, e.Detail)
	}
	d := decisionOf(&e)
	if (q.Claims != nil || q.Token != "") && e.User == nil && e.Facts != nil {
		d.Detail = "no policy of this route reads bearer tokens, so --token and --claims do not count"
	}
	d.ID, d.Time = "", time.Time{}
	return d, nil
}

func credentialText(err error) string {
	if credential.Reason(err) != "" {
		return credential.Detail(err)
	}
	return err.Error()
}

// decisionOf is e for people.
func decisionOf(e *extauthz.Examination) *admin.Decision {
	d := &admin.Decision{
		ID: e.ID, Time: e.Time, Proxy: string(e.Proxy), Method: e.Method, Host: e.Host, Path: e.Path, Peer: e.Peer, User: explainedUser(e.User),
		Allowed: e.Allowed, Status: e.Status, Reason: e.Reason, Detail: e.Detail, Revocation: e.Revocation, Levels: []admin.DecisionLevel{},
	}
	if e.Route != nil {
		d.Route = e.Route.Origin()
	}
	if x, ok := e.Explanation(); ok {
		explained(d, &x)
	}
	return d
}

type assumed struct{ user *decide.User }

// Verify takes anything, and only the issuer's acceptance counts.
func (a assumed) Verify(_ context.Context, _ string, accepted []policy.Name) (*decide.User, error) {
	if !slices.Contains(accepted, a.user.Issuer) {
		return nil, credential.Invalid("issuer_not_accepted", "no policy of this route accepts TokenIssuer %s", a.user.Issuer)
	}
	return a.user, nil
}

type askedFor policy.ProxyID

// Caller is always the one.
func (p askedFor) Caller(context.Context) (policy.ProxyID, error) { return policy.ProxyID(p), nil }

// compiled reads and compiles the manifests once, and has the errors in them.
func compiled(ctx context.Context, path string) (*policy.Set, []manifests.Diagnostic, error) {
	if err := notFile(path); err != nil {
		return nil, nil, err
	}
	source, err := dir.New(dir.Options{Dir: path, Decode: decodeFile, Log: discard()})
	if err != nil {
		return nil, nil, err
	}
	s, err := source.Read(ctx)
	if err != nil {
		return nil, nil, err
	}
	set, diagnostics := compile.Compile(compile.Input{Objects: s.Objects, Missing: s.Missing})
	faults := slices.DeleteFunc(manifests.Sort(append(s.Diagnostics, diagnostics...)), func(d manifests.Diagnostic) bool { return d.Severity != manifests.Error })
	if set == nil || !s.OK {
		return nil, faults, fmt.Errorf("%w: there is no valid Mesh in %s", ErrCannotTell, path)
	}
	return set, faults, nil
}
