package token_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy/decide"
)

// oracle reads JSON with jsontext, by the limits of this package.
type oracle struct{ *jsontext.Decoder }

// refused is the oracle's error: a reason of this package.
type refused string

func (r refused) Error() string { return string(r) }

func oracleObject(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) {
		return nil, refused(token.ReasonUTF8)
	}
	d := oracle{jsontext.NewDecoder(bytes.NewBuffer(data))}
	if d.PeekKind() != '{' {
		return nil, refused(token.ReasonMalformed)
	}
	v, err := d.value()
	if err != nil {
		return nil, err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, refused(token.ReasonMalformed)
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, refused(token.ReasonMalformed)
	}
	return m, nil
}

func (d oracle) value() (any, error) {
	t, err := d.ReadToken()
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return nil, refused(token.ReasonDuplicateMember)
	case err != nil:
		return nil, refused(token.ReasonMalformed)
	case d.StackDepth() > 16:
		return nil, refused(token.ReasonTooLarge)
	}
	switch t.Kind() {
	case jsontext.KindNull:
		return nil, nil
	case jsontext.KindTrue, jsontext.KindFalse:
		return t.Bool(), nil
	case jsontext.KindNumber:
		return decide.Number(t.String()), nil
	case jsontext.KindString:
		if len(t.String()) > 4096 {
			return nil, refused(token.ReasonTooLarge)
		}
		return t.String(), nil
	case jsontext.KindBeginArray:
		out := []any{}
		for d.PeekKind() != jsontext.KindEndArray {
			v, err := d.value()
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		if _, err := d.ReadToken(); err != nil {
			return nil, refused(token.ReasonMalformed)
		}
		return out, nil
	case jsontext.KindBeginObject:
		return d.members()
	default:
		return nil, refused(token.ReasonMalformed)
	}
}

func (d oracle) members() (any, error) {
	out := map[string]any{}
	for d.PeekKind() != jsontext.KindEndObject {
		name, err := d.value()
		if err != nil {
			return nil, err
		}
		text, ok := name.(string)
		if !ok {
			return nil, refused(token.ReasonMalformed)
		}
		if len(out) == 64 {
			return nil, refused(token.ReasonTooLarge)
		}
		if out[text], err = d.value(); err != nil {
			return nil, err
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, refused(token.ReasonMalformed)
	}
	return out, nil
}

// objects are texts that are JSON objects, or nearly.
func objects() []string {
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `%q:%d,`, fmt.Sprint("m", i), i)
		}
		return "{" + strings.TrimSuffix(b.String(), ",") + "}"
	}
	deep := func(n int, open, end string) string {
		return `{"a":` + strings.Repeat(open, n) + "1" + strings.Repeat(end, n) + "}"
	}
	long := func(n int) string { return `{"a":"` + strings.Repeat("x", n) + `"}` }
	out := []string{
		"", " ", "{", "}", "{}", " {} ", "\t{\n}\r\n", "{}{}", "{},", "{}x", "{}\x00", "\x00{}", "[]", "1", "null", `"a"`, "\ufeff{}", "{}\xff", "\xff",
		many(63), many(64), many(65), deep(14, "[", "]"), deep(15, "[", "]"), deep(16, "[", "]"), deep(15, `{"b":`, "}"), deep(16, `{"b":`, "}"),
		deep(17, "[", "]"), long(4096), long(4097), `{"` + strings.Repeat("n", 4097) + `":1}`, `{"a":"` + strings.Repeat(`\u0061`, 4096) + `"}`, `{"a":"` + strings.Repeat(`\u0061`, 4097) + `"}`,
		`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"a":{"b":1,"b":1}}`, `{"a":1,"A":2}`, `{"":1,"":1}`, `{"a":1,"a"}`, `{"a":[{"x":1},{"x":1}]}`,
		`{,}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":1 "b":2}`, `{"a" 1}`, `{"a"::1}`, `{a:1}`, `{1:1}`, `{null:1}`, `{"a":1;}`, `{"a":[}`, `{"a":[1,]}`, `{"a":[,1]}`, `{"a":[1 2]}`, `{"a":[1]]}`, `{"a":{]}`, `{"a":1]`,
		`{ "a" : [ 1 , 2 ] , "b" : { } }`, `{"a":tru}`, `{"a":true1}`, `{"a":TRUE}`, `{"a":nul}`, `{"a":false,"b":null,"c":true}`, `{"a":NaN}`, `{"a":Infinity}`, `{"a":'x'}`, "{\"a\":1\u00a0}", `{/**/}`,
	}
	for _, n := range []string{"0", "-0", "1", "-1", "10", "01", "-01", "00", "-", "+1", ".5", "1.", "1.5", "1.50", "1.e1", "1e", "1e+", "1e5", "1E-05", "1e+5", "0x1", "1_0", "1e1.5", "1e400", "123456789012345678901234567890", "--1", "1-", "1f"} {
		out = append(out, `{"a":`+n+`}`)
	}
	for _, s := range []string{
		`\"`, `\\`, `\/`, `\b\f\n\r\t`, `\a`, `\`, `\'`, `\x41`, `\u`, `\u1`, `\u004`, `\u0041`, `\u00e9`, `\u00E9`, `\u00g1`, `\U0041`, `\u0000`, `\ud800`, `\udc00`, `\ud83d\ude00`, `\uD83D\uDE00`, `\ud83d\ud83d`, `\ude00\ud83d`, `\ud83dx`,
		`\ud83d\n`, `\ud83d\u0041`, `\ufffd`, `\uffff`, `é`, "\u2028", "\x7f", "\x00", "\x1f", "\n", "\t", "😀", `\u0022`, `\u005c`, "\xed\xa0\x80", "a\\", `\udbff\udfff`, `\ud83d\u`, `\ud83d\ude0`,
	} {
		out = append(out, `{"a":"`+s+`"}`, `{"`+s+`":1}`, `{"a":"x`+s+`y"}`, `{"a":"`+s)
	}
	return out
}

