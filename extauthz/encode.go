package extauthz

import (
	"math"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/structpb"
)

// Marshal implements encoding.CodecV2. It writes the responses that this package makes without reflection; all other messages, and a
// response with anything that this package never sets, go the usual way.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if resp, ok := v.(*authv3.CheckResponse); ok {
		if data, ok := encodeCheckResponse(resp); ok {
			return mem.BufferSlice{mem.SliceBuffer(data)}, nil
		}
	}
	return c.CodecV2.Marshal(v)
}

// usualResponse is the room for a response, in bytes: most have 500 to 700.
const usualResponse = 768

// encodeCheckResponse gives what proto.Marshal gives, but for the order of fields. False: there is something that it does not know, or
// that is no protobuf. Fields that were read from a wire without being known are left out: responses are made here.
func encodeCheckResponse(r *authv3.CheckResponse) (data []byte, ok bool) {
	w := writer{data: make([]byte, 0, usualResponse)}
	if r == nil {
		return nil, false
	}
	if r.Status != nil {
		w.status(1, r.Status)
	}
	switch r.HttpResponse.(type) {
	case nil:
	case *authv3.CheckResponse_DeniedResponse:
		w.denied(2, r.GetDeniedResponse())
	case *authv3.CheckResponse_OkResponse:
		w.allowed(3, r.GetOkResponse())
	case *authv3.CheckResponse_ErrorResponse:
		w.denied(5, r.GetErrorResponse())
	default:
		return nil, false
	}
	if r.DynamicMetadata != nil {
		w.metadata(4, r.DynamicMetadata)
	}
	return w.data, !w.unknown
}

// writer appends fields of protobuf.
type writer struct {
	data []byte
	// unknown: something can't be written here.
	unknown bool
}

// open begins a message and returns where; close ends it.
func (w *writer) open(field protowire.Number) int {
	w.data = append(protowire.AppendTag(w.data, field, protowire.BytesType), 0)
	return len(w.data)
}

// close writes the length before the message, which moves where that takes more than one byte.
func (w *writer) close(start int) {
	size := len(w.data) - start
	if more := protowire.SizeVarint(uint64(size)) - 1; more > 0 { //nolint:gosec // a length
		var room [9]byte
		w.data = append(w.data, room[:more]...)
		copy(w.data[start+more:], w.data[start:start+size])
	}
	protowire.AppendVarint(w.data[:start-1], uint64(size)) //nolint:gosec // a length; the room is there
}

// string writes s, also where it is empty.
func (w *writer) string(field protowire.Number, s string) {
	w.unknown = w.unknown || !utf8.ValidString(s)
	w.data = protowire.AppendString(protowire.AppendTag(w.data, field, protowire.BytesType), s)
}

// given writes s unless it is empty.
func (w *writer) given(field protowire.Number, s string) {
	if s != "" {
		w.string(field, s)
	}
}

func (w *writer) int32(field protowire.Number, n int32) {
	if n != 0 {
		w.data = protowire.AppendVarint(protowire.AppendTag(w.data, field, protowire.VarintType), uint64(int64(n))) //nolint:gosec // as protobuf has it
	}
}

func (w *writer) status(field protowire.Number, s *rpcstatus.Status) {
	start := w.open(field)
	w.int32(1, s.Code)
	w.given(2, s.Message)
	w.unknown = w.unknown || len(s.Details) > 0
	w.close(start)
}

func (w *writer) denied(field protowire.Number, d *authv3.DeniedHttpResponse) {
	if d == nil {
		w.unknown = true
		return
	}
	start := w.open(field)
	if d.Status != nil {
		status := w.open(1)
		w.int32(1, int32(d.Status.Code))
		w.close(status)
	}
	w.headers(2, d.Headers)
	w.given(3, d.Body)
	w.close(start)
}

func (w *writer) allowed(field protowire.Number, ok *authv3.OkHttpResponse) {
	if ok == nil || ok.DynamicMetadata != nil || len(ok.ResponseHeadersToAdd) > 0 { //nolint:staticcheck // the deprecated field too
		w.unknown = true
		return
	}
	start := w.open(field)
	w.headers(2, ok.Headers)
	for _, name := range ok.HeadersToRemove {
		w.string(5, name)
	}
	for _, q := range ok.QueryParametersToSet {
		if q == nil {
			w.unknown = true
			return
		}
		parameter := w.open(7)
		w.given(1, q.Key)
		w.given(2, q.Value)
		w.close(parameter)
	}
	for _, name := range ok.QueryParametersToRemove {
		w.string(8, name)
	}
	w.close(start)
}

func (w *writer) headers(field protowire.Number, list []*corev3.HeaderValueOption) {
	for _, o := range list {
		if o == nil || o.Header == nil || o.Append != nil || o.AppendAction != 0 || o.KeepEmptyValue || len(o.Header.RawValue) > 0 { //nolint:staticcheck // the deprecated field too
			w.unknown = true
			return
		}
		option := w.open(field)
		header := w.open(1)
		w.given(1, o.Header.Key)
		w.given(2, o.Header.Value)
		w.close(header)
		w.close(option)
	}
}

func (w *writer) metadata(field protowire.Number, s *structpb.Struct) {
	start := w.open(field)
	for key, value := range s.Fields {
		entry := w.open(1)
		w.string(1, key)
		held := w.open(2)
		w.value(value)
		w.close(held)
		w.close(entry)
	}
	w.close(start)
}

// value writes the members of a google.protobuf.Value. One without a kind is nobody's to write here.
func (w *writer) value(v *structpb.Value) {
	switch kind := v.GetKind().(type) {
	case *structpb.Value_StringValue:
		if kind == nil {
			w.unknown = true
			return
		}
		w.string(3, kind.StringValue)
	case *structpb.Value_NumberValue:
		w.data = protowire.AppendFixed64(protowire.AppendTag(w.data, 2, protowire.Fixed64Type), math.Float64bits(kind.NumberValue))
	case *structpb.Value_BoolValue:
		w.data = protowire.AppendVarint(protowire.AppendTag(w.data, 4, protowire.VarintType), protowire.EncodeBool(kind.BoolValue))
	case *structpb.Value_StructValue:
		if kind.StructValue == nil {
			w.unknown = true
			return
		}
		w.metadata(5, kind.StructValue)
	case *structpb.Value_ListValue:
		list := w.open(6)
		for _, e := range kind.ListValue.GetValues() {
			element := w.open(1)
			w.value(e)
			w.close(element)
		}
		w.close(list)
	default:
		w.unknown = true
	}
}
