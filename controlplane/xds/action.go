package xds

import (
	"math"
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/credence-mesh/credence/policy"
)

// missingCluster is never defined: the share of a route that goes to it is answered with 500, by exactly its weight. A route before it
// with a random fraction would draw from the same random number as the weights do, and so skew them.
const missingCluster = "missing"

// answer ends a request with an empty body.
func answer(status uint32) *routev3.Route_DirectResponse {
	return &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: status}}
}

// share is the weight of one cluster.
type share struct {
	cluster string
	weight  uint32
}

// shares are the clusters of a route, backends to one port joined, without those of weight 0. missing: some of it leads nowhere.
func (t *translation) shares(r *policy.Route) (list []share, missing bool) {
	var total uint64
	at := map[string]int{}
	for _, b := range r.Backends {
		if b.Weight == 0 {
			continue
		}
		d := destination{workload: b.Workload, port: b.Port}
		cluster := missingCluster
		if w, _ := t.port(d); w != nil && !b.Missing {
			cluster = d.cluster()
			t.wanted[d] = true
		} else {
			missing = true
		}
		total += uint64(b.Weight)
		if i, ok := at[cluster]; ok {
			list[i].weight += b.Weight
			continue
		}
		at[cluster] = len(list)
		list = append(list, share{cluster: cluster, weight: b.Weight})
	}
	if total > math.MaxUint32 {
		t.fail("%s: the weights add up to more than %d", origin(r), uint32(math.MaxUint32))
	}
	return list, missing
}

// forward sends to the backends; where none is left the answer is 500 (Gateway API HTTPBackendRef).
func (t *translation) forward(out *routev3.Route, r *policy.Route) {
	list, missing := t.shares(r)
	if len(list) == 0 || missing && len(list) == 1 {
		out.Action = answer(500)
		if r.CORS != nil {
			out.Action = nowhere()
		}
		return
	}
	a := forwardTo(list)
	if missing {
		a.ClusterNotFoundResponseCode = routev3.RouteAction_INTERNAL_SERVER_ERROR
	}
	a.Timeout = durationpb.New(shorter(r.RequestTimeout, r.BackendTimeout))
	if w := r.Rewrite; w != nil {
		if w.Host != "" {
			a.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: w.Host}
		}
		prefix, regex := t.pathRewrite(r, w.Path)
		a.PrefixRewrite, a.RegexRewrite = prefix, regex
	}
	out.Action = &routev3.Route_Route{Route: a}
}

// forwardTo sends to one or several clusters without a time limit. What surely never reached the application is tried once more: a
// connection that its lifetime has just ended costs no request.
func forwardTo(list []share) *routev3.RouteAction {
	a := &routev3.RouteAction{
		Timeout: durationpb.New(0),
		RetryPolicy: &routev3.RetryPolicy{
			RetryOn:    "connect-failure,refused-stream,reset-before-request",
			NumRetries: wrapperspb.UInt32(1),
		},
	}
	if len(list) == 1 {
		a.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: list[0].cluster}
		return a
	}
	weighted := &routev3.WeightedCluster{}
	for _, s := range list {
		weighted.Clusters = append(weighted.Clusters, &routev3.WeightedCluster_ClusterWeight{Name: s.cluster, Weight: wrapperspb.UInt32(s.weight)})
	}
	a.ClusterSpecifier = &routev3.RouteAction_WeightedClusters{WeightedClusters: weighted}
	return a
}

// shorter of two limits; 0 is none. There is one try for each request, so both limits end it.
func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// pathRewrite is Gateway API's path modifier: the whole path, or the matched prefix by whole segments, either as Envoy's prefix_rewrite
// or, where that cannot say it, as a regular expression. The query is kept.
func (t *translation) pathRewrite(r *policy.Route, p *policy.PathChange) (prefix string, regex *matcherv3.RegexMatchAndSubstitute) {
	if p == nil {
		return "", nil
	}
	if !p.Prefix {
		return "", substitute(`^.+$`, p.Value)
	}
	if r.Match.PathKind != policy.PathPrefix {
		t.fail("%s: only a prefix match can replace its prefix", origin(r))
		return "", nil
	}
	value := strings.TrimRight(p.Value, "/")
	matched, plain := plainPath(r.Match.Path)
	switch {
	case matched == "/":
		return value + "/", nil
	case value == "":
		// "/a" to "/": prefix_rewrite would make "//b" of "/a/b".
		return "", substitute("^"+pathPattern(r.Match.Path)+"/*", "/")
	case !plain:
		return "", substitute("^"+pathPattern(r.Match.Path), value)
	}
	return value, nil
}

func substitute(pattern, by string) *matcherv3.RegexMatchAndSubstitute {
	return &matcherv3.RegexMatchAndSubstitute{
		Pattern:      &matcherv3.RegexMatcher{Regex: pattern},
		Substitution: strings.ReplaceAll(by, `\`, `\\`),
	}
}