func compareObject(t interface{ Fatalf(string, ...any) }, data []byte) {
	kept := bytes.Clone(data)
	want, wantErr := oracleObject(data)
	got, err := token.Object(data)
	if !bytes.Equal(kept, data) {
		t.Fatalf("%q was changed", kept)
	}
	var reason refused
	errors.As(wantErr, &reason)
	if token.Reason(err) != string(reason) || (err == nil) != (wantErr == nil) {
		t.Fatalf("%q: %v, jsontext %v", data, err, wantErr)
	}
	if err == nil {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q (-jsontext +ours):\n%s", data, diff)
		}
	}
}

// What is JSON, and what it says, is what jsontext says.
func TestObjectAgainstJSONText(t *testing.T) {
	for _, s := range objects() {
		compareObject(t, []byte(s))
		for end := range min(len(s), 40) {
			compareObject(t, []byte(s[:end]))
		}
	}
	seeds := objects()
	rapid.Check(t, func(t *rapid.T) {
		data := []byte(rapid.SampledFrom(seeds).Draw(t, "object"))
		for range rapid.IntRange(1, 3).Draw(t, "changes") {
			at := rapid.IntRange(0, len(data)).Draw(t, "at")
			piece := rapid.SampledFrom([]string{`"`, `\`, `{`, `}`, `[`, `]`, `,`, `:`, `0`, `-`, `.`, `e`, `u`, ` `, "\x00", "\xc3", "\xa9", `\ud83d`, `\ude00`, `null`, `"a":1,`}).Draw(t, "piece")
			cut := min(len(data), at+rapid.IntRange(0, 3).Draw(t, "cut"))
			data = append(append(bytes.Clone(data[:at]), piece...), data[cut:]...)
		}
		compareObject(t, data)
	})
}

func FuzzObject(f *testing.F) {
	for _, s := range objects() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) { compareObject(t, data) })
}
