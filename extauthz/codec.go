package extauthz

import (
	"cmp"
	"errors"
	"strings"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// codec decodes of a CheckRequest only what a Check reads, with one copy of the message that all strings share. Decoding all of it costs
// 200 allocations and more than everything else that a Check does. All other messages go the usual way.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	req, ok := v.(*authv3.CheckRequest)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	return DecodeCheckRequest(data.Materialize(), req)
}

var (
	errWire = errors.New("check request: not protobuf")
	errUTF8 = errors.New("check request: a string is not UTF-8")
)

// DecodeCheckRequest reads into req what a Check looks at: method, path, host, protocol, the Authorization headers, a Content-Type of gRPC, Upgrade, the peer's principal and
// certificate, and the route id. Everything else is skipped without being looked into. For those fields it does what proto.Unmarshal does:
// messages merge, the last scalar counts, strings must be UTF-8; only raw_value of a header is given as its value, whatever its
// bytes. data is not kept.
func DecodeCheckRequest(data []byte, req *authv3.CheckRequest) error {
	f := fields{text: string(data), data: data}
	for f.next() {
		if f.number != 1 {
			continue
		}
		if req.Attributes == nil {
			req.Attributes = &authv3.AttributeContext{}
		}
		if err := decodeAttributes(f.sub(), req.Attributes); err != nil {
			return err
		}
	}
	return f.err
}

// fields walks over the length-delimited fields of one message; fields of other wire types are skipped.
type fields struct {
	// text and data are the same bytes.
	text string
	data []byte
	// number and [start:end) of the current field.
	number     protowire.Number
	start, end int
	pos        int
	err        error
}

func (f *fields) next() bool {
	for f.err == nil && f.pos < len(f.data) {
		number, typ, n := protowire.ConsumeTag(f.data[f.pos:])
		if n < 0 {
			f.err = errWire
			return false
		}
		f.pos += n
		size := protowire.ConsumeFieldValue(number, typ, f.data[f.pos:])
		if size < 0 {
			f.err = errWire
			return false
		}
		f.end = f.pos + size
		if typ != protowire.BytesType {
			f.pos = f.end
			continue
		}
		_, prefix := protowire.ConsumeVarint(f.data[f.pos:])
		f.number, f.start = number, f.pos+prefix
		f.pos = f.end
		return true
	}
	return false
}

func (f *fields) sub() fields {
	return fields{text: f.text[f.start:f.end], data: f.data[f.start:f.end]}
}

func (f *fields) bytes() string { return f.text[f.start:f.end] }

// string sets to, or the error.
func (f *fields) string(to *string) {
	s := f.bytes()
	if !utf8.ValidString(s) {
		f.err = errUTF8
		return
	}
	*to = s
}

func decodeAttributes(f fields, a *authv3.AttributeContext) error {
	for f.next() {
		var err error
		switch f.number { //nolint:exhaustive // field numbers are no enumeration
		case 1:
			if a.Source == nil {
				a.Source = &authv3.AttributeContext_Peer{}
			}
			err = decodePeer(f.sub(), a.Source)
		case 4:
			if a.Request == nil {
				a.Request = &authv3.AttributeContext_Request{}
			}
			err = decodeRequest(f.sub(), a.Request)
		case 10:
			var key, value string
			key, value, err = decodeEntry(f.sub())
			if err == nil && key == routeExtension {
				if a.ContextExtensions == nil {
					a.ContextExtensions = make(map[string]string, 1)
				}
				a.ContextExtensions[key] = value
			}
		}
		if err != nil {
			return err
		}
	}
	return f.err
}

func decodePeer(f fields, p *authv3.AttributeContext_Peer) error {
	for f.next() {
		switch f.number { //nolint:exhaustive // field numbers are no enumeration
		case 4:
			f.string(&p.Principal)
		case 5:
			f.string(&p.Certificate)
		}
	}
	return f.err
}

func decodeRequest(f fields, r *authv3.AttributeContext_Request) error {
	for f.next() {
		if f.number != 2 {
			continue
		}
		if r.Http == nil {
			r.Http = &authv3.AttributeContext_HttpRequest{}
		}
		if err := decodeHTTP(f.sub(), r.Http); err != nil {
			return err
		}
	}
	return f.err
}

func decodeHTTP(f fields, h *authv3.AttributeContext_HttpRequest) error {
	for f.next() {
		var err error
		switch f.number { //nolint:exhaustive // field numbers are no enumeration
		case 2:
			f.string(&h.Method)
		case 3:
			var key, value string
			key, value, err = decodeEntry(f.sub())
			if err == nil && wanted(key, value) {
				if h.Headers == nil {
					h.Headers = make(map[string]string, 1)
				}
				h.Headers[key] = value
			}
		case 4:
			f.string(&h.Path)
		case 5:
			f.string(&h.Host)
		case 10:
			f.string(&h.Protocol)
		case 13:
			if h.HeaderMap == nil {
				h.HeaderMap = &corev3.HeaderMap{}
			}
			err = decodeHeaderMap(f.sub(), h.HeaderMap)
		}
		if err != nil {
			return err
		}
	}
	return f.err
}

func decodeEntry(f fields) (key, value string, err error) {
	for f.next() {
		switch f.number { //nolint:exhaustive // field numbers are no enumeration
		case 1:
			f.string(&key)
		case 2:
			f.string(&value)
		}
	}
	return key, value, f.err
}

func decodeHeaderMap(f fields, m *corev3.HeaderMap) error {
	for f.next() {
		if f.number != 1 {
			continue
		}
		if err := decodeHeader(f.sub(), m); err != nil {
			return err
		}
	}
	return f.err
}

// wanted tells whether a Check looks at a header.
func wanted(key, value string) bool {
	switch len(key) {
	case len(authorization):
		return strings.EqualFold(key, authorization)
	case len(contentType):
		return strings.EqualFold(key, contentType) && isRPC(value)
	case len(upgradeHeader):
		return strings.EqualFold(key, upgradeHeader)
	}
	return false
}

func decodeHeader(f fields, m *corev3.HeaderMap) error {
	var key, value, raw string
	for f.next() {
		switch f.number { //nolint:exhaustive // field numbers are no enumeration
		case 1:
			f.string(&key)
		case 2:
			f.string(&value)
		case 3:
			raw = f.bytes()
		}
	}
	if f.err != nil || !wanted(key, cmp.Or(raw, value)) {
		return f.err
	}
	h := &corev3.HeaderValue{Key: key, Value: value}
	if raw != "" && value == "" {
		h.Value = raw
	} else if raw != "" {
		h.RawValue = []byte(raw)
	}
	m.Headers = append(m.Headers, h)
	return nil
}
