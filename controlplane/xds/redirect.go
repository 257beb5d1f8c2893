package xds

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/credence-mesh/credence/policy"
)

// redirect answers with a Location (Gateway API HTTPRequestRedirectFilter).
func (t *translation) redirect(l *policy.Listener, out *routev3.Route, r *policy.Route) {
	d := r.Redirect
	a := &routev3.RedirectAction{HostRedirect: d.Host, PortRedirect: uint32(t.redirectPort(l, d))}
	if d.Scheme != "" {
		a.SchemeRewriteSpecifier = &routev3.RedirectAction_SchemeRedirect{SchemeRedirect: d.Scheme}
	}
	switch d.Status {
	case 0, 302:
		a.ResponseCode = routev3.RedirectAction_FOUND
	case 301:
		a.ResponseCode = routev3.RedirectAction_MOVED_PERMANENTLY
	case 303:
		a.ResponseCode = routev3.RedirectAction_SEE_OTHER
	case 307:
		a.ResponseCode = routev3.RedirectAction_TEMPORARY_REDIRECT
	case 308:
		a.ResponseCode = routev3.RedirectAction_PERMANENT_REDIRECT
	default:
		t.fail("%s: redirect with status %d", origin(r), d.Status)
	}
	prefix, regex := t.pathRewrite(r, d.Path)
	switch {
	case regex != nil:
		a.PathRewriteSpecifier = &routev3.RedirectAction_RegexRewrite{RegexRewrite: regex}
	case prefix != "":
		a.PathRewriteSpecifier = &routev3.RedirectAction_PrefixRewrite{PrefixRewrite: prefix}
	}
	out.Action = &routev3.Route_Redirect{Redirect: a}
}

// redirectPort is the port of the Location by Gateway API's rules; 0 leaves what Envoy makes of the host: a new host stands alone, the
// client's own Host keeps its port unless the scheme changes and it was the old scheme's.
func (t *translation) redirectPort(l *policy.Listener, d *policy.Redirect) uint16 {
	scheme, listening := d.Scheme, "http"
	if l.Protocol == policy.HTTPS {
		listening = "https"
	}
	if scheme == "" {
		scheme = listening
	}
	port := d.Port
	switch {
	case port != 0:
	case d.Scheme != "":
		port = wellKnown(d.Scheme)
	case t.settings.Fronted():
		return 0 // clients know the port of the proxy before the gateway, not the listener's
	default:
		port = l.Port
	}
	switch {
	case d.Host != "" && port == wellKnown(scheme):
		return 0
	case d.Host == "" && d.Port == 0 && d.Scheme == "":
		return 0
	case d.Host == "" && d.Port == 0 && l.Port == wellKnown(listening):
		return 0
	}
	return port
}

func wellKnown(scheme string) uint16 {
	if scheme == "https" {
		return 443
	}
	return 80
}
