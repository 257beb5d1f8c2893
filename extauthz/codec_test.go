package extauthz_test

import (
	"fmt"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/credence-mesh/credence/extauthz"
)

// wide is a varint of more bytes than its value needs, as a proxy may send it.
func wide(v uint64, bytes int) []byte {
	out := []byte{}
	for range bytes - 1 {
		out = append(out, byte(v&0x7f)|0x80)
		v >>= 7
	}
	return append(out, byte(v))
}

// Whatever form the wire has, the lean decoder takes it where proto.Unmarshal does, and finds the same path.
func TestLeanDecoderWireForms(t *testing.T) {
	// nest puts a path into a request, its tags and lengths written by put; junk stands beside it.
	nest := func(path string, put func(protowire.Number, []byte) []byte, junk []byte) []byte {
		http := append(put(4, []byte(path)), junk...)
		return put(1, put(4, append(junk, put(2, http)...)))
	}
	plain := func(n protowire.Number, data []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), data)
	}
	long := func(width int) func(protowire.Number, []byte) []byte {
		return func(n protowire.Number, data []byte) []byte {
			out := append(wide(protowire.EncodeTag(n, protowire.BytesType), min(width, 10)), wide(uint64(len(data)), min(width, 10))...)
			return append(out, data...)
		}
	}
	group := func(inner ...byte) []byte {
		return append(append(protowire.AppendTag(nil, 100, protowire.StartGroupType), inner...), protowire.AppendTag(nil, 100, protowire.EndGroupType)...)
	}
	tag := func(n protowire.Number, typ protowire.Type) []byte { return protowire.AppendTag(nil, n, typ) }
	messages := map[string][]byte{
		"varint":             nest("/a", plain, append(tag(9, protowire.VarintType), wide(7, 10)...)),
		"varint too long":    nest("/a", plain, append(tag(9, protowire.VarintType), wide(7, 11)...)),
		"fixed32":            nest("/a", plain, append(tag(77, protowire.Fixed32Type), 1, 2, 3, 4)),
		"fixed64":            nest("/a", plain, append(tag(77, protowire.Fixed64Type), 1, 2, 3, 4, 5, 6, 7, 8)),
		"path as a varint":   nest("/a", plain, append(tag(4, protowire.VarintType), 1)),
		"group":              nest("/a", plain, group(append(tag(5, protowire.VarintType), 1)...)),
		"group in a group":   nest("/a", plain, group(group()...)),
		"long group":         nest("/a", plain, group(plain(7, make([]byte, 300))...)),
		"group without end":  nest("/a", plain, tag(100, protowire.StartGroupType)),
		"end of no group":    nest("/a", plain, tag(100, protowire.EndGroupType)),
		"number 0":           nest("/a", plain, []byte{2, 0}),
		"number 0, long tag": nest("/a", plain, []byte{0x82, 0, 0}),
		"number too big":     nest("/a", plain, append(wide(1<<40|2, 10), 0)),
		"wire type 6":        nest("/a", plain, []byte{0x26}),
		"wire type 7":        nest("/a", plain, []byte{0x27, 0}),
		"size over the end":  nest("/a", plain, []byte{0x22, 5, 'x'}),
		"size of 64 bits":    nest("/a", plain, append([]byte{0x22}, wide(1<<63|1, 10)...)),
		"last of two paths":  nest("/a", plain, plain(4, []byte("/b"))),
		"long path":          nest(fmt.Sprintf("/%0300d", 7), plain, nil),
		"very long path":     nest(fmt.Sprintf("/%020000d", 7), plain, nil),
		"empty":              {},
	}
	for width := 2; width <= 11; width++ {
		messages[fmt.Sprint("width ", width)] = nest("/a", long(width), nil)
	}
	for name, data := range messages {
		for end := len(data); end >= max(0, len(data)-20); end-- {
			full, lean := &authv3.CheckRequest{}, &authv3.CheckRequest{}
			want, got := proto.Unmarshal(data[:end], full), extauthz.DecodeCheckRequest(data[:end], lean)
			if (want == nil) != (got == nil) {
				t.Errorf("%s, %d of %d bytes: %v, lean %v", name, end, len(data), want, got)
			}
			path := func(r *authv3.CheckRequest) string { return r.GetAttributes().GetRequest().GetHttp().GetPath() }
			if want == nil && path(full) != path(lean) {
				t.Errorf("%s, %d of %d bytes: path %q, lean %q", name, end, len(data), path(full), path(lean))
			}
		}
	}
}
