package jwks

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Bounds of one request.
const (
	fetchTimeout = 5 * time.Second
	maxRedirects = 3
	maxHeader    = 64 << 10
	// maxToken of BearerTokenFile.
	maxToken = 16 << 10
)

// client asks for the documents of one source. Used by one goroutine.
type client struct {
	opts *Options
	// configured is the host and port that the operator wrote; nothing else is trusted with an address inside, or with the token.
	configured authority
	caFile     string
	tokenFile  string

	ca             []byte
	inside, public *http.Client
}

// authority is a lower-case host and a port.
type authority struct{ host, port string }

func authorityOf(u *url.URL) authority {
	port := u.Port()
	if port == "" {
		port = "443"
		if u.Scheme == "http" {
			port = "80"
		}
	}
	return authority{strings.ToLower(u.Hostname()), port}
}

// CheckURL tells whether keys may be fetched from raw: https, or http where the host is loopback; no user information or fragment.
func CheckURL(raw string) error {
	_, err := parseURL(raw, false)
	return err
}

// parseURL reads the URL of a document. insecure permits http.
func parseURL(raw string, insecure bool) (*url.URL, error) {
	u, err := url.Parse(raw) //nolint:forbidigo // an operator's or an issuer's URL, no request target
	switch {
	case err != nil:
		return nil, errors.New("not a URL")
	case u.Hostname() == "" || u.User != nil || u.Fragment != "" || u.Opaque != "":
		return nil, errors.New("must be an absolute URL without user and fragment")
	case u.Scheme == "https" || (u.Scheme == "http" && (insecure || loopback(u.Hostname()))):
		return u, nil
	}
	return nil, errors.New("must be https:// (http:// only for a loopback host, or with insecureTransport)")
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// show is u for people: a query may hold what is not for a log.
func show(u *url.URL) string { return u.Scheme + "://" + u.Host + u.EscapedPath() }

// response is a good answer.
type response struct {
	header http.Header
	body   []byte
	// unchanged is a 304.
	unchanged bool
}

// get fetches u once.
func (c *client) get(ctx context.Context, u *url.URL, accept, etag string) (response, error) {
	r, err := c.try(ctx, u, accept, etag)
	var wrapped *url.Error
	switch {
	case err == nil:
		return r, nil
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no whole answer within %v", fetchTimeout)
	case errors.As(err, &wrapped): // its text has the whole URL
		err = wrapped.Err
	}
	return response{}, fmt.Errorf("GET %s: %w", show(u), err)
}

func (c *client) try(ctx context.Context, u *url.URL, accept, etag string) (_ response, err error) {
	if err := c.prepare(); err != nil {
		return response{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return response{}, err
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", "credence")
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	use := c.public
	if authorityOf(u) == c.configured {
		use = c.inside
		if err := c.authorize(req); err != nil {
			return response{}, err
		}
	}
	defer use.CloseIdleConnections()
	resp, err := use.Do(req)
	if err != nil {
		return response{}, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	return read(resp, etag != "")
}

// read takes the answer apart. Errors say what came, and never quote the body.
func read(resp *http.Response, conditional bool) (response, error) {
	switch {
	case resp.StatusCode == http.StatusNotModified && conditional:
		return response{header: resp.Header, unchanged: true}, nil
	case resp.StatusCode != http.StatusOK:
		return response{}, fmt.Errorf("the answer is %d", resp.StatusCode)
	}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err == nil && (kind == "text/html" || kind == "application/xhtml+xml") {
		return response{}, fmt.Errorf("the answer is %s: perhaps a page of a login or of a proxy", kind)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxBytes+1))
	switch {
	case err != nil:
		return response{}, err
	case len(body) > MaxBytes:
		return response{}, fmt.Errorf("the answer is over %d bytes", MaxBytes)
	}
	return response{header: resp.Header, body: body}, nil
}

// authorize adds the token of BearerTokenFile.
func (c *client) authorize(req *http.Request) error {
	if c.tokenFile == "" {
		return nil
	}
	raw, err := readFile(c.tokenFile)
	if err != nil {
		return fmt.Errorf("keys.bearerTokenFile: %w", err)
	}
	token := strings.TrimRight(string(raw), "\r\n")
	if token == "" || len(token) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("keys.bearerTokenFile: %s does not hold one token", c.tokenFile)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return nil
}

// prepare makes the HTTP clients, again where the file of CAs has changed.
func (c *client) prepare() error {
	var ca []byte
	if c.caFile != "" {
		var err error
		if ca, err = readFile(c.caFile); err != nil {
			return fmt.Errorf("keys.caFile: %w", err)
		}
	}
	if c.inside != nil && bytes.Equal(ca, c.ca) {
		return nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.caFile != "" {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(ca) {
			return fmt.Errorf("keys.caFile: %s has no certificate in PEM", c.caFile)
		}
	}
	c.ca = ca
	c.inside, c.public = c.newClient(c.transport(conf, false)), c.newClient(c.transport(conf, true))
	return nil
}

// transport that connects to public addresses alone, or to any.
func (c *client) transport(conf *tls.Config, public bool) http.RoundTripper {
	if c.opts.Transport != nil {
		return c.opts.Transport
	}
	dialer := &net.Dialer{Timeout: fetchTimeout, Resolver: c.opts.Resolver}
	proxy := c.opts.Proxy
	if public {
		dialer.Control = onlyPublic
		proxy = func(r *http.Request) (*url.URL, error) {
			if p, err := c.opts.Proxy(r); p == nil || err != nil {
				return nil, err
			}
			// The proxy would resolve the name by itself: nothing here could tell what it connects to.
			return nil, errors.New("the key set lies on another host than the metadata, which is not asked through a proxy: write its address into keys.url")
		}
	}
	return &http.Transport{
		Proxy: proxy, DialContext: dialer.DialContext, TLSClientConfig: conf, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 1,
		IdleConnTimeout: fetchTimeout, TLSHandshakeTimeout: fetchTimeout, MaxResponseHeaderBytes: maxHeader,
	}
}

func (c *client) newClient(rt http.RoundTripper) *http.Client {
	return &http.Client{Transport: rt, CheckRedirect: checkRedirect}
}

// checkRedirect follows only to the same host and port, and once from http to https on that host: whoever controls another host must not
// choose keys.
func checkRedirect(req *http.Request, via []*http.Request) error {
	last := via[len(via)-1].URL
	upgrade := last.Scheme == "http" && req.URL.Scheme == "https"
	switch {
	case len(via) > maxRedirects:
		return errors.New("too many redirects")
	case !strings.EqualFold(req.URL.Hostname(), last.Hostname()):
		return errors.New("a redirect to another host")
	case req.URL.Scheme != last.Scheme && !upgrade:
		return errors.New("a redirect away from https")
	case !upgrade && authorityOf(req.URL) != authorityOf(last):
		return errors.New("a redirect to another port")
	case req.URL.User != nil:
		return errors.New("a redirect with a user")
	}
	if authorityOf(req.URL) != authorityOf(via[0].URL) {
		// It is meant for the configured port alone. The client gives it to every request of the host anew.
		req.Header.Del("Authorization")
	}
	return nil
}
