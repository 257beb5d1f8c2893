//go:build e2e

package main_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// chromium is a real browser without a window, driven over its DevTools pipe (file descriptors 3 and 4, messages end with NUL).
type chromium struct {
	t       *testing.T
	in      *os.File
	out     chan message
	last    int
	session string
	log     *os.File
}

type message struct {
	ID        int             `json:"id"`
	SessionID string          `json:"sessionId"`
	Result    json.RawMessage `json:"result"`
	Error     *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// patience is how long the browser may take for anything.
const patience = 60 * time.Second

func startChromium(t *testing.T) *chromium {
	t.Helper()
	binary, err := exec.LookPath("chromium")
	if err != nil {
		if binary, err = exec.LookPath("google-chrome"); err != nil {
			t.Fatalf("no Chromium: install it (Debian: apt-get install chromium): %v", err)
		}
	}
	log, err := os.CreateTemp(t.TempDir(), "chromium")
	if err != nil {
		t.Fatal(err)
	}
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	profile, err := os.MkdirTemp("", "credence-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions", "--ignore-certificate-errors",
		"--disable-dev-shm-usage", "--user-data-dir="+profile, "--remote-debugging-pipe", "about:blank")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = []*os.File{theirIn, theirOut}, log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = theirIn.Close(), theirOut.Close() // the child has its own
	c := &chromium{t: t, in: ourOut, out: make(chan message, 64), log: log}
	go c.read(ourIn) // ends when the browser closes its end
	t.Cleanup(func() {
		_ = ourOut.Close() // the browser ends when its pipe does
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }() // ends with the process
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		_ = ourIn.Close()
		remove(t, cmd.Process.Pid, profile)
	})
	c.attach()
	return c
}

// remove ends what is left of the browser, whose helpers outlive it by a moment and write into its profile, and removes that.
func remove(t *testing.T, group int, profile string) {
	t.Helper()
	_ = syscall.Kill(-group, syscall.SIGKILL) // there may be nobody
	end := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := os.RemoveAll(profile)
		if err == nil {
			return
		}
		select {
		case <-end:
			t.Error(err)
			return
		case <-tick.C:
		}
	}
}

func (c *chromium) read(from *os.File) {
	defer close(c.out)
	in := bufio.NewReader(from)
	for {
		text, err := in.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(text[:len(text)-1], &m) == nil && m.ID > 0 {
			c.out <- m
		}
	}
}

func (c *chromium) attach() {
	var target struct {
		TargetID string `json:"targetId"`
	}
	c.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var session struct {
		SessionID string `json:"sessionId"`
	}
	c.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &session)
	c.session = session.SessionID
	c.call("Page.enable", nil, nil)
}

// call sends a command and waits for its result.
func (c *chromium) call(method string, params map[string]any, result any) {
	c.t.Helper()
	c.last++
	m := map[string]any{"id": c.last, "method": method, "params": params}
	if params == nil {
		m["params"] = map[string]any{}
	}
	if c.session != "" {
		m["sessionId"] = c.session
	}
	text, err := json.Marshal(m)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.in.Write(append(text, 0)); err != nil {
		c.t.Fatalf("%s: %v\n%s", method, err, c.words())
	}
	limit := time.After(patience)
	for {
		select {
		case got, ok := <-c.out:
			switch {
			case !ok:
				c.t.Fatalf("%s: the browser has ended\n%s", method, c.words())
			case got.ID != c.last:
				continue
			case got.Error != nil:
				c.t.Fatalf("%s: %s", method, got.Error.Message)
			case result != nil:
				if err := json.Unmarshal(got.Result, result); err != nil {
					c.t.Fatal(err)
				}
			}
			return
		case <-limit:
			c.t.Fatalf("%s: no answer\n%s", method, c.words())
		}
	}
}

func (c *chromium) words() string {
	text, err := os.ReadFile(c.log.Name())
	return fmt.Sprint(string(text[max(0, len(text)-3000):]), errors.Join(err))
}

// eval runs an expression in the page, waits for its promise and returns the value as text.
func (c *chromium) eval(expression string) string {
	c.t.Helper()
	var got struct {
		Result struct {
			Value any `json:"value"`
		} `json:"result"`
		Exception *struct {
			Text string `json:"text"`
		} `json:"exceptionDetails"`
	}
	c.call("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &got)
	if got.Exception != nil {
		c.t.Fatalf("%s: %s", expression, got.Exception.Text)
	}
	return fmt.Sprint(got.Result.Value)
}

// look sets the colours that the user prefers and the width of the window.
func (c *chromium) look(colours string, width, height int) {
	c.t.Helper()
	c.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": colours}}}, nil)
	c.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}, nil)
}

// shoot writes the whole page as a PNG.
func (c *chromium) shoot(file string) {
	c.t.Helper()
	var got struct {
		Data string `json:"data"`
	}
	c.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &got)
	png, err := base64.StdEncoding.DecodeString(got.Data)
	if err != nil || len(png) < 1000 {
		c.t.Fatalf("a picture of %d bytes: %v", len(png), err)
	}
	if err := os.WriteFile(file, png, 0o600); err != nil {
		c.t.Fatal(err)
	}
}
