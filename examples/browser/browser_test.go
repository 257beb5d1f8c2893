//go:build e2e

package main_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/credence-mesh/credence/examples/browser/site"
	"github.com/credence-mesh/credence/internal/testenv"
	"github.com/credence-mesh/credence/internal/testport"
)

// outcomes are what each call of the page must end as, in its order.
var outcomes = []string{
	"read=200", "write=403 insufficient_scope", "anonymous=401", "hidden=unreadable", "stream=5 events", "eventsource=3 events", "websocket=hello", "refused=refused",
}

const (
	done    = `new Promise(r => { const f = () => document.body?.dataset.done ? r(document.body.dataset.done) : setTimeout(f, 50); f(); })`
	results = `[...document.querySelectorAll("#calls > li")].map(e => e.id + "=" + e.dataset.outcome).join("\n")`
	details = `[...document.querySelectorAll("#calls > li")].map(e => e.id + ": " + e.querySelector(".detail").textContent).join("\n")`
	// overflow tells whether something is wider than the window.
	overflow = `document.documentElement.scrollWidth > window.innerWidth`
)

// TestBrowser runs the page in a real Chromium against the gateway on real Envoy, over HTTP/1.1 and over HTTP/2, in light and dark colours
// and at the width of a phone. SCREENSHOTS names a directory for the pictures.
func TestBrowser(t *testing.T) {
	ports := map[string]string{}
	free := testport.Free(t, 7)
	manifests := map[string]string{}
	files, err := filepath.Glob("mesh/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Clean(f))
		if err != nil {
			t.Fatal(err)
		}
		manifests[filepath.Base(f)] = regexp.MustCompile(`\b182\d\d\b`).ReplaceAllStringFunc(string(text), func(p string) string {
			if ports[p] == "" {
				ports[p], free = fmt.Sprint(free[0]), free[1:]
			}
			return ports[p]
		})
	}
	serve(t, ports["18201"], site.API())
	env := testenv.Start(t, testenv.Options{Manifests: manifests})
	page, err := site.Page(func(*http.Request) (site.Session, error) {
		return site.Session{
			Plain: "http://localhost:" + ports["18240"], Secure: "https://localhost:" + ports["18241"],
			Token: env.Token("https://api.localhost", "orders:read"),
		}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	serve(t, ports["18200"], page)
	c := startChromium(t)
	for _, view := range []struct {
		name, gateway, colours string
		width, height          int
	}{
		{"light", "plain", "light", 1100, 1150}, {"dark", "secure", "dark", 1100, 1150}, {"phone", "secure", "light", 390, 1700}, {"phone-dark", "plain", "dark", 390, 1700},
	} {
		c.look(view.colours, view.width, view.height)
		c.call("Page.navigate", map[string]any{"url": "http://localhost:" + ports["18200"] + "/?gateway=" + view.gateway}, nil)
		c.eval(`new Promise(r => { const f = () => location.search === "?gateway=` + view.gateway + `" ? r() : setTimeout(f, 20); f(); })`)
		good := c.eval(done)
		if got, want := c.eval(results), strings.Join(outcomes, "\n"); got != want || good != fmt.Sprint(len(outcomes)) {
			t.Errorf("%s: %s as expected:\n%s\nwant:\n%s\n%s", view.name, good, got, want, c.eval(details))
		}
		if c.eval(overflow) != "false" {
			t.Errorf("%s: the page is wider than the window", view.name)
		}
		if dir := os.Getenv("SCREENSHOTS"); dir != "" {
			c.shoot(filepath.Join(dir, view.name+".png"))
		}
	}
	if c.eval(`window.isSecureContext`) != "true" {
		t.Error("the page is no secure context")
	}
	// Chromium opens a WebSocket on an HTTP/2 connection that it has (RFC 8441), if credentials may travel on it: fetch makes one.
	secure := "localhost:" + ports["18241"]
	if got := c.eval(`fetch("https://` + secure + `/inside", {mode: "no-cors", credentials: "include"}).then(() => new Promise((yes, no) => {
		const ws = new WebSocket("wss://` + secure + `/live");
		ws.onopen = () => ws.send("hello"); ws.onmessage = e => { yes(e.data); ws.close(); }; ws.onclose = e => yes("closed with " + e.code);
	}))`); got != "hello" {
		t.Errorf("a WebSocket over HTTP/2: %q", got)
	}
	env.Await("a WebSocket over HTTP/2 in the access log", func() string {
		logs, err := filepath.Glob(filepath.Join(env.State, "log", "gateway*.log"))
		if err != nil || len(logs) != 1 {
			return fmt.Sprintf("logs %v: %v", logs, err)
		}
		text, err := os.ReadFile(logs[0])
		if err != nil {
			return err.Error()
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, `"path":"/live"`) && strings.Contains(line, `"protocol":"HTTP/2"`) {
				return ""
			}
		}
		return "none"
	})
	for _, want := range []string{`write: www-authenticate: Bearer realm="credence", error="insufficient_scope", scope="orders:write"`, `"user":"alice"`} {
		if got := c.eval(details); !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// serve serves on localhost:port until the test ends.
func serve(t *testing.T, port string, handler http.Handler) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: handler}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }() // ends with Close
	t.Cleanup(func() {
		_ = srv.Close() // streams that are still open end with it
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}
