package v1alpha1

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"
)

const (
	maxTrustedHops    = 10
	minLimit          = time.Second
	maxIdle           = 24 * time.Hour
	maxStreamDuration = 168 * time.Hour
)

func defaultPaths(p *PathSettings) {
	if p == nil {
		return
	}
	p.EscapedSlashes = or(p.EscapedSlashes, SlashesReject)
	if p.MergeSlashes == nil {
		merge := true
		p.MergeSlashes = &merge
	}
}

func defaultGatewaySettings(s *GatewaySettingsSpec) {
	defaultPaths(s.Paths)
	s.UnderscoreHeaders = or(s.UnderscoreHeaders, UnderscoresDrop)
}

func (c *checker) pathSettings(at string, p *PathSettings) {
	if p != nil {
		c.oneOf(at+".escapedSlashes", p.EscapedSlashes, SlashesReject, SlashesKeep)
	}
}

func (c *checker) gatewaySettings(s *GatewaySettingsSpec) {
	c.pathSettings("spec.paths", s.Paths)
	c.clientAddress(s.ClientAddress)
	c.oneOf("spec.underscoreHeaders", s.UnderscoreHeaders, UnderscoresDrop, UnderscoresReject, UnderscoresKeep)
	c.healthPath(s.HealthPath)
	if cc := s.ClientCertificates; cc != nil && cc.CAFile == "" {
		c.fail("spec.clientCertificates.caFile", "required", "caFile is missing", "name a PEM file of the CAs whose certificates clients may show")
	}
	if l := s.Limits; l != nil {
		c.duration("spec.limits.connectionIdle", l.ConnectionIdle, minLimit, maxIdle)
		c.duration("spec.limits.streamIdle", l.StreamIdle, minLimit, maxIdle)
		c.duration("spec.limits.streamDuration", l.StreamDuration, minLimit, maxStreamDuration)
	}
}

func (c *checker) clientAddress(a *ClientAddress) {
	const at = "spec.clientAddress"
	if a == nil {
		return
	}
	if (len(a.TrustedProxies) == 0) == (a.TrustedHops == nil) {
		c.fail(at, "one-of", "exactly one of trustedProxies and trustedHops is needed", "without proxies before the gateway leave clientAddress out")
		return
	}
	if a.TrustedHops != nil && (*a.TrustedHops < 1 || *a.TrustedHops > maxTrustedHops) {
		c.fail(at+".trustedHops", "out-of-range", fmt.Sprintf("%d is out of range", *a.TrustedHops), fmt.Sprintf("from 1 to %d", maxTrustedHops))
	}
	seen := map[netip.Prefix]bool{}
	for i, text := range a.TrustedProxies {
		p := index(at+".trustedProxies", i)
		prefix, problem, hint := trustedPrefix(text)
		if problem != "" {
			c.fail(p, "invalid-value", fmt.Sprintf("%q %s", text, problem), hint)
			continue
		}
		if seen[prefix] {
			c.fail(p, "duplicate-value", text+" is given twice", "")
		}
		seen[prefix] = true
	}
}

// trustedPrefix reads a CIDR as it must be written; problem says what is wrong with it.
func trustedPrefix(text string) (prefix netip.Prefix, problem, hint string) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		if addr, err := netip.ParseAddr(text); err == nil {
			return prefix, "has no length", fmt.Sprintf("write %s/%d", text, addr.BitLen())
		}
		return prefix, "is not a CIDR", "for example 10.0.0.0/8 or fd00::/8"
	}
	switch {
	case prefix.Bits() == 0:
		return prefix, "trusts every client", "name the addresses of your proxies"
	case prefix.Addr().Is4In6():
		return prefix, "is an IPv4 address written as IPv6", "write it as IPv4"
	case prefix != prefix.Masked():
		return prefix, "has bits after its length", "write " + prefix.Masked().String()
	}
	return prefix, "", ""
}

var plainPath = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)+$`)

// healthPath takes paths that have one spelling only.
func (c *checker) healthPath(path string) {
	const at = "spec.healthPath"
	if path == "" {
		return
	}
	if !plainPath.MatchString(path) || len(path) > 1024 {
		c.fail(at, "invalid-path", fmt.Sprintf("%q is not a plain path", path), `for example /healthz: letters, digits and "._~-" between slashes`)
		return
	}
	for s := range strings.SplitSeq(path, "/") {
		if s == "." || s == ".." {
			c.fail(at, "invalid-path", fmt.Sprintf("%q has a segment %q", path, s), "")
		}
	}
}
