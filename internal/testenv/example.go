package testenv

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/credence-mesh/credence/internal/testport"
)

// Example copies the directory mesh/ of an example, with a free port for each of its own, which begin with these digits and have five. ports
// are the free ones by those of the example.
func Example(t testing.TB, digits string) (dir string, ports map[string]string) {
	t.Helper()
	files, err := filepath.Glob("mesh/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	port := regexp.MustCompile(`\b` + digits + fmt.Sprintf(`\d{%d}\b`, 5-len(digits)))
	ports, dir = map[string]string{}, t.TempDir()
	free := testport.Free(t, 24)
	for _, f := range files {
		text, err := os.ReadFile(filepath.Clean(f))
		if err != nil {
			t.Fatal(err)
		}
		text = port.ReplaceAllFunc(text, func(p []byte) []byte {
			if ports[string(p)] == "" {
				ports[string(p)], free = fmt.Sprint(free[0]), free[1:]
			}
			return []byte(ports[string(p)])
		})
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(f)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, ports
}

// Serve serves h at that port of 127.0.0.1 until the test ends.
func Serve(t testing.TB, port string, h http.Handler) *httptest.Server {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(h)
	if err := srv.Listener.Close(); err != nil {
		t.Fatal(err)
	}
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	return srv
}
