package decode

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	kjson "sigs.k8s.io/json"

	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/v1alpha1"
)

// DefaultNamespace is that of objects that name none.
const DefaultNamespace = "default"

// document takes one document, or one item of a List. It tells whether what it names could be told.
func (f *file) document(root *value) bool {
	if root.kind != kindMap {
		f.report(root.pos, "not-an-object", fmt.Sprintf("the document is %s, not an object", root.kind),
			"an object begins with apiVersion, kind and metadata")
		return false
	}
	apiVersion, ok1 := f.word(root, "apiVersion", root)
	kind, ok2 := f.word(root, "kind", root)
	if !ok1 || !ok2 {
		return false
	}
	group, version, found := strings.Cut(apiVersion, "/")
	if !found {
		group, version = "", apiVersion
	}
	if item, ok := strings.CutSuffix(kind, "List"); ok && (group == "" && item == "" || findKind(group, item) != nil) {
		return f.list(root, apiVersion, item)
	}
	if f.count++; f.count > MaxObjects {
		return true // the caller refuses the file
	}
	return f.object(root, group, version, kind)
}

// list takes the items of a v1 List or of a typed one ("HTTPRouteList"), whose items need not say what they are.
func (f *file) list(root *value, apiVersion, kind string) bool {
	items := root.get("items")
	if items == nil || items.kind != kindList {
		f.report(root.pos, "no-items", "a List without a list of items", "add items")
		return false
	}
	named := true
	for _, item := range items.items {
		if kind != "" {
			item.setDefault("apiVersion", apiVersion)
			item.setDefault("kind", kind)
		}
		named = f.document(item) && named
	}
	return named
}

// word is a required string of a mapping.
func (f *file) word(m *value, name string, root *value) (string, bool) {
	v := m.get(name)
	if v == nil || v.kind != kindString || v.text == "" {
		pos := root.pos
		if v != nil {
			pos = v.pos
		}
		f.report(pos, "no-"+strings.ToLower(name), fmt.Sprintf("an object without %s", name),
			"every object has apiVersion, kind and metadata.name")
		return "", false
	}
	return v.text, true
}

func (f *file) object(root *value, group, version, kind string) bool {
	groups := []string{v1alpha1.Group, gatewayv1.GroupName}
	meant := group
	if !slices.Contains(groups, group) {
		if meant = meantGroup(group, kind, groups); meant == "" {
			f.foreignKind(root, group, kind)
			return true
		}
		message := fmt.Sprintf("the API group %q is not known", group)
		if group == "" {
			message = fmt.Sprintf("apiVersion %q has no kind %q", version, kind)
		}
		f.report(root.get("apiVersion").pos, "unknown-group", message, "did you mean "+meant+"?")
	}
	metadata := root.get("metadata")
	if metadata == nil || metadata.kind != kindMap {
		f.report(root.pos, "no-name", fmt.Sprintf("a %s without metadata", kind), "add metadata with a name")
		return false
	}
	name, ok := f.word(metadata, "name", root)
	if !ok {
		return false
	}
	o := &objectDecoder{file: f, root: root, metadata: metadata, spec: findKind(meant, kind)}
	o.key = manifests.Key{Group: meant, Kind: kind, Namespace: DefaultNamespace, Name: name}
	if ns := metadata.get("namespace"); ns != nil && ns.kind == kindString && ns.text != "" {
		o.key.Namespace = ns.text
	}
	switch {
	case meant != group: // a slip is no deletion: the last good version of what was meant stays
		if o.spec != nil {
			if o.spec.clusterWide {
				o.key.Namespace = ""
			}
			f.broken = append(f.broken, o.key)
		}
	case o.spec == nil:
		o.unknownKind(group, kind)
	default:
		o.decode(version)
	}
	f.diags = append(f.diags, o.diags...)
	return true
}

// meantGroup is the group of ours that an unknown one is a slip for, or that was left out before a kind of it; empty: none.
func meantGroup(group, kind string, groups []string) string {
	if group != "" {
		return nearest(group, groups)
	}
	if i := slices.IndexFunc(groups, func(g string) bool { return findKind(g, kind) != nil }); i >= 0 {
		return groups[i]
	}
	return ""
}

func (f *file) foreignKind(root *value, group, kind string) {
	if f.foreign[group+"/"+kind] {
		return
	}
	f.foreign[group+"/"+kind] = true
	label := kind
	if group != "" {
		label += "." + group
	}
	f.diags = append(f.diags, manifests.Diagnostic{
		Severity: manifests.Notice, Code: "foreign-kind", Pos: root.pos, Message: "objects of kind " + label + " are not read",
	})
}

func findKind(group, kind string) *kindSpec {
	all := kinds()
	i := slices.IndexFunc(all, func(k kindSpec) bool { return k.group == group && k.kind == kind })
	if i < 0 {
		return nil
	}
	return &all[i]
}

// objectDecoder decodes one object of a kind of ours or of the Gateway API.
type objectDecoder struct {
	sink
	file           *file
	root, metadata *value
	spec           *kindSpec
}

// unknownKind refuses the object. What it most likely was meant to be keeps its last good version.
func (o *objectDecoder) unknownKind(group, kind string) {
	var names []string
	for _, k := range kinds() {
		if k.group == group {
			names = append(names, k.kind)
		}
	}
	hint := "known kinds: " + strings.Join(names, ", ")
	meant := nearest(kind, names)
	for _, n := range names {
		if strings.EqualFold(n, kind) {
			meant = n
		}
	}
	if meant != "" {
		hint = "did you mean " + meant + "?"
		key := o.key
		key.Kind = meant
		if findKind(group, meant).clusterWide {
			key.Namespace = ""
		}
		o.file.broken = append(o.file.broken, key)
	}
	o.fail(o.root.get("kind").pos, "unknown-kind", fmt.Sprintf("%s has no kind %q", group, kind), hint)
}

