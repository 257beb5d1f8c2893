package extauthz_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/credence-mesh/credence/policy"
)

// A scope is the manifest's text: in grpc-message it is percent-encoded (gRPC over HTTP/2, "Status-Message"), in no header can it end a line.
func TestMessageOfARefusedCallIsEncoded(t *testing.T) {
	const scope = "or%64ers:\r\nx-credence-subject: bob\u00e9"
	r := newRig(t)
	set := orders()
	set.Policies[2].Rules = []policy.Rule{{Name: "odd", Action: policy.Allow, NeedsUser: true, AllScopes: []string{scope}}}
	r.Publish(set, 2)
	resp, err := r.Check(t.Context(), ask(withAuth("Bearer alice~x"), withCall("application/grpc")))
	if err != nil {
		t.Fatal(err)
	}
	var message string
	for _, h := range resp.GetDeniedResponse().GetHeaders() {
		key, value := h.GetHeader().GetKey(), h.GetHeader().GetValue()
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%s: %q has what no header may have", key, value)
		}
		if key == "grpc-message" {
			message = value
		}
	}
	text, err := url.PathUnescape(message)
	if err != nil || !strings.HasSuffix(text, scope) || strings.Contains(message, scope) {
		t.Errorf("grpc-message %q says %q: %v", message, text, err)
	}
}
