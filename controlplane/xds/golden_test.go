package xds_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/credence-mesh/credence/controlplane/xds"
	"github.com/credence-mesh/credence/internal/golden"
)

// TestGolden holds what each proxy of mesh is sent; a case is a directory that names the proxy of its own name.
func TestGolden(t *testing.T) {
	for c := range proxies {
		if _, err := os.Stat(filepath.Join("testdata", c)); err != nil {
			t.Errorf("case %s: %v", c, err)
		}
	}
	golden.Run(t, "testdata", nil, func(t *testing.T, dir string) map[string][]byte {
		proxy, ok := proxies[filepath.Base(dir)]
		if !ok {
			t.Fatalf("%s is no proxy of the mesh", dir)
		}
		r := translate(t, mesh(), proxy)
		if err := xds.Validate(r); err != nil {
			t.Fatal(err)
		}
		secrets, err := json.MarshalIndent(r.Secrets, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		return map[string][]byte{
			"clusters.json":  readable(t, r.Clusters),
			"endpoints.json": readable(t, r.Endpoints),
			"listeners.json": readable(t, r.Listeners),
			"routes.json":    readable(t, r.Routes),
			"secrets.json":   append(secrets, '\n'),
		}
	})
}

// readable encodes by name. protojson varies its white space from build to build, so it is encoded once more.
func readable(t *testing.T, rs []xds.Resource) []byte {
	t.Helper()
	all := map[string]any{}
	for _, r := range rs {
		raw, err := protojson.Marshal(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		all[r.Name] = v
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(all); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
