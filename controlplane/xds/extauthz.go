package xds

import (
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/credence-mesh/credence/policy"
)

// extAuthzFilter is the name of the filter, of its per-route configuration and of its dynamic metadata.
const extAuthzFilter = "envoy.filters.http.ext_authz"

// RouteExtension is the one key of context_extensions: the policy.RouteID of the route that Envoy chose.
const RouteExtension = "route"

// changeable and fixed are what Check may set or remove on a request that it allows; anything else is answered with 500. Envoy matches the
// whole name, and fixed counts first. Policies name headers for claims and for API keys at any time: a list of exactly those would be
// older than Check's for as long as it takes the proxies to follow, and each of its changes would drain the listeners. What frames a message, says
// where it goes or where it came from, or has been said by another proxy is nobody's to change; Set's compiler refuses the same.
const (
	changeable = `[a-z0-9]+(-[a-z0-9]+)*`
	fixed      = `host|connection|keep-alive|te|trailer|transfer-encoding|upgrade|http2-settings|expect|range|via|date|origin|referer|cookie|forwarded|` +
		`x-real-ip|x-request-id|x-http-method|x-http-method-override|x-method-override|x-original-url|x-rewrite-url|traceparent|tracestate|` +
		`(x-forwarded|x-envoy|grpc|access-control|sec|content|accept|proxy|if)-.*|accept`
)

// extAuthz asks Check about every request and passes none without its yes.
func extAuthz() *extauthzv3.ExtAuthz {
	return &extauthzv3.ExtAuthz{
		Services: &extauthzv3.ExtAuthz_GrpcService{GrpcService: &corev3.GrpcService{
			TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: AuthzCluster}},
			Timeout:         durationpb.New(authzTimeout),
		}},
		TransportApiVersion: corev3.ApiVersion_V3,
		// "We cannot tell" is 503, so that it differs from "no".
		FailureModeAllow: false,
		StatusOnError:    &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable},
		// Bytes as sent, repeated headers apart where Envoy keeps them apart.
		EncodeRawHeaders:       true,
		IncludePeerCertificate: true,
		IncludeTlsSession:      true,
		// The route that was judged is the route that is taken.
		ClearRouteCache: false,
		// Envoy's own validation refuses every query parameter with a "%", and sets the others as they are. What it would look for, and more,
		// extauthz looks for in every answer before it leaves: seal, docs/design/0006.
		ValidateMutations: false,
		// By default a Check server could rewrite the path after the decision. Not allowed and silently skipped would let a credential
		// through that Check meant to remove, so it is an error.
		DecoderHeaderMutationRules: &mutationv3.HeaderMutationRules{
			DisallowAll:        wrapperspb.Bool(true),
			AllowExpression:    &matcherv3.RegexMatcher{Regex: changeable},
			DisallowExpression: &matcherv3.RegexMatcher{Regex: fixed},
			DisallowIsError:    wrapperspb.Bool(true),
		},
		MaxDeniedResponseBodyBytes:  deniedBodyBytes,
		EnforceResponseHeaderLimits: true,
		StatPrefix:                  "credence",
	}
}

// judged tells Check which route it is asked about.
func (t *translation) judged(id policy.RouteID) map[string]*anypb.Any {
	return map[string]*anypb.Any{extAuthzFilter: t.pack(&extauthzv3.ExtAuthzPerRoute{
		Override: &extauthzv3.ExtAuthzPerRoute_CheckSettings{CheckSettings: &extauthzv3.CheckSettings{
			ContextExtensions: map[string]string{RouteExtension: string(id)},
		}},
	})}
}

// unjudged is only for answers that hold nothing and go nowhere (421), and for documents that everybody may read; Validate refuses it on any
// other route.
func (t *translation) unjudged() map[string]*anypb.Any {
	return map[string]*anypb.Any{extAuthzFilter: t.pack(&extauthzv3.ExtAuthzPerRoute{
		Override: &extauthzv3.ExtAuthzPerRoute_Disabled{Disabled: true},
	})}
}
