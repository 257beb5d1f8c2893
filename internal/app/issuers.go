package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/credence-mesh/credence/internal/admin"
	"github.com/credence-mesh/credence/internal/devissuer"
	"github.com/credence-mesh/credence/policy"
)

// devIssuers runs the development issuers that a development mesh asks for: compile lets no other mesh name one. Safe for concurrent use.
type devIssuers struct {
	state *stateDir
	log   *slog.Logger

	mu      sync.Mutex
	running map[string]*devissuer.Issuer // by URL
	urls    []string
	failed  map[string]string
}

func newDevIssuers(state *stateDir, log *slog.Logger) *devIssuers {
	return &devIssuers{state: state, log: log, running: map[string]*devissuer.Issuer{}, failed: map[string]string{}}
}

// DevIssuerDir is where the key of the development issuer with that URL lies in the state directory.
func DevIssuerDir(state, issuerURL string) string { return state + "/issuer/" + short(issuerURL) }

// Apply starts the issuers that set names and that do not run yet. One that is named no longer runs on until the product ends, and
// nothing trusts it.
func (d *devIssuers) Apply(ctx context.Context, g *errgroup.Group, set *policy.Set) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.urls = nil
	for _, iss := range set.Issuers {
		if !iss.Keys.Development || slices.Contains(d.urls, iss.URL()) {
			continue
		}
		d.urls = append(d.urls, iss.URL())
		if d.running[iss.URL()] != nil {
			continue
		}
		if err := d.start(ctx, g, iss.URL()); err != nil {
			if d.failed[iss.URL()] != err.Error() {
				d.log.Error("the development issuer can't be started", "issuer", iss.URL(), "error", err)
			}
			d.failed[iss.URL()] = err.Error()
			continue
		}
		delete(d.failed, iss.URL())
	}
	slices.Sort(d.urls)
}

func (d *devIssuers) start(ctx context.Context, g *errgroup.Group, issuerURL string) error {
	dir := DevIssuerDir(d.state.path, issuerURL)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	issuer, err := devissuer.Open(dir, issuerURL)
	if err != nil {
		return err
	}
	u, err := url.Parse(issuerURL) //nolint:forbidigo // an operator's URL, checked by devissuer.Open
	if err != nil || u.Scheme != "http" {
		return fmt.Errorf("the issuer of development keys must be an http URL on loopback, not %s", issuerURL)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", u.Host)
	if err != nil {
		return fmt.Errorf("%w: choose another port in spec.issuer of the TokenIssuer", err)
	}
	g.Go(func() error { return admin.Serve(ctx, l, issuer.Handler()) })
	d.running[issuerURL] = issuer
	return nil
}

// JWKS is the key set of the development issuer at issuerURL, for extauthz/jwks, or why it doesn't run.
func (d *devIssuers) JWKS(issuerURL string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if iss := d.running[issuerURL]; iss != nil {
		return iss.JWKS(), nil
	}
	if why := d.failed[issuerURL]; why != "" {
		return nil, errors.New(strings.TrimSpace(why))
	}
	return nil, errors.New("no development issuer runs at this address")
}

func (d *devIssuers) first() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.urls) == 0 {
		return ""
	}
	return d.urls[0]
}
