package extauthz

import (
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

// allowedRoom and deniedRoom are where all messages of one response are, taken at once: one allocation instead of twenty. Each is used
// for one response and belongs to whoever has that.
type allowedRoom struct {
	resp     authv3.CheckResponse
	status   rpcstatus.Status
	http     authv3.CheckResponse_OkResponse
	ok       authv3.OkHttpResponse
	names    [8]string
	removed  []string
	headers  headerRoom
	metadata metadataRoom
}

type deniedRoom struct {
	resp     authv3.CheckResponse
	status   rpcstatus.Status
	asDenied authv3.CheckResponse_DeniedResponse
	asError  authv3.CheckResponse_ErrorResponse
	denied   authv3.DeniedHttpResponse
	http     typev3.HttpStatus
	headers  headerRoom
	metadata metadataRoom
}

// headerRoom has room for as many headers as usual responses have; more are allocated.
type headerRoom struct {
	options [7]corev3.HeaderValueOption
	values  [7]corev3.HeaderValue
	first   [7]*corev3.HeaderValueOption
	list    []*corev3.HeaderValueOption
}

// add leaves append unset: that overwrites on requests, and keeps a denied header from being lost. Of a denied response several headers of
// one name all reach the client.
func (r *headerRoom) add(name, value string) {
	n := len(r.list)
	if n == 0 {
		r.list = r.first[:0]
	}
	if n >= len(r.options) {
		r.list = append(r.list, &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: name, Value: value}})
		return
	}
	option, v := &r.options[n], &r.values[n]
	v.Key, v.Value, option.Header = name, value, v
	r.list = append(r.list, option)
}

func (r *headerRoom) all() []*corev3.HeaderValueOption { return r.list }

type metadataRoom struct {
	fields structpb.Struct
	values [4]structpb.Value
	texts  [4]structpb.Value_StringValue
	n      int
}

func (r *metadataRoom) empty() *metadataRoom {
	r.fields.Fields = make(map[string]*structpb.Value, len(r.values))
	return r
}

func (r *metadataRoom) set(key, value string) {
	v, text := &r.values[r.n], &r.texts[r.n]
	text.StringValue = strings.ToValidUTF8(value, "\uFFFD")
	v.Kind = text
	r.fields.Fields[key] = v
	r.n++
}
