package token

import (
	"bytes"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/credence-mesh/credence/policy/decide"
)

// Limits of what is parsed before anybody is known to have signed it.
const (
	maxToken   = 16 << 10
	maxHeader  = 1 << 10
	maxMembers = 64
	maxDepth   = 16
	maxString  = 4 << 10
)

// object decodes one JSON object strictly (RFC 7493): no duplicate names (compared exactly), valid UTF-8, nothing after it, within the
// limits. Values are nil, bool, string, decide.Number, []any and map[string]any.
func object(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) {
		return nil, invalid(ReasonUTF8, "not UTF-8")
	}
	// members looks for duplicates itself: it has the names in a map anyway.
	d := reader{jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true))}
	if d.PeekKind() != '{' {
		return nil, invalid(ReasonMalformed, "not a JSON object")
	}
	v, err := d.value()
	if err != nil {
		return nil, err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, invalid(ReasonMalformed, "data after the JSON object")
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, invalid(ReasonMalformed, "not a JSON object")
	}
	return m, nil
}

type reader struct{ *jsontext.Decoder }

func (d reader) value() (any, error) {
	t, err := d.ReadToken()
	if err != nil {
		return nil, syntax(err)
	}
	if d.StackDepth() > maxDepth {
		return nil, invalid(ReasonTooLarge, "nested over %d deep", maxDepth)
	}
	switch t.Kind() {
	case jsontext.KindNull:
		return nil, nil
	case jsontext.KindTrue, jsontext.KindFalse:
		return t.Bool(), nil
	case jsontext.KindNumber:
		return decide.Number(t.String()), nil
	case jsontext.KindString:
		return bounded(t.String())
	case jsontext.KindBeginArray:
		return d.array()
	case jsontext.KindBeginObject:
		return d.members()
	default:
		return nil, invalid(ReasonMalformed, "not JSON")
	}
}

func (d reader) array() (any, error) {
	out := []any{}
	for d.PeekKind() != jsontext.KindEndArray {
		v, err := d.value()
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, syntax(err)
	}
	return out, nil
}

func (d reader) members() (any, error) {
	out := make(map[string]any, 8)
	for d.PeekKind() != jsontext.KindEndObject {
		t, err := d.ReadToken()
		if err != nil {
			return nil, syntax(err)
		}
		name, err := bounded(t.String())
		if err != nil {
			return nil, err
		}
		if len(out) == maxMembers {
			return nil, invalid(ReasonTooLarge, "an object of over %d members", maxMembers)
		}
		if _, twice := out[name]; twice {
			return nil, invalid(ReasonDuplicateMember, "a member name occurs twice")
		}
		v, err := d.value()
		if err != nil {
			return nil, err
		}
		out[name] = v
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, syntax(err)
	}
	return out, nil
}

func bounded(s string) (string, error) {
	if len(s) > maxString {
		return "", invalid(ReasonTooLarge, "a string of over %d bytes", maxString)
	}
	return s, nil
}

// syntax drops the text of the parser's error: it quotes the token.
func syntax(error) error { return invalid(ReasonMalformed, "not JSON") }
