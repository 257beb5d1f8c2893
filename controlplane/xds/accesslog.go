package xds

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// accessFields is one line of JSON per request on the proxy's standard output. It shows also what Envoy answered without asking Check
// (route empty, or flags without a decision). It holds no query string and no credential.
var accessFields = [...][2]string{
	{"time", "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%"},
	{"route", "%ROUTE_NAME%"},
	{"method", "%REQ(:METHOD)%"},
	{"host", "%REQ(:AUTHORITY)%"},
	{"path", "%PATH(NQ:ORIG_OR_PATH)%"},
	{"protocol", "%PROTOCOL%"},
	{"status", "%RESPONSE_CODE%"},
	{"flags", "%RESPONSE_FLAGS%"},
	{"details", "%RESPONSE_CODE_DETAILS%"},
	{"duration_ms", "%DURATION%"},
	{"bytes_in", "%BYTES_RECEIVED%"},
	{"bytes_out", "%BYTES_SENT%"},
	{"client", "%DOWNSTREAM_REMOTE_ADDRESS%"},
	// Whose connection it was: with trusted proxies the client is their word.
	{"connection", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%"},
	{"peer", "%DOWNSTREAM_PEER_URI_SAN%"},
	{"subject", "%DYNAMIC_METADATA(" + extAuthzFilter + ":subject)%"},
	{"oauth_client", "%DYNAMIC_METADATA(" + extAuthzFilter + ":client)%"},
	{"decision", "%DYNAMIC_METADATA(" + extAuthzFilter + ":decision)%"},
	{"upstream", "%UPSTREAM_CLUSTER%"},
	{"request_id", "%REQ(X-REQUEST-ID)%"},
}

// accessLog is the access log of one HTTP connection manager.
func (t *translation) accessLog(listener string) []*accesslogv3.AccessLog {
	fields := make(map[string]*structpb.Value, len(accessFields)+1)
	for _, f := range accessFields {
		fields[f[0]] = structpb.NewStringValue(f[1])
	}
	fields["listener"] = structpb.NewStringValue(literal(listener))
	return []*accesslogv3.AccessLog{{
		Name: "envoy.access_loggers.stdout",
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: t.pack(&streamv3.StdoutAccessLog{
			AccessLogFormat: &streamv3.StdoutAccessLog_LogFormat{LogFormat: &corev3.SubstitutionFormatString{
				Format: &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: &structpb.Struct{Fields: fields}},
			}},
		})},
	}}
}
