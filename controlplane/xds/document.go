package xds

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/credence-mesh/credence/policy"
)

// documentName is the name of every route that answers with a document.
const documentName = "document"

// document answers GET and HEAD of one exact path, without a Check and to pages of any origin: metadata that everybody may read, also while
// nobody answers Checks. Any other method goes on to the next route.
func (t *translation) document(d *policy.Document) *routev3.Route {
	action := answer(200)
	action.DirectResponse.Body = &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: d.Body}}
	set := func(name, value string) *corev3.HeaderValueOption {
		return &corev3.HeaderValueOption{
			Header: &corev3.HeaderValue{Key: name, Value: literal(value)}, AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		}
	}
	return &routev3.Route{
		Name: documentName,
		Match: &routev3.RouteMatch{
			PathSpecifier: &routev3.RouteMatch_Path{Path: d.Path},
			Headers: []*routev3.HeaderMatcher{{
				Name: ":method", HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: matches("GET|HEAD")},
			}},
		},
		Action: action,
		ResponseHeadersToAdd: []*corev3.HeaderValueOption{
			set("content-type", d.ContentType), set("access-control-allow-origin", "*"), set("cache-control", "max-age=300"), set("x-content-type-options", "nosniff"),
		},
		TypedPerFilterConfig: t.unjudged(),
	}
}

// isDocument tells a route that answers with a document by what it does, whatever it is called.
func isDocument(r *routev3.Route) bool {
	return r.GetDirectResponse().GetStatus() == 200 && r.GetMatch().GetPath() != "" && len(r.GetMatch().GetHeaders()) > 0
}
