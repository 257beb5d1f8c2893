package introspect

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/credence-mesh/credence/policy"
)

// Bounds of one question.
const (
	askTimeout = 5 * time.Second
	idle       = 30 * time.Second
	maxBody    = 64 << 10
	maxHeader  = 16 << 10
	maxSecret  = 16 << 10
	maxCA      = 1 << 20
)

// client puts questions to one server. Safe for concurrent use.
type client struct {
	conf *policy.Introspection
	opts *Options
	url  string

	mu     sync.Mutex
	ca     []byte
	client *http.Client
}

func newClient(conf *policy.Introspection, o *Options) (*client, error) {
	u, err := url.Parse(conf.URL) //nolint:forbidigo // an operator's URL, no request target
	switch {
	case err != nil:
		return nil, errors.New("introspection.url is not a URL")
	case u.Hostname() == "" || u.User != nil || u.Fragment != "" || u.Opaque != "":
		return nil, errors.New("introspection.url must be an absolute URL without user and fragment")
	case u.Scheme != "https" && (u.Scheme != "http" || !conf.Insecure && !loopback(u.Hostname())):
		return nil, errors.New("introspection.url must be https:// (http:// only for a loopback host, or with insecureTransport)")
	case (conf.ClientID == "") != (conf.SecretFile == ""):
		return nil, errors.New("introspection needs a client id and a secret, or a token")
	case (conf.ClientID == "") == (conf.BearerTokenFile == ""):
		return nil, errors.New("introspection needs either a client id and a secret, or a token")
	}
	return &client{conf: conf, opts: o, url: conf.URL}, nil
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// ask puts one question (RFC 7662 §2.1). Errors hold neither the token nor what authenticates us, and never quote a body.
func (c *client) ask(ctx context.Context, raw string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	body, err := c.try(ctx, raw)
	var wrapped *url.Error
	switch {
	case err == nil:
		return body, nil
	case errors.Is(err, context.DeadlineExceeded):
		return nil, errors.New("no whole answer in time")
	case errors.As(err, &wrapped): // its text has the whole URL
		return nil, wrapped.Err
	}
	return nil, err
}

func (c *client) try(ctx context.Context, raw string) (_ []byte, err error) {
	authorization, err := c.authorization()
	if err != nil {
		return nil, err
	}
	if err := c.prepare(); err != nil {
		return nil, err
	}
	form := url.Values{"token": {raw}, "token_type_hint": {"access_token"}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, strings.NewReader(form))
	if err != nil {
		return nil, err
	}
	// A question that is put twice does no harm: where a kept connection turns out to be closed, the transport asks anew. The header is not
	// sent.
	req.Header["Idempotency-Key"] = []string{}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", c.wanted())
	req.Header.Set("Authorization", authorization)
	req.Header.Set("User-Agent", "credence")
	resp, err := c.current().Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	return c.read(resp)
}

func (c *client) wanted() string {
	if c.conf.JWT {
		return typeSigned
	}
	return typeJSON
}

// read takes an answer apart.
func (c *client) read(resp *http.Response) ([]byte, error) {
	if resp.StatusCode != http.StatusOK {
		return nil, &refusedError{resp.StatusCode}
	}
	if kinds := resp.Header.Values("Content-Type"); len(kinds) != 1 || mediaType(kinds[0]) != c.wanted() {
		return nil, fmt.Errorf("the answer is %.64q, not %s", strings.Join(kinds, ", "), c.wanted())
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, err
	case len(body) > maxBody:
		return nil, fmt.Errorf("the answer is over %d bytes", maxBody)
	}
	return body, nil
}

// authorization says who asks: by what the files hold now.
func (c *client) authorization() (string, error) {
	if c.conf.BearerTokenFile != "" {
		token, err := readSecret(c.conf.BearerTokenFile)
		if err != nil {
			return "", fmt.Errorf("introspection.bearerTokenFile: %w", err)
		}
		return "Bearer " + token, nil
	}
	secret, err := readSecret(c.conf.SecretFile)
	if err != nil {
		return "", fmt.Errorf("introspection.clientSecretFile: %w", err)
	}
	// RFC 6749 §2.3.1: both are encoded as in a form before they are put together.
	pair := url.QueryEscape(c.conf.ClientID) + ":" + url.QueryEscape(secret)
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair)), nil
}

func readSecret(path string) (string, error) {
	raw, err := readFile(path, maxSecret)
	if err != nil {
		return "", err
	}
	secret := strings.TrimRight(string(raw), "\r\n")
	if secret == "" || strings.ContainsFunc(secret, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", fmt.Errorf("%s does not hold one line of ASCII", path)
	}
	return secret, nil
}

// prepare makes the HTTP client, again where the file of CAs has changed.
func (c *client) prepare() error {
	var ca []byte
	if c.conf.CAFile != "" {
		var err error
		if ca, err = readFile(c.conf.CAFile, maxCA); err != nil {
			return fmt.Errorf("introspection.caFile: %w", err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != nil && bytes.Equal(ca, c.ca) {
		return nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.conf.CAFile != "" {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(ca) {
			return fmt.Errorf("introspection.caFile: %s has no certificate in PEM", c.conf.CAFile)
		}
	}
	if c.client != nil {
		c.client.CloseIdleConnections() // they were made with CAs that count no longer
	}
	c.ca, c.client = ca, &http.Client{
		// A token must not be sent where somebody else points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: c.opts.Proxy, DialContext: (&net.Dialer{Timeout: askTimeout}).DialContext, TLSClientConfig: conf, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: c.opts.Questions, MaxConnsPerHost: c.opts.Questions, IdleConnTimeout: idle, TLSHandshakeTimeout: askTimeout,
			MaxResponseHeaderBytes: maxHeader, DisableCompression: true,
		},
	}
	return nil
}

func (c *client) current() *http.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.client
}

func (c *client) close() {
	if current := c.current(); current != nil {
		current.CloseIdleConnections()
	}
}

// readFile reads a regular file only: a pipe would hold up every request that comes after.
func readFile(path string, limit int64) (_ []byte, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if info, err := f.Stat(); err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read file: %s is not a regular file", path)
	}
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read file: %w", err)
	case int64(len(raw)) > limit:
		return nil, fmt.Errorf("read file: %s is over %d bytes", path, limit)
	}
	return raw, nil
}
