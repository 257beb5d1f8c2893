package compile

import "strings"

// anyHost is the host of what the manifests leave hostnames out of.
const anyHost = "*"

// intersect is the host that both a listener's and a route's hostname serve (Gateway API, HTTPRouteSpec.Hostnames): the more
// specific one, if they overlap. Empty is any.
func intersect(listener, route string) (string, bool) {
	switch {
	case listener == "" && route == "":
		return anyHost, true
	case covers(listener, route):
		return route, true
	case covers(route, listener):
		return listener, true
	}
	return "", false
}

// covers tells whether every name of host is one of pattern's: "" and "*" are any name, "*.a.b" is one or more labels before a.b.
func covers(pattern, host string) bool {
	if pattern == "" || pattern == anyHost {
		return true
	}
	if host == "" || host == anyHost {
		return false
	}
	if suffix, wild := strings.CutPrefix(pattern, "*"); wild {
		return strings.HasSuffix(strings.TrimPrefix(host, "*"), suffix)
	}
	return pattern == host
}
