package decode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf16"
)

// fromJSON spells what JSON can escape and YAML can't ("\/", and characters beyond U+FFFF as pairs of surrogates, RFC 8259 §7) the way
// that YAML does. Text that is not JSON stays as it is, and so does half of a pair: YAML refuses it.
func fromJSON(data []byte) []byte {
	if !bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) || !bytes.Contains(data, []byte(`\`)) || !json.Valid(data) {
		return data
	}
	out := make([]byte, 0, len(data))
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			out = append(out, data[i])
			continue
		}
		if char, ok := surrogates(data[i:]); ok {
			out = fmt.Appendf(out, `\U%08X`, char)
			i += len(`\ud800\udc00`) - 1
			continue
		}
		i++ // valid JSON: something follows
		if data[i] != '/' {
			out = append(out, '\\')
		}
		out = append(out, data[i])
	}
	return out
}

// surrogates is the character that the two escapes at the begin of data mean together.
func surrogates(data []byte) (rune, bool) {
	const size = len(`\ud800`)
	if len(data) < 2*size {
		return 0, false
	}
	var half [2]rune
	for i := range half {
		escape := data[i*size : (i+1)*size]
		n, err := strconv.ParseUint(string(escape[2:]), 16, 16)
		if escape[0] != '\\' || escape[1] != 'u' || err != nil {
			return 0, false
		}
		half[i] = rune(n)
	}
	char := utf16.DecodeRune(half[0], half[1])
	return char, char != '\ufffd'
}
