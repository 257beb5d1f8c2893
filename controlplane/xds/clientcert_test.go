package xds_test

import (
	"slices"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/credence-mesh/credence/controlplane/xds"
)

// What a gateway that asks for client certificates adds to the TLS of its HTTPS listeners: the CAs by SDS, so that they change without a
// drain and a listener without them stays closed, and whether a client may come without. Resumption stays off: a session would outlive a CA.
func TestGatewayAsksForClientCertificates(t *testing.T) {
	context := func(file string, required bool) (*tlsv3.DownstreamTlsContext, *xds.Resources) {
		set := mesh()
		for i := range set.Gateways {
			set.Gateways[i].Settings.ClientCAFile, set.Gateways[i].Settings.ClientRequired = file, required
		}
		r := translate(t, set, proxies["gateway"])
		for _, l := range r.Listeners {
			for _, chain := range body(t, r.Listeners, l.Name, &listenerv3.Listener{}).GetFilterChains() {
				if ts := chain.GetTransportSocket(); ts != nil {
					ctx := &tlsv3.DownstreamTlsContext{}
					into(t, ts.GetTypedConfig(), ctx)
					return ctx, r
				}
			}
		}
		t.Fatal("no listener with TLS")
		return nil, nil
	}
	base, _ := context("", false)
	if base.GetCommonTlsContext().GetValidationContextType() != nil || base.GetRequireClientCertificate().GetValue() {
		t.Fatalf("asks without settings: %v", base)
	}
	for _, required := range []bool{false, true} {
		got, r := context("/ca.pem", required)
		extra := &tlsv3.DownstreamTlsContext{}
		text := `{"commonTlsContext": {"validationContextSdsSecretConfig": {"name": "clients/default/edge"}}, "requireClientCertificate": false}`
		if required {
			text = `{"commonTlsContext": {"validationContextSdsSecretConfig": {"name": "clients/default/edge"}}, "requireClientCertificate": true}`
		}
		if err := protojson.Unmarshal([]byte(text), extra); err != nil {
			t.Fatal(err)
		}
		extra.GetCommonTlsContext().GetValidationContextSdsSecretConfig().SdsConfig = base.GetCommonTlsContext().GetTlsCertificateSdsSecretConfigs()[0].GetSdsConfig()
		want := proto.Clone(base).(*tlsv3.DownstreamTlsContext)
		proto.Merge(want, extra)
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("required %v (-want +got):\n%s", required, diff)
		}
		if !got.GetDisableStatefulSessionResumption() || !got.GetDisableStatelessSessionResumption() {
			t.Error("sessions may be resumed")
		}
		if !slices.Contains(r.Secrets, "clients/default/edge") {
			t.Errorf("secrets %v", r.Secrets)
		}
	}
}
