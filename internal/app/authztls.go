package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc/credentials"

	"github.com/credence-mesh/credence/identity/svid"
)

// TLSOptions of Checks over TCP. All are required: without them anybody who reaches the port could ask what is allowed, and say who asks.
type TLSOptions struct {
	// CertFile and KeyFile are ours, ClientCAFile the CAs that a client's certificate must be of; PEM, read anew when they change.
	CertFile, KeyFile, ClientCAFile string
	// Clients are the SPIFFE IDs and DNS names (exact) of the clients that may call. Another certificate of the same CA is not enough.
	Clients []string
}

// ErrTLSOptions is returned for TLSOptions that can't be meant.
var ErrTLSOptions = errors.New("mTLS is incomplete")

// Check says what of o is missing or wrong.
func (o TLSOptions) Check() error {
	if o.CertFile == "" || o.KeyFile == "" || o.ClientCAFile == "" || len(o.Clients) == 0 {
		return fmt.Errorf("%w: Checks over TCP need --tls-cert, --tls-key, --tls-client-ca and at least one --allow-client; without them anybody who reaches the port could ask, and say for whom. On one machine use --socket", ErrTLSOptions)
	}
	for _, c := range o.Clients {
		if strings.Contains(c, "://") {
			if id, err := spiffeid.FromString(c); err != nil || id.Path() == "" {
				return fmt.Errorf("%w: %q is no SPIFFE ID of a workload", ErrTLSOptions, c)
			}
			continue
		}
		if c == "" || strings.ContainsAny(c, "*/ ,:") {
			return fmt.Errorf("%w: %q is neither a SPIFFE ID nor an exact DNS name", ErrTLSOptions, c)
		}
	}
	return nil
}

// tlsFiles are certificate, key and client CAs as they lie on disk. What does not load leaves the last good ones in place. Safe for
// concurrent use.
type tlsFiles struct {
	opts TLSOptions
	log  *slog.Logger
	now  func() time.Time

	current atomic.Pointer[tlsMaterial]
	mu      sync.Mutex
	failed  string
}

// tlsMaterial is one reading of the files. It is immutable.
type tlsMaterial struct {
	pems   [3][]byte
	pair   tls.Certificate
	client *x509.CertPool
}

// newTLSFiles reads the files once; what can't be used then is an error.
func newTLSFiles(o TLSOptions, log *slog.Logger, now func() time.Time) (*tlsFiles, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	f := &tlsFiles{opts: o, log: log, now: now}
	m, err := f.read()
	if err != nil {
		return nil, err
	}
	f.current.Store(m)
	return f, nil
}

// Run looks for changed files until ctx ends.
func (f *tlsFiles) Run(ctx context.Context) error {
	tick := time.NewTicker(certificatePoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			f.load()
		}
	}
}

// load takes what has changed.
func (f *tlsFiles) load() {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, err := f.read()
	if err != nil {
		if f.failed != err.Error() {
			f.log.Error("the files of mTLS can't be used; the last good ones stay", "error", err)
		}
		f.failed = err.Error()
		return
	}
	f.failed = ""
	if old := f.current.Load(); !m.equal(old) {
		f.current.Store(m)
		f.log.Info("the files of mTLS have changed and are in use")
	}
}

// problem is why the newest files are not in use; empty: they are.
func (f *tlsFiles) problem() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

func (m *tlsMaterial) equal(o *tlsMaterial) bool {
	return slices.EqualFunc(m.pems[:], o.pems[:], bytes.Equal)
}

func (f *tlsFiles) read() (*tlsMaterial, error) {
	m := &tlsMaterial{client: x509.NewCertPool()}
	for i, file := range []string{f.opts.CertFile, f.opts.KeyFile, f.opts.ClientCAFile} {
		var err error
		if m.pems[i], err = readPEM(file); err != nil {
			return nil, err
		}
	}
	var err error
	if m.pair, err = tls.X509KeyPair(m.pems[0], m.pems[1]); err != nil {
		return nil, fmt.Errorf("%s and %s: %w", f.opts.CertFile, f.opts.KeyFile, err)
	}
	if !m.client.AppendCertsFromPEM(m.pems[2]) {
		return nil, fmt.Errorf("%s holds no certificate", f.opts.ClientCAFile)
	}
	return m, nil
}

