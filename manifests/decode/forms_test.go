package decode_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/decode"
	"github.com/credence-mesh/credence/manifests/v1alpha1"
)

const mesh = head + "Mesh\nmetadata: {name: x}\nspec: {trustDomain: a}\n"

func TestFileReadsWhatADirectoryMayHold(t *testing.T) {
	item := `{"apiVersion":"credence.mesh/v1alpha1","kind":"Workload","metadata":{"name":"w"},"spec":{"selectors":{"unix":{"uid":7}}}}`
	for _, c := range []struct {
		name, text string
		keys       []string
		diags      []string
	}{
		{"nothing", "", nil, nil},
		{"comments only", "# a\n---\n# b\n---\n", nil, nil},
		{"null documents", "---\nnull\n---\n~\n", nil, nil},
		{"BOM", "\ufeff" + mesh, []string{"Mesh x"}, nil},
		{"CRLF", strings.ReplaceAll(mesh+"---\n"+mesh, "\n", "\r\n"), []string{"Mesh x", "Mesh x"}, nil},
		{"JSON", item, []string{"Workload default/w"}, nil},
		{
			"Lists in Lists", `{"apiVersion":"v1","kind":"List","items":[` + item + `,{"apiVersion":"v1","kind":"List","items":[` + item + `]}]}`,
			[]string{"Workload default/w", "Workload default/w"},
			nil,
		},
		{
			"foreign kinds, told of once each", "apiVersion: v1\nkind: Service\n---\napiVersion: v1\nkind: Service\n---\napiVersion: apps/v1\nkind: Deployment\n---\n" + mesh,
			[]string{"Mesh x"},
			[]string{
				"m.yaml:1:1: notice: objects of kind Service are not read [foreign-kind]",
				"m.yaml:7:1: notice: objects of kind Deployment.apps are not read [foreign-kind]",
			},
		},
		{"merge keys", "apiVersion: credence.mesh/v1alpha1\nkind: Mesh\nmetadata: &m {name: q, labels: {a: b}}\nspec: {trustDomain: a}\n---\n" +
			head + "Mesh\nmetadata:\n  <<: {labels: {a: b}, name: z}\n  name: x\nspec: {trustDomain: a}\n", []string{"Mesh q", "Mesh x"}, nil},
		{"what servers own", head + `Mesh
metadata: {name: x, uid: 1, resourceVersion: 5, generation: x, creationTimestamp: null, managedFields: [{a: b}], labels: null}
spec: {trustDomain: a}
status: {anything: [1]}
`, []string{"Mesh x"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := decode.File("m.yaml", []byte(c.text))
			var keys []string
			for _, o := range r.Objects {
				keys = append(keys, o.Key.String())
			}
			if diff := cmp.Diff(c.keys, keys); diff != "" || !r.Parsed {
				t.Errorf("parsed %v, keys (-want +got):\n%s", r.Parsed, diff)
			}
			if diff := cmp.Diff(append([]string{}, c.diags...), lines(r.Diagnostics)); diff != "" {
				t.Errorf("diagnostics (-want +got):\n%s", diff)
			}
		})
	}
}

// JSON spells characters beyond U+FFFF as two escapes, which YAML does not know.
func TestFileReadsTheEscapesOfJSON(t *testing.T) {
	object := func(label string) string {
		return `{"apiVersion":"credence.mesh/v1alpha1","kind":"Mesh","metadata":{"name":"x","annotations":{"a":"` + label + `"}},"spec":{"trustDomain":"a"}}`
	}
	for label, want := range map[string]string{
		`\ud83d\ude00`:         "\U0001f600",
		`a\uD83D\uDE00b\u00e9`: "a\U0001f600b\u00e9",
		`\\ud83d\\ude00`:       `\ud83d\ude00`,
		`\/\n`:                 "/\n",
	} {
		r := decode.File("m.json", []byte(object(label)))
		if len(r.Objects) != 1 {
			t.Errorf("%s: %v", label, r.Diagnostics)
			continue
		}
		if got := r.Objects[0].Value.(*v1alpha1.Mesh).Annotations["a"]; got != want {
			t.Errorf("%s is read as %q, want %q", label, got, want)
		}
	}
	for _, label := range []string{`\ud83d`, `\ude00\ud83d`, `\ud83d\\ude00`} {
		if r := decode.File("m.json", []byte(object(label))); r.Parsed || !manifests.HasErrors(r.Diagnostics) {
			t.Errorf("half a character in %s was read", label)
		}
	}
	if r := decode.File("m.yaml", []byte(head+"Mesh\nmetadata: {name: x, annotations: {a: '\\ud83d\\ude00'}}\nspec: {trustDomain: a}\n")); len(r.Objects) != 1 ||
		r.Objects[0].Value.(*v1alpha1.Mesh).Annotations["a"] != `\ud83d\ude00` {
		t.Errorf("a text of YAML was changed: %v", r.Diagnostics)
	}
}

