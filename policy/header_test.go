package policy_test

import (
	"testing"

	"github.com/credence-mesh/credence/policy"
)

func TestReservedHeader(t *testing.T) {
	for name, want := range map[string]bool{
		"": true, "host": true, "Host": true, ":path": true, "x-credence-subject": true, "X-Credence-": true, "x_credence_subject": true,
		"X.Credence-Peer": true, "Content-Length": true, "transfer-encoding": true, "connection": true, "Upgrade": true, "te": true, "trailer": true,
		"keep-alive": true, "proxy-connection": true, "http2-settings": true,
		"txn-token": true, "Txn_Token": true, "txn.token": true, "txn-tokens": false,
		"x-credence": false, "x-credential": false, "my-x-credence-subject": false, "authorization": false, "content-type": false, "x-forwarded-host": false,
	} {
		if got := policy.ReservedHeader(name); got != want {
			t.Errorf("%q: %t", name, got)
		}
	}
}
