package v1alpha1

import (
	"fmt"
	"net/url"
	"time"
)

// Limits of InternalTokens.
const (
	minTokenTTL     = 10 * time.Second
	maxTokenTTL     = 300 * time.Second
	minRotate       = time.Minute
	minRotateDev    = 10 * time.Second
	maxRotate       = 720 * time.Hour
	maxIssuerLength = 256
)

func (c *checker) internalTokens(s *MeshSpec) {
	t := s.InternalTokens
	if t == nil {
		return
	}
	const at = "spec.internalTokens"
	if t.Issuer != "" {
		u, err := url.Parse(t.Issuer) //nolint:forbidigo // an operator's URL, no request target
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(t.Issuer) > maxIssuerLength {
			c.fail(at+".issuer", "invalid-value", fmt.Sprintf("%q cannot be the issuer of tokens", t.Issuer),
				"an https URL without query, for example https://credence.shop.example: it is a name, nothing is fetched from it")
		}
	}
	c.duration(at+".ttl", t.TTL, minTokenTTL, maxTokenTTL)
	least := minRotate
	if s.Development {
		least = minRotateDev
	}
	c.duration(at+".rotateEvery", t.RotateEvery, least, maxRotate)
	if t.Mode != "" {
		c.oneOf(at+".mode", t.Mode, ModePerRequest, ModeCached)
	}
}