func TestCanonicalDependsOnTheMeaningAlone(t *testing.T) {
	a := decode.File("/d/a.yaml", []byte(head+"Workload\nmetadata: {name: w, uid: u, labels: {b: c, a: d}}\nspec:\n  ports: [{port: 80}]\n  selectors: {unix: {path: bin/w}}\nstatus: {x: 1}\n"))
	b := decode.File("/d/e/b.yaml", []byte(`{"kind":"Workload","spec":{"boundary":"user","selectors":{"unix":{"path":"../bin/w"}},`+
		`"ports":[{"protocol":"HTTP","name":"http","port":80}]},"metadata":{"labels":{"a":"d","b":"c"},"namespace":"default","name":"w"},"apiVersion":"credence.mesh/v1alpha1"}`))
	if len(a.Objects) != 1 || len(b.Objects) != 1 {
		t.Fatal(a.Diagnostics, b.Diagnostics)
	}
	const want = `{"apiVersion":"credence.mesh/v1alpha1","kind":"Workload","metadata":{"labels":{"a":"d","b":"c"},"name":"w","namespace":"default"},` +
		`"spec":{"selectors":{"unix":{"path":"/d/bin/w"}},"boundary":"user","ports":[{"name":"http","port":80,"protocol":"HTTP","mtls":"sidecar"}]}}`
	if diff := cmp.Diff(want, string(a.Objects[0].Canonical)); diff != "" {
		t.Errorf("canonical (-want +got):\n%s", diff)
	}
	if !bytes.Equal(a.Objects[0].Canonical, b.Objects[0].Canonical) {
		t.Errorf("the same object differs:\n%s\n%s", a.Objects[0].Canonical, b.Objects[0].Canonical)
	}
}

func TestPathsAreRelativeToTheManifest(t *testing.T) {
	dir := t.TempDir()
	r := decode.File(filepath.Join(dir, "m.yaml"), []byte(head+"Certificate\nmetadata: {name: c}\nspec: {files: {certificate: tls/c.pem, key: /k.pem}}\n---\n"+
		head+"TokenIssuer\nmetadata: {name: i}\nspec: {issuer: i, audiences: [a], keys: {file: ../jwks.json}}\n"))
	if len(r.Objects) != 2 {
		t.Fatal(r.Diagnostics)
	}
	files := r.Objects[0].Value.(*v1alpha1.Certificate).Spec.Files
	issuer := r.Objects[1].Value.(*v1alpha1.TokenIssuer)
	got := []string{files.Certificate, files.Key, issuer.Spec.Keys.File}
	want := []string{filepath.Join(dir, "tls/c.pem"), "/k.pem", filepath.Join(filepath.Dir(dir), "jwks.json")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPositionsOfFields(t *testing.T) {
	text := "apiVersion: v1\nkind: List\nitems:\n  - apiVersion: credence.mesh/v1alpha1\n    kind: AuthPolicy\n    metadata: {name: x}\n    spec:\n" +
		"      targetRefs: [{group: credence.mesh, kind: Workload, name: w}]\n      rules:\n        - name: r\n          from: [{workload: a}]\n" +
		"          to:\n            - methods: [GET]\n            - paths: [/a, /b]\n"
	r := decode.File("m.yaml", []byte(text))
	if len(r.Objects) != 1 {
		t.Fatal(r.Diagnostics)
	}
	o := r.Objects[0]
	for path, want := range map[string]string{
		"":                               "m.yaml:4:5",
		"spec":                           "m.yaml:7:5",
		"spec.rules[0]":                  "m.yaml:10:11",
		"spec.rules[0].to[1].paths":      "m.yaml:14:15",
		"spec.rules[0].to[1].paths[1]":   "m.yaml:14:27",
		"spec.rules[0].to[1].hosts[4].x": "m.yaml:14:15",
	} {
		if got := o.At(path).String(); got != want {
			t.Errorf("%q is at %s, want %s", path, got, want)
		}
	}
}

func TestFromCanonicalRefusesWhatFileHasNotMade(t *testing.T) {
	r := decode.File("m.yaml", []byte(mesh))
	o := r.Objects[0]
	other := manifests.Key{Group: o.Key.Group, Kind: o.Key.Kind, Name: "y"}
	if _, err := decode.FromCanonical(other, o.Canonical, o.Pos); err == nil {
		t.Error("another name was taken")
	}
	for _, text := range []string{
		"", "{}", "null", string(o.Canonical[:40]), strings.Replace(string(o.Canonical), `"a"`, `"A"`, 1),
		strings.Replace(string(o.Canonical), `"trustDomain"`, `"x":1,"trustDomain"`, 1), " " + string(o.Canonical),
		strings.Replace(string(o.Canonical), `"Mesh"`, `"Workload"`, 1),
	} {
		if _, err := decode.FromCanonical(o.Key, []byte(text), o.Pos); err == nil {
			t.Errorf("taken: %s", text)
		}
	}
}

func FuzzFile(f *testing.F) {
	for _, s := range []string{
		"", mesh, own("AuthPolicy", "  rules: []\n"), "a: &a [*a]", "\ufeff{}", "<<: [{a: b}]",
		gateway("HTTPRoute", "  parentRefs: [{name: edge}]\n  rules: [{filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]}]\n"),
		gateway("Gateway", "  gatewayClassName: credence\n  listeners: [{name: a, port: 80, protocol: HTTP}]\n"),
		gateway("ReferenceGrant", "  from: [{group: a, kind: b, namespace: c}]\n  to: [{group: a, kind: b}]\n"),
		own("TokenIssuer", "  issuer: i\n  audiences: [a]\n  keys: {inline: '{\"keys\":[{}]}'}\n"),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := decode.File("/d/m.yaml", data)
		if !r.Parsed && len(r.Objects) > 0 {
			t.Fatal("objects of a file that could not be read")
		}
		if !r.Parsed && !manifests.HasErrors(r.Diagnostics) {
			t.Fatal("no reason was given")
		}
		for _, o := range r.Objects {
			again, err := decode.FromCanonical(o.Key, o.Canonical, o.Pos)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(o.Value, again.Value); diff != "" {
				t.Fatal(diff)
			}
			file := decode.File("/e/m.json", o.Canonical)
			if len(file.Objects) != 1 || !bytes.Equal(file.Objects[0].Canonical, o.Canonical) {
				t.Fatalf("canonical JSON is read as something else: %v\n%s", file.Diagnostics, o.Canonical)
			}
		}
	})
}
