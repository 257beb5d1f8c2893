package jwks

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
)

// rediscover is how old metadata may be.
const rediscover = time.Hour

// maxNamed bounds what is logged of the issuer that the metadata names.
const maxNamed = 200

// found is what the issuer's metadata said.
type found struct {
	keys *url.URL
	at   time.Time
	// named is the issuer that it names.
	named string
	// doubted tells that what it names did not work.
	doubted bool
	// noticed is the issuer that it named last, where that was another than ours.
	noticed string
}

func (d *found) doubt() { d.doubted = true }

// metadata is what is used of the issuer's document (OpenID Connect Discovery §3, RFC 8414 §2).
type metadata struct {
	Issuer string `json:"issuer"`
	Keys   string `json:"jwks_uri"`
}

// errMetadata: the document came, and may not be used.
var errMetadata = errors.New("the issuer's metadata")

// discover finds the URL of the key set: from what is known, or, where that is an hour old or did not work, from the issuer. While the
// issuer does not answer, what it said before holds; a document that may not be used ends that.
func (f *fetcher) discover(ctx context.Context) (*url.URL, error) {
	d := &f.found
	if d.keys != nil && !d.doubted && f.source.now().Sub(d.at) < rediscover {
		return d.keys, nil
	}
	u, err := parseURL(f.source.from.Discovery, f.source.from.Insecure)
	if err != nil {
		return nil, fmt.Errorf("keys discovery url: %w", err)
	}
	resp, err := f.client.get(ctx, u, acceptMetadata, "")
	if err != nil {
		if d.keys != nil {
			f.keys.opts.Log.Debug("metadata of issuer can't be read; what it said before holds", "issuer", f.source.name.String(), "err", err)
			return d.keys, nil
		}
		return nil, fmt.Errorf("fetch the issuer's metadata: %w", err)
	}
	keys, err := f.metadata(resp, u)
	if err != nil {
		d.keys = nil
		return nil, fmt.Errorf("%w at %s: %w", errMetadata, show(u), err)
	}
	d.keys, d.at, d.doubted = keys, f.source.now(), false
	return keys, nil
}

// metadata checks the document that u gave.
func (f *fetcher) metadata(resp response, u *url.URL) (*url.URL, error) {
	var doc metadata
	if err := json.Unmarshal(resp.body, &doc); err != nil {
		return nil, fmt.Errorf("is not a JSON object with issuer and jwks_uri (the answer says %.64q)", resp.header.Get("Content-Type"))
	}
	from := f.source.from
	switch {
	case doc.Issuer == "":
		return nil, errors.New("names no issuer")
	case from.DiscoveryIssuer != "" && doc.Issuer != from.DiscoveryIssuer:
		return nil, fmt.Errorf("names the issuer %.200q and not %q: if its tokens have that iss, write it into spec.issuer", doc.Issuer, from.DiscoveryIssuer)
	case !slices.Contains(f.source.issuers, doc.Issuer) && f.found.noticed != doc.Issuer:
		f.found.noticed = doc.Issuer
		f.keys.opts.Log.Info("the metadata of an issuer names another one than its manifest", "issuer", f.source.name.String(), "names", doc.Issuer[:min(len(doc.Issuer), maxNamed)])
	}
	if doc.Keys == "" {
		return nil, errors.New("has no jwks_uri")
	}
	keys, err := parseURL(doc.Keys, from.Insecure)
	if err != nil {
		return nil, fmt.Errorf("has a jwks_uri that may not be used: %w", err)
	}
	if keys.Scheme == "http" && !loopback(keys.Hostname()) && authorityOf(keys).host != authorityOf(u).host {
		return nil, errors.New("has a jwks_uri that may not be used: http on another host")
	}
	f.found.named = doc.Issuer
	return keys, nil
}
