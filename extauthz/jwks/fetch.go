package jwks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Times of fetching (reference: refresh in the background only; a token never causes a fetch).
const (
	fetchTimeout = 5 * time.Second
	minRefresh   = time.Minute
	maxRefresh   = time.Hour
	minBackoff   = 5 * time.Second
	maxBackoff   = 5 * time.Minute
	maxRedirects = 3
)

// newClient follows redirects only to the same host, and never away from https: whoever controls another host must not choose keys.
func newClient(rt http.RoundTripper) *http.Client {
	if rt == nil {
		rt = &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 1,
			IdleConnTimeout: minRefresh, TLSHandshakeTimeout: fetchTimeout, MaxResponseHeaderBytes: 64 << 10,
		}
	}
	return &http.Client{
		Transport: rt,
		Timeout:   fetchTimeout,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			first := via[0].URL
			switch {
			case len(via) > maxRedirects:
				return errors.New("too many redirects")
			case !strings.EqualFold(req.URL.Hostname(), first.Hostname()):
				return errors.New("redirect to another host")
			case req.URL.Scheme != "https" && via[len(via)-1].URL.Scheme == "https":
				return errors.New("redirect away from https")
			case req.URL.Scheme != "https" && req.URL.Host != first.Host:
				return errors.New("redirect to another port")
			}
			return nil
		},
	}
}

// CheckURL tells whether keys may be fetched from raw: https, or http where the host is loopback; no user information or fragment.
func CheckURL(raw string) error {
	u, err := url.Parse(raw) //nolint:forbidigo // an operator's URL, no request target
	switch {
	case err != nil:
		return errors.New("not a URL")
	case u.Host == "" || u.User != nil || u.Fragment != "" || u.Opaque != "":
		return errors.New("must be an absolute URL without user and fragment")
	case u.Scheme == "https" || (u.Scheme == "http" && loopback(u.Hostname())):
		return nil
	}
	return errors.New("must be https:// (http:// only for a loopback host)")
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// fetcher fetches one URL. Used by one goroutine.
type fetcher struct {
	keys     *Keys
	client   *http.Client
	source   *Source
	etag     string
	failures int
}

// fetch reads the URL once and returns how long to wait before the next time.
func (f *fetcher) fetch(ctx context.Context) time.Duration {
	age, err := f.once(ctx)
	if err == nil {
		f.failures = 0
		return jitter(min(max(age, minRefresh), maxRefresh))
	}
	if ctx.Err() == nil {
		f.keys.fail(f.source, err)
	}
	wait := minBackoff << min(f.failures, 10)
	f.failures++
	return jitter(min(wait, maxBackoff))
}

// once returns the max-age of a good answer.
func (f *fetcher) once(ctx context.Context) (_ time.Duration, err error) {
	target := f.source.from.URL
	if err := CheckURL(target); err != nil {
		return 0, fmt.Errorf("keys url: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return 0, fmt.Errorf("fetch keys: %w", err)
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	old := f.source.current.Load()
	if old != nil && f.etag != "" {
		req.Header.Set("If-None-Match", f.etag)
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("fetch keys: %w", err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	age := maxAge(resp.Header.Get("Cache-Control"))
	until := f.keys.opts.Now().Add(f.keys.opts.MaxStale)
	switch {
	case resp.StatusCode == http.StatusNotModified && old != nil:
		f.keys.accept(f.source, old.raw, until)
		return age, nil
	case resp.StatusCode != http.StatusOK:
		return 0, fmt.Errorf("fetch keys: the issuer answered %d", resp.StatusCode)
	}
	raw, err := readLimited(resp.Body)
	if err != nil {
		return 0, err
	}
	if _, err := Parse(raw, f.source.algorithms); err != nil {
		return 0, fmt.Errorf("fetch keys: %w", err)
	}
	f.keys.accept(f.source, raw, until)
	f.etag = resp.Header.Get("ETag")
	return age, nil
}

// maxAge of Cache-Control (RFC 9111 §5.2.2.1); 0: none said.
func maxAge(header string) time.Duration {
	for directive := range strings.SplitSeq(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		if !strings.EqualFold(name, "max-age") {
			continue
		}
		if s, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
			return time.Duration(s) * time.Second
		}
	}
	return 0
}

// jitter is d ±10 %, so that many agents don't ask at once.
func jitter(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)/5*float64(d)) //nolint:gosec // no secret
}
