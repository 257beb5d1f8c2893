package compile_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	k8syaml "sigs.k8s.io/yaml"

	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/v1alpha1"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/compile"
)

// objects reads manifests without defaults: what Compile must cope with is then written out in the test.
func objects(t testing.TB, file, text string) []*manifests.Object {
	t.Helper()
	var out []*manifests.Object
	dec := yaml.NewDecoder(strings.NewReader(text))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(doc.Content) == 1 && doc.Content[0].Kind == yaml.MappingNode {
			out = append(out, object(t, file, doc.Content[0]))
		}
	}
}

func object(t testing.TB, file string, node *yaml.Node) *manifests.Object {
	t.Helper()
	var b bytes.Buffer
	if err := yaml.NewEncoder(&b).Encode(node); err != nil {
		t.Fatal(err)
	}
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Name      string `json:"name"`
			Namespace string `json:"namespace"`
		} `json:"metadata"`
	}
	if err := k8syaml.Unmarshal(b.Bytes(), &head); err != nil {
		t.Fatal(err)
	}
	values := map[string]any{
		"Mesh": &v1alpha1.Mesh{}, "Workload": &v1alpha1.Workload{}, "Certificate": &v1alpha1.Certificate{},
		"TokenIssuer": &v1alpha1.TokenIssuer{}, "AuthPolicy": &v1alpha1.AuthPolicy{}, "Gateway": &gatewayv1.Gateway{},
		"HTTPRoute": &gatewayv1.HTTPRoute{}, "GRPCRoute": &gatewayv1.GRPCRoute{}, "ReferenceGrant": &gatewayv1.ReferenceGrant{},
		"GatewaySettings": &v1alpha1.GatewaySettings{}, "Credentials": &v1alpha1.Credentials{}, "RevocationList": &v1alpha1.RevocationList{},
	}
	value, ok := values[head.Kind]
	if !ok {
		t.Fatalf("%s:%d: kind %q", file, node.Line, head.Kind)
	}
	if err := k8syaml.UnmarshalStrict(b.Bytes(), value); err != nil {
		t.Fatalf("%s:%d: %v", file, node.Line, err)
	}
	group, _, _ := strings.Cut(head.APIVersion, "/")
	ns := head.Metadata.Namespace
	if ns == "" && head.Kind != "Mesh" {
		ns = "default"
	}
	o := &manifests.Object{
		Key:   manifests.Key{Group: group, Kind: head.Kind, Namespace: ns, Name: head.Metadata.Name},
		Pos:   manifests.Position{File: file, Line: node.Line, Column: node.Column},
		Value: value, Canonical: b.Bytes(), Fields: make(map[string]manifests.Position),
	}
	positions(o, "", node)
	return o
}

func positions(o *manifests.Object, path string, n *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			sub := strings.TrimPrefix(path+"."+n.Content[i].Value, ".")
			o.Fields[sub] = manifests.Position{File: o.Pos.File, Line: n.Content[i].Line, Column: n.Content[i].Column}
			positions(o, sub, n.Content[i+1])
		}
	case yaml.SequenceNode:
		for i, e := range n.Content {
			sub := fmt.Sprintf("%s[%d]", path, i)
			o.Fields[sub] = manifests.Position{File: o.Pos.File, Line: e.Line, Column: e.Column}
			positions(o, sub, e)
		}
	case yaml.DocumentNode, yaml.ScalarNode, yaml.AliasNode:
	}
}

// compiled is the Set of text; the diagnostics as lines.
func compiled(t testing.TB, text string, missing ...manifests.Key) (*policy.Set, []string) {
	t.Helper()
	set, ds := compile.Compile(compile.Input{Objects: objects(t, "in.yaml", text), Missing: missing})
	lines := make([]string, 0, len(ds))
	for _, d := range ds {
		lines = append(lines, d.String())
	}
	return set, lines
}