// verify says which of the allowed clients the chain is, and until when; everything is checked, the CA too.
func (f *tlsFiles) verify(m *tlsMaterial, chain []*x509.Certificate) (name string, until time.Time, err error) {
	if len(chain) == 0 {
		return "", time.Time{}, errors.New("the client has shown no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	verified, err := chain[0].Verify(x509.VerifyOptions{
		Roots: m.client, Intermediates: between, CurrentTime: f.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("the client's certificate: %w", err)
	}
	// A chain ends with the first of its certificates.
	for _, c := range verified[0] {
		if until.IsZero() || c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	leaf := chain[0]
	uris, err := svid.URINames(leaf)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("the client's certificate: %w", err)
	}
	for _, allowed := range f.opts.Clients {
		// An SVID has exactly one URI (X509-SVID §2): of two nobody could say which one is meant.
		if len(uris) == 1 && uris[0] == allowed {
			return allowed, until, nil
		}
		if !strings.Contains(allowed, "://") && slices.ContainsFunc(leaf.DNSNames, func(n string) bool { return strings.EqualFold(n, allowed) }) {
			return allowed, until, nil
		}
	}
	return "", time.Time{}, errors.New("the client's certificate is good and its name is not one of --allow-client")
}

// newTLSCallers lets in clients whose certificate is of the CAs and whose name is allowed. A certificate that has run out since, or
// whose CA has left the file, is not believed any longer on an open connection either: proxies keep theirs for days.
func newTLSCallers(f *tlsFiles) credentials.TransportCredentials {
	config := &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			m := f.current.Load()
			return &tls.Config{
				MinVersion:   tls.VersionTLS13,
				Certificates: []tls.Certificate{m.pair},
				NextProtos:   []string{"h2"},
				// VerifyConnection verifies the chain; the client is told of the CAs here.
				ClientAuth: tls.RequireAndVerifyClientCert,
				ClientCAs:  m.client,
				// A resumed session would skip the CAs of today.
				SessionTicketsDisabled: true,
				VerifyConnection: func(s tls.ConnectionState) error {
					_, _, err := f.verify(m, s.PeerCertificates)
					return err
				},
			}, nil
		},
	}
	inner := credentials.NewTLS(config)
	return serverOnly{"tls", func(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
		conn, info, err := inner.ServerHandshake(c)
		if err != nil {
			return nil, nil, err
		}
		state, ok := info.(credentials.TLSInfo)
		if !ok {
			return nil, nil, errors.Join(errors.New("not a TLS connection"), conn.Close())
		}
		m := f.current.Load()
		name, until, err := f.verify(m, state.State.PeerCertificates)
		if err != nil {
			return nil, nil, errors.Join(err, conn.Close())
		}
		return conn, caller{
			CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, name: name,
			still: stillGood(f, verdict{m, until}, state.State.PeerCertificates),
		}, nil
	}}
}

// verdict is that a chain is good by these files until then.
type verdict struct {
	by    *tlsMaterial
	until time.Time
}

// stillGood verifies the chain again when the files have changed, and looks at the clock each time.
func stillGood(f *tlsFiles, first verdict, chain []*x509.Certificate) func() error {
	var last atomic.Pointer[verdict]
	last.Store(&first)
	return func() error {
		m, v := f.current.Load(), last.Load()
		if m == v.by && f.now().Before(v.until) {
			return nil
		}
		_, until, err := f.verify(m, chain)
		if err != nil {
			return err
		}
		last.Store(&verdict{m, until})
		return nil
	}
}
