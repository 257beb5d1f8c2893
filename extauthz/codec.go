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
	protobuf "google.golang.org/protobuf/proto"
)

// codec decodes of a CheckRequest only what a Check reads, with one copy of the message that all strings share. Decoding all of it costs
// 200 allocations and more than everything else that a Check does. All other messages go the usual way.
type codec struct {
	encoding.CodecV2
	// interest is what is decoded beside what every Check reads.
	interest func() *interest
}

func newCodec(in func() *interest) codec { return codec{encoding.GetCodecV2(proto.Name), in} }

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	req, ok := v.(*authv3.CheckRequest)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	var text strings.Builder
	text.Grow(data.Len())
	for _, part := range data {
		text.Write(part.ReadOnlyData())
	}
	return decodeCheckRequest(text.String(), req, c.interest())
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
	return decodeCheckRequest(string(data), req, nothingMore)
}

// decodeCheckRequest is DecodeCheckRequest; the strings in req are parts of text.
func decodeCheckRequest(text string, req *authv3.CheckRequest, in *interest) error {
	f, r := fields{text: text}, &room{interest: in}
	for f.next() {
		if f.number != 1 {
			continue
		}
		if req.Attributes == nil {
			req.Attributes = &r.attributes
		}
		if err := r.decodeAttributes(f.sub(), req.Attributes); err != nil {
			return err
		}
	}
	if a := req.Attributes; f.err == nil && a != nil {
		if a.ContextExtensions == nil {
			a.ContextExtensions = make(map[string]string, 1)
		}
		a.ContextExtensions[interestKey] = in.text
	}
	return f.err
}

// room is where the messages are that nearly every request has, taken at once.
type room struct {
	attributes authv3.AttributeContext
	source     authv3.AttributeContext_Peer
	request    authv3.AttributeContext_Request
	http       authv3.AttributeContext_HttpRequest
	headers    corev3.HeaderMap
	list       [2]*corev3.HeaderValue
	values     [2]corev3.HeaderValue
	// taken of values.
	taken    int
	interest *interest
}

// fields walks over the length-delimited fields of one message; fields of other wire types are skipped.
type fields struct {
	text string
	// number and [start:end) of the current field.
	number     protowire.Number
	start, end int
	pos        int
	err        error
}

func (f *fields) next() bool {
	for f.err == nil && f.pos < len(f.text) {
		if f.short() {
			return true
		}
		if f.any() {
			return true
		}
	}
	return false
}

// short takes a length-delimited field whose tag has one byte and whose length has at most two: nearly all are such. False: it is none.
func (f *fields) short() bool {
	rest := f.text[f.pos:]
	if len(rest) < 2 || rest[0] >= 0x80 || protowire.Type(rest[0]&7) != protowire.BytesType || rest[0]>>3 == 0 {
		return false
	}
	start, size := 2, int(rest[1])
	if size >= 0x80 {
		if len(rest) < 3 || rest[2] >= 0x80 {
			return false
		}
		start, size = 3, size&0x7f|int(rest[2])<<7
	}
	if size > len(rest)-start {
		return false
	}
	f.number, f.start, f.end = protowire.Number(rest[0]>>3), f.pos+start, f.pos+start+size
	f.pos = f.end
	return true
}

// any takes a field of any form. False: it is skipped, or an error.
func (f *fields) any() bool {
	// The longest tag and the longest number have ten bytes each.
	var head [20]byte
	rest := head[:copy(head[:], f.text[f.pos:])]
	number, typ, n := protowire.ConsumeTag(rest)
	if n < 0 {
		f.err = errWire
		return false
	}
	f.pos += n
	rest = rest[n:]
	if typ == protowire.BytesType {
		size, prefix := protowire.ConsumeVarint(rest)
		if prefix < 0 || size > uint64(len(f.text)-f.pos-prefix) { //nolint:gosec // prefix bytes are there
			f.err = errWire
			return false
		}
		f.number, f.start = number, f.pos+prefix
		f.end = f.start + int(size) //nolint:gosec // at most the length of text
		f.pos = f.end
		return true
	}
	if typ == protowire.StartGroupType {
		rest = []byte(f.text[f.pos:])
	}
	size := protowire.ConsumeFieldValue(number, typ, rest)
	if size < 0 {
		f.err = errWire
		return false
	}
	f.pos += size
	return false
}