var serverOwned = []string{
	"managedFields", "uid", "resourceVersion", "generation", "creationTimestamp", "selfLink", "deletionTimestamp",
	"deletionGracePeriodSeconds", "ownerReferences", "finalizers",
}

func (o *objectDecoder) decode(version string) {
	o.identity(version)
	o.root.without("status")
	o.metadata.without(serverOwned...)
	w := &walker{sink: sink{key: o.key}, fields: map[string]manifests.Position{}, texts: map[string][]manifests.TextRun{}, runs: o.file.runs, allow: o.spec.allow, strictEmpty: o.spec.allow == nil}
	typed := o.spec.empty()
	w.check(o.root, fieldsRoot(typed), spot{})
	if g := o.metadata.get("generateName"); g != nil {
		w.fail(g.pos, "unsupported-field", "metadata.generateName is not supported", "give the object a name")
	}
	o.diags, o.failed = append(o.diags, w.diags...), o.failed || w.failed
	out := &manifests.Object{Key: o.key, Pos: o.root.pos, Value: typed, Fields: w.fields, Texts: w.texts}
	if !o.failed {
		o.fill(out)
	}
	if o.failed {
		o.file.broken = append(o.file.broken, o.key)
		return
	}
	o.file.objects = append(o.file.objects, out)
}

var (
	dnsLabel     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	dnsSubdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
)

// identity settles the key and checks what it is made of.
func (o *objectDecoder) identity(version string) {
	ns := o.metadata.get("namespace")
	if o.spec.clusterWide {
		o.key.Namespace = ""
		if ns != nil && ns.kind != kindNull {
			o.fail(ns.pos, "namespace-not-allowed", fmt.Sprintf("a %s has no namespace", o.key.Kind), "remove metadata.namespace")
		}
	} else if !dnsLabel.MatchString(o.key.Namespace) {
		o.fail(ns.pos, "invalid-name", fmt.Sprintf("%q is not a namespace", o.key.Namespace),
			"at most 63 lower-case letters, digits and \"-\" (RFC 1123)")
	}
	if len(o.key.Name) > 253 || !dnsSubdomain.MatchString(o.key.Name) {
		o.fail(o.metadata.get("name").pos, "invalid-name", fmt.Sprintf("%q is not a name", o.key.Name),
			"at most 253 lower-case letters, digits, \"-\" and \".\" (RFC 1123)")
	}
	if !slices.Contains(o.spec.versions, version) {
		o.fail(o.root.get("apiVersion").pos, "unsupported-version", fmt.Sprintf("%s has no version %q here", o.key.Kind, version),
			"write apiVersion: "+o.spec.group+"/"+o.spec.versions[0])
	}
}

// fill decodes the JSON of a value that has passed the walk, applies defaults and checks.
func (o *objectDecoder) fill(out *manifests.Object) {
	var b bytes.Buffer
	if err := o.root.json(&b); err != nil {
		o.fail(o.root.pos, "invalid-value", err.Error(), "")
		return
	}
	strict, err := kjson.UnmarshalStrict(b.Bytes(), out.Value)
	for _, e := range append(strict, err) {
		var fe kjson.FieldError
		switch {
		case e == nil:
		case errors.As(e, &fe):
			o.fail(out.At(fe.FieldPath()), "invalid-value", e.Error(), "")
		default:
			o.fail(o.root.pos, "invalid-value", e.Error(), "")
		}
	}
	if o.failed {
		return
	}
	settle(out.Value, o.key, o.spec, o.file.dir)
	for _, fe := range validate(out.Value) {
		pos := out.At(fe.Path)
		if fe.Warning {
			o.add(manifests.Warning, pos, fe.Code, fe.Message, fe.Hint)
		} else {
			o.fail(pos, fe.Code, fe.Message, fe.Hint)
		}
	}
	if o.failed {
		return
	}
	if out.Canonical, err = canonical(out.Value); err == nil {
		out.Value, err = restore(o.spec, out.Canonical)
	}
	if err != nil {
		o.fail(o.root.pos, "invalid-value", err.Error(), "")
	}
}

// settle completes an object: type, namespace, defaults, absolute paths.
func settle(v any, key manifests.Key, spec *kindSpec, dir string) {
	if m, ok := v.(metav1.Object); ok {
		m.SetNamespace(key.Namespace)
		a := m.GetAnnotations()
		delete(a, "kubectl.kubernetes.io/last-applied-configuration")
		if len(a) == 0 {
			m.SetAnnotations(nil)
		}
	}
	if t := typeMeta(v); t != nil {
		t.Kind, t.APIVersion = spec.kind, spec.group+"/"+spec.versions[0]
	}
	absolute(v, dir)
	setDefaults(v)
}

// canonical is the JSON of an object without what servers own: fields in the order of the type, top level sorted.
func canonical(v any) ([]byte, error) {
	full, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	var top, meta map[string]json.RawMessage
	if err := json.Unmarshal(full, &top); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	if err := json.Unmarshal(top["metadata"], &meta); err != nil {
		return nil, fmt.Errorf("encode metadata: %w", err)
	}
	for _, name := range serverOwned {
		delete(meta, name)
	}
	delete(top, "status")
	if top["metadata"], err = json.Marshal(meta); err != nil {
		return nil, fmt.Errorf("encode metadata: %w", err)
	}
	out, err := json.Marshal(top)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return out, nil
}
