package extauthz

import (
	"encoding/json"
	"html"
	"net/http"
	"strconv"
	"strings"
)

const (
	problemType = "application/problem+json"
	htmlType    = "text/html; charset=utf-8"
)

// write is the body of a refusal, with the headers that say what it is: the policies' own, else a page for people or problem details for
// programs (RFC 9457), as Accept asks. It says what the client can do and nothing of rules, policies or why exactly a token is bad: that is
// in the decision log, under the same decision id.
func write(c *check, status int, room *deniedRoom) string {
	if own := ownAnswer(c); own != nil && own.Body != "" {
		room.headers.add(contentType, own.ContentType)
		room.headers.add("x-content-type-options", "nosniff")
		return fill(own.Body, own.ContentType, c)
	}
	if c.http != nil && prefersHTML(headerValues(c.http, acceptHeader)) {
		room.headers.add(contentType, htmlType)
		room.headers.add("content-security-policy", pagePolicy)
		room.headers.add("x-content-type-options", "nosniff")
		room.headers.add("referrer-policy", "no-referrer")
		return htmlPage(c, status)
	}
	room.headers.add(contentType, problemType)
	return problem(c, status)
}

// problem is the details of RFC 9457 §3.1, and beside them error (RFC 6750 §3.1 where it has a word), reason, message, scope and decision.
func problem(c *check, status int) string {
	o := &c.outcome
	b := make([]byte, 0, 512)
	member := func(name, value string) {
		b = appendJSON(append(b, name...), value)
	}
	b = append(b, `{"type":"about:blank"`...)
	if title := http.StatusText(status); title != "" {
		member(`,"title":`, title)
	}
	b = strconv.AppendInt(append(b, `,"status":`...), int64(status), 10)
	text := c.words()
	member(`,"detail":`, text)
	member(`,"instance":`, "urn:credence:decision:"+c.id)
	member(`,"error":`, errorWord(o))
	member(`,"reason":`, o.reason)
	member(`,"message":`, text)
	if scopes := strings.Join(o.decision.MissingScopes, " "); scopes != "" {
		member(`,"scope":`, scopes)
	}
	member(`,"decision":`, c.id)
	return string(append(b, "}\n"...))
}

func errorWord(o *outcome) string {
	if o.oauth != "" {
		return o.oauth
	}
	return [...]string{
		forbidden: "forbidden", unauthorized: "unauthorized", badRequest: "invalid_request",
		unavailable: "temporarily_unavailable", limited: "too_many_requests", decided: "forbidden", aborted: "forbidden",
	}[o.kind]
}

// fill replaces {decision}, {reason} and {message} in a policy's body, once and escaped for its type: what they hold must not become markup.
func fill(body, mediaType string, c *check) string {
	kind, _, _ := strings.Cut(mediaType, ";")
	kind = strings.TrimSpace(kind)
	var escape func(string) string
	switch {
	case kind == "text/html" || kind == "text/xml" || kind == "application/xml" || strings.HasSuffix(kind, "+xml"):
		escape = html.EscapeString
	case kind == "text/plain":
		escape = func(s string) string { return s }
	default:
		escape = func(s string) string {
			quoted := appendJSON(nil, s)
			return string(quoted[1 : len(quoted)-1])
		}
	}
	return strings.NewReplacer("{decision}", escape(c.id), "{reason}", escape(c.outcome.reason), "{message}", escape(c.words())).Replace(body)
}

// appendJSON appends s as a JSON string (RFC 8259 §7).
func appendJSON(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(s)
			if err != nil {
				return append(b, `""`...)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
