package extauthz

import (
	"strings"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
)

const upgradeHeader = "upgrade"

// opensWebSocket tells whether a request, or part of a list in its Upgrade header, asks for a WebSocket. Envoy removes the header from
// requests that it does not take for an upgrade, and has it on those of RFC 8441 too.
func opensWebSocket(http *authv3.AttributeContext_HttpRequest) bool {
	for _, h := range http.GetHeaderMap().GetHeaders() {
		if strings.EqualFold(h.GetKey(), upgradeHeader) && (namesWebSocket(h.GetValue()) || namesWebSocket(string(h.GetRawValue()))) {
			return true
		}
	}
	for name, value := range http.GetHeaders() {
		if strings.EqualFold(name, upgradeHeader) && namesWebSocket(value) {
			return true
		}
	}
	return false
}

func namesWebSocket(value string) bool {
	for part := range strings.SplitSeq(value, ",") {
		if strings.EqualFold(strings.Trim(part, " \t"), "websocket") {
			return true
		}
	}
	return false
}
