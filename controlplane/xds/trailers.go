package xds

import (
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	trailersv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// trailersFilter is the name of the filter that drops the trailers of requests.
const trailersFilter = "envoy.filters.http.header_mutation"

// withoutRequestTrailers drops what a client sends after the body. It comes after the decision, nobody has judged it, and a server that
// merges trailers into headers (RFC 9110 §6.5.1 warns of it) would take x-credence-subject there for ours. gRPC has response trailers only.
func withoutRequestTrailers() *trailersv3.HeaderMutation {
	return &trailersv3.HeaderMutation{Mutations: &trailersv3.Mutations{RequestTrailersMutations: []*mutationv3.HeaderMutation{{
		Action: &mutationv3.HeaderMutation_RemoveOnMatch_{RemoveOnMatch: &mutationv3.HeaderMutation_RemoveOnMatch{
			KeyMatcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: ".+"}}},
		}},
	}}}}
}
