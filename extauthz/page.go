package extauthz

import (
	"html"
	"net/http"
	"strconv"
	"strings"
)

// pageStyle is the whole of what the page needs; pagePolicy permits exactly that.
const (
	pageStyle = `:root{color-scheme:light dark;--b:#f6f7f9;--c:#fff;--t:#1b1f24;--m:#59636e;--l:#d1d9e0}` +
		`@media(prefers-color-scheme:dark){:root{--b:#0d1117;--c:#151b23;--t:#f0f6fc;--m:#9198a1;--l:#3d444d}}` +
		`*{box-sizing:border-box}body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;background:var(--b);color:var(--t);font:1rem/1.5 system-ui,sans-serif}` +
		`main{width:100%;max-width:32rem;padding:2rem;background:var(--c);border:1px solid var(--l);border-radius:.75rem}` +
		`h1{margin:0 0 .75rem;font-size:1.5rem;line-height:1.25}h1 span{color:var(--m);font-weight:400}p{margin:0 0 1.5rem;overflow-wrap:anywhere}` +
		`dl{margin:0;padding-top:1rem;border-top:1px solid var(--l);color:var(--m);font-size:.875rem}dt{float:left;margin-right:.5em}dd{margin:0;overflow-wrap:anywhere}code{font:inherit;font-family:ui-monospace,monospace;color:var(--t)}` +
		`@media(max-width:30rem){main{padding:1.25rem}}`
	pagePolicy = `default-src 'none'; style-src 'sha256-LufQTmH8a3ksl4BitqqPM5thBa9AZENtUM7Ourx3XzE='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`
)

// htmlPage is a refusal for people: what happened, what to do, and the id to ask an operator about. It has no scripts.
func htmlPage(c *check, status int) string {
	code, title := strconv.Itoa(status), http.StatusText(status)
	if title == "" {
		title = "Refused"
	}
	text := c.words()
	var b strings.Builder
	b.Grow(2048)
	b.WriteString(`<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>` +
		code + " " + title + `</title><style>` + pageStyle + `</style></head><body><main><h1><span>` + code + `</span> ` + title + `</h1><p>`)
	if text != "" {
		b.WriteString(html.EscapeString(strings.ToUpper(text[:1])+text[1:]) + ".")
	}
	b.WriteString(`</p><dl><dt>Decision</dt><dd><code>` + html.EscapeString(c.id) + `</code></dd><dt>Reason</dt><dd><code>` + html.EscapeString(c.outcome.reason) +
		"</code></dd></dl></main></body></html>\n")
	return b.String()
}
