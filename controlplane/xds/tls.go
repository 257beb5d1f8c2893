package xds

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/credence-mesh/credence/policy"
)

const tlsSocket = "envoy.transport_sockets.tls"

// secret names an SDS secret and notes that it is needed.
func (t *translation) secret(name string) *tlsv3.SdsSecretConfig {
	t.secrets[name] = true
	return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: sdsSource()}
}

func (t *translation) tlsSocket(m proto.Message) *corev3.TransportSocket {
	return &corev3.TransportSocket{
		Name:       tlsSocket,
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: t.pack(m)},
	}
}

// meshTLS is what both ends of a hop inside the mesh share: TLS 1.3, HTTP/2, the proxy's own SVID.
func (t *translation) meshTLS() *tlsv3.CommonTlsContext {
	return &tlsv3.CommonTlsContext{
		TlsParams: &tlsv3.TlsParameters{
			TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
			TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
		},
		AlpnProtocols:                  []string{"h2"},
		TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{t.secret(t.self)},
	}
}

// downstream turns resumption off in both forms: a resumed session skips the check of the peer against today's bundle.
func downstream(common *tlsv3.CommonTlsContext) *tlsv3.DownstreamTlsContext {
	return &tlsv3.DownstreamTlsContext{
		CommonTlsContext:                 common,
		DisableStatefulSessionResumption: true,
		SessionTicketKeysType:            &tlsv3.DownstreamTlsContext_DisableStatelessSessionResumption{DisableStatelessSessionResumption: true},
	}
}

// inboundTLS lets in who has an SVID of a trust domain of the Set. Which of them may call is for Check to say.
func (t *translation) inboundTLS() *corev3.TransportSocket {
	common := t.meshTLS()
	common.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig{
		ValidationContextSdsSecretConfig: t.secret(TrustSecret),
	}
	ctx := downstream(common)
	ctx.RequireClientCertificate = wrapperspb.Bool(true)
	return t.tlsSocket(ctx)
}

// upstreamTLS talks to exactly the workload with the SPIFFE ID id (X509-SVID §5).
func (t *translation) upstreamTLS(id string) *corev3.TransportSocket {
	common := t.meshTLS()
	common.ValidationContextType = &tlsv3.CommonTlsContext_CombinedValidationContext{
		CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
			DefaultValidationContext: &tlsv3.CertificateValidationContext{
				MatchTypedSubjectAltNames: []*tlsv3.SubjectAltNameMatcher{{
					SanType: tlsv3.SubjectAltNameMatcher_URI,
					Matcher: exactly(id),
				}},
			},
			ValidationContextSdsSecretConfig: t.secret(TrustSecret),
		},
	}
	return t.tlsSocket(&tlsv3.UpstreamTlsContext{
		CommonTlsContext: common,
		MaxSessionKeys:   wrapperspb.UInt32(0),
	})
}

// gatewayTLS ends TLS of clients outside the mesh with the given certificates. Where the gateway asks for certificates of clients, one that
// none of its CAs has signed ends the handshake, and until the CAs have arrived the listener stays closed.
func (t *translation) gatewayTLS(g *policy.Gateway, certificates []policy.Name) *corev3.TransportSocket {
	common := &tlsv3.CommonTlsContext{
		TlsParams: &tlsv3.TlsParameters{
			TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2,
			TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
		},
		AlpnProtocols: []string{"h2", "http/1.1"},
	}
	for _, c := range certificates {
		common.TlsCertificateSdsSecretConfigs = append(common.TlsCertificateSdsSecretConfigs, t.secret(CertificateSecret(c)))
	}
	ctx := downstream(common)
	if g.Settings.ClientCAFile != "" {
		common.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig{
			ValidationContextSdsSecretConfig: t.secret(ClientsSecret(g.Name)),
		}
		ctx.RequireClientCertificate = wrapperspb.Bool(g.Settings.ClientRequired)
	}
	return t.tlsSocket(ctx)
}

func exactly(s string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: s}}
}
