package token

import (
	"encoding/base64"
	"slices"
	"strings"
)

// parsed is a token of sound form, of which nothing is trusted yet.
type parsed struct {
	// signed is what the signature covers: header.payload.
	signed    string
	signature []byte
	alg, kid  string
	// typ is lower case without "application/"; hasTyp: the header names one.
	typ    string
	hasTyp bool
	// keyInHeader: jwk, jku, x5u or x5c is present.
	keyInHeader bool
	// jwk is the header's key as it came, for what is signed by a key of its own.
	jwk    any
	claims *claims
}

// parse reads a JWT in the compact serialisation (RFC 7519 §7.2). The size was checked.
func parse(raw string) (*parsed, error) {
	p, payload, err := parseJWS(raw)
	if err != nil {
		return nil, err
	}
	all, err := object(payload)
	if err != nil {
		return nil, err
	}
	if p.claims, err = readClaims(all); err != nil {
		return nil, err
	}
	return p, nil
}

// parseJWS reads the compact serialisation (RFC 7515 §7.1), whatever the payload is: claims are not set.
func parseJWS(raw string) (p *parsed, payload []byte, err error) {
	first, second, err := dots(raw)
	if err != nil {
		return nil, nil, err
	}
	if first > base64.RawURLEncoding.EncodedLen(maxHeader) {
		return nil, nil, invalid(ReasonTooLarge, "header over %d bytes", maxHeader)
	}
	p = &parsed{signed: raw[:second]}
	header, err := segment(raw[:first])
	if err != nil {
		return nil, nil, err
	}
	h, err := object(header)
	if err != nil {
		return nil, nil, err
	}
	if err := p.readHeader(h); err != nil {
		return nil, nil, err
	}
	if payload, err = segment(raw[first+1 : second]); err != nil {
		return nil, nil, err
	}
	if p.signature, err = segment(raw[second+1:]); err != nil {
		return nil, nil, err
	}
	return p, payload, nil
}

// dots finds the two dots and refuses every byte outside base64url's alphabet: Go's decoder would skip line ends, and one signed
// token would have many spellings.
func dots(raw string) (first, second int, err error) {
	n := 0
	for i := range len(raw) {
		switch classes[raw[i]] {
		case '-':
		case '.':
			switch n++; n {
			case 1:
				first = i
			case 2:
				second = i
			}
		default:
			return 0, 0, invalid(ReasonMalformed, "byte %d is not base64url", i)
		}
	}
	switch n {
	case 2:
		return first, second, nil
	case 4:
		return 0, 0, invalid(ReasonEncrypted, "five segments: a JWE")
	}
	return 0, 0, invalid(ReasonMalformed, "%d segments, not 3", n+1)
}

// classes has '-' for the characters of base64url and '.' for the dot: a token is looked through byte by byte.
var classes = func() (c [256]byte) {
	for _, b := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
		c[b] = '-'
	}
	c['.'] = '.'
	return c
}()

var base64url = base64.RawURLEncoding.Strict()

func segment(s string) ([]byte, error) {
	b, err := base64url.DecodeString(s)
	if err != nil {
		return nil, invalid(ReasonMalformed, "a segment is not canonical base64url")
	}
	return b, nil
}

// readHeader refuses what would change the meaning of the rest (RFC 7515 §4.1, RFC 7797, RFC 8725 §3.10).
func (p *parsed) readHeader(h map[string]any) error {
	if _, ok := h["crit"]; ok {
		return invalid(ReasonCrit, "no critical extension is understood")
	}
	if _, ok := h["enc"]; ok {
		return invalid(ReasonEncrypted, "enc in the header")
	}
	for _, name := range []string{"b64", "cty"} {
		if _, ok := h[name]; ok {
			return invalid(ReasonHeader, "%s in the header", name)
		}
	}
	p.keyInHeader = slices.ContainsFunc([]string{"jwk", "jku", "x5u", "x5c"}, func(name string) bool { _, ok := h[name]; return ok })

	p.jwk = h["jwk"]
	var ok bool
	if p.alg, ok = h["alg"].(string); !ok {
		return invalid(ReasonAlg, "alg is not a string")
	}
	if strings.EqualFold(p.alg, "none") {
		return invalid(ReasonNone, "not signed")
	}
	if v, found := h["kid"]; found {
		if p.kid, ok = v.(string); !ok || !printable(p.kid) {
			return invalid(ReasonKid, "kid is not a printable string of 1 to %d bytes", maxKid)
		}
	}
	if v, found := h["typ"]; found {
		typ, ok := v.(string)
		if !ok {
			return invalid(ReasonTyp, "typ is not a string")
		}
		p.hasTyp, p.typ = true, strings.TrimPrefix(strings.ToLower(typ), "application/")
	}
	return nil
}

const maxKid = 256

func printable(s string) bool {
	if s == "" || len(s) > maxKid {
		return false
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