func (f *fields) sub() fields { return fields{text: f.text[f.start:f.end]} }

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

func (r *room) decodeAttributes(f fields, a *authv3.AttributeContext) error {
	for f.next() {
		var err error
		switch f.number { //nolint:exhaustive // field numbers are no enumeration
		case 1:
			if a.Source == nil {
				a.Source = &r.source
			}
			err = r.decodePeer(f.sub(), a.Source)
		case 4:
			if a.Request == nil {
				a.Request = &r.request
			}
			err = r.decodeRequest(f.sub(), a.Request)
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

func (r *room) decodePeer(f fields, p *authv3.AttributeContext_Peer) error {
	for f.next() {
		switch f.number { //nolint:exhaustive // field numbers are no enumeration
		case 1:
			if !r.interest.address {
				continue
			}
			if p.Address == nil {
				p.Address = &corev3.Address{}
			}
			if err := decodeAddress(f.bytes(), p.Address); err != nil {
				return err
			}
		case 4:
			f.string(&p.Principal)
		case 5:
			f.string(&p.Certificate)
		}
	}
	return f.err
}

// decodeAddress merges an address into a.
func decodeAddress(text string, a *corev3.Address) error {
	if err := (protobuf.UnmarshalOptions{Merge: true}).Unmarshal([]byte(text), a); err != nil {
		return errWire
	}
	return nil
}

func (r *room) decodeRequest(f fields, to *authv3.AttributeContext_Request) error {
	for f.next() {
		if f.number != 2 {
			continue
		}
		if to.Http == nil {
			to.Http = &r.http
		}
		if err := r.decodeHTTP(f.sub(), to.Http); err != nil {
			return err
		}
	}
	return f.err
}

func (r *room) decodeHTTP(f fields, h *authv3.AttributeContext_HttpRequest) error {
	for f.next() {
		var err error
		switch f.number { //nolint:exhaustive // field numbers are no enumeration
		case 2:
			f.string(&h.Method)
		case 3:
			var key, value string
			key, value, err = decodeEntry(f.sub())
			if err == nil && r.wanted(key, value) {
				if h.Headers == nil {
					h.Headers = make(map[string]string, 1)
				}
				h.Headers[key] = value
			}
		case 4:
			f.string(&h.Path)
		case 5:
			f.string(&h.Host)
		case 6:
			f.string(&h.Scheme)
		case 10:
			f.string(&h.Protocol)
		case 13:
			if h.HeaderMap == nil {
				h.HeaderMap = &r.headers
			}
			err = r.decodeHeaderMap(f.sub(), h.HeaderMap)
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

func (r *room) decodeHeaderMap(f fields, m *corev3.HeaderMap) error {
	for f.next() {
		if f.number != 1 {
			continue
		}
		if err := r.decodeHeader(f.sub(), m); err != nil {
			return err
		}
	}
	return f.err
}

// wanted tells whether a Check looks at a header.
func (r *room) wanted(key, value string) bool {
	if r.interest.wants(key) {
		return true
	}
	switch len(key) {
	case len(authorization):
		return strings.EqualFold(key, authorization)
	case len(contentType):
		return strings.EqualFold(key, contentType) && isRPC(value)
	case len(upgradeHeader):
		return strings.EqualFold(key, upgradeHeader)
	case len(acceptHeader):
		// What asks for no text at all asks for JSON.
		return strings.EqualFold(key, acceptHeader) && asksText(value)
	case len(dpopHeader):
		return strings.EqualFold(key, dpopHeader)
	}
	return false
}

func (r *room) decodeHeader(f fields, m *corev3.HeaderMap) error {
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
	if f.err != nil || !r.wanted(key, cmp.Or(raw, value)) {
		return f.err
	}
	h := r.header(m)
	h.Key, h.Value = key, value
	if raw != "" && value == "" {
		h.Value = raw
	} else if raw != "" {
		h.RawValue = []byte(raw)
	}
	return nil
}

// header adds one to m.
func (r *room) header(m *corev3.HeaderMap) *corev3.HeaderValue {
	h := &corev3.HeaderValue{}
	if r.taken < len(r.values) {
		h = &r.values[r.taken]
		r.taken++
	}
	if m.Headers == nil {
		m.Headers = r.list[:0]
	}
	m.Headers = append(m.Headers, h)
	return h
}
