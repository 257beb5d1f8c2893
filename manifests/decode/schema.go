package decode

import (
	"cmp"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/v1alpha1"
)

// walker compares the values of one object with the Go type that they are for and tells of everything that does not fit.
type walker struct {
	sink
	fields map[string]manifests.Position
	texts  map[string][]manifests.TextRun
	// runs says where the text of an expression stands.
	runs func(*value) []manifests.TextRun
	// allow, where not nil, holds the paths (without indices) of the fields that are supported.
	allow map[string]bool
	// strictEmpty refuses empty lists and texts in optional fields: absent means "any" or the default there, and empty would read as
	// "none".
	strictEmpty bool
}

// sink collects the diagnostics of one object.
type sink struct {
	key    manifests.Key
	diags  []manifests.Diagnostic
	failed bool
}

func (s *sink) fail(pos manifests.Position, code, message, hint string) {
	s.failed = true
	s.add(manifests.Error, pos, code, message, hint)
}

func (s *sink) add(sev manifests.Severity, pos manifests.Position, code, message, hint string) {
	s.diags = append(s.diags, manifests.Diagnostic{Severity: sev, Code: code, Pos: pos, Object: s.key, Message: message, Hint: hint})
}

// spot is where a value stands: path with indices, and allowed path without.
type spot struct {
	path, plain string
	optional    bool // absent and empty are different things to a reader, and the same to the type
}

func (s spot) field(name string, optional bool) spot {
	if s.path == "" {
		return spot{name, name, optional}
	}
	return spot{s.path + "." + name, s.plain + "." + name, optional}
}

func (s spot) item(i int) spot {
	return spot{s.path + "[" + strconv.Itoa(i) + "]", s.plain, false}
}

var (
	durationType = reflect.TypeFor[metav1.Duration]()
	timeType     = reflect.TypeFor[metav1.Time]()
	jsonInteger  = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
)

func (w *walker) check(v *value, t reflect.Type, at spot) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case v.kind == kindNull:
		w.null(v, at)
	case t == timeType:
	case t == durationType:
		w.duration(v, at)
	case t.Kind() == reflect.Struct:
		w.structure(v, t, at)
	case t.Kind() == reflect.Slice:
		w.list(v, t, at)
	case t.Kind() == reflect.Map:
		w.mapping(v, t, at)
	case t.Kind() == reflect.String:
		w.str(v, at)
	case t.Kind() == reflect.Bool:
		w.boolean(v, at)
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64:
		w.integer(v, t, at)
	default:
		w.fail(v.pos, "unsupported-field", fmt.Sprintf("%s is not supported", at.path), "remove it")
	}
}

func (w *walker) null(v *value, at spot) {
	if at.plain == "metadata" || strings.HasPrefix(at.plain, "metadata.") {
		return // null and absent are one there, and API servers write it
	}
	w.fail(v.pos, "empty-value", fmt.Sprintf("%s has no value", at.path), "give it a value or remove it")
}

func (w *walker) wrongType(v *value, at spot, want, hint string) {
	w.fail(v.pos, "wrong-type", fmt.Sprintf("%s must be %s, not %s", at.path, want, v.kind), hint)
}

func (w *walker) duration(v *value, at spot) {
	const example = `for example "30s", "5m" or "1h30m"`
	if v.kind != kindString {
		w.wrongType(v, at, "a duration", example)
	} else if _, err := time.ParseDuration(v.text); err != nil {
		w.fail(v.pos, "invalid-value", fmt.Sprintf("%s: %q is not a duration", at.path, v.text), example)
	}
}

func (w *walker) structure(v *value, t reflect.Type, at spot) {
	if v.kind != kindMap {
		w.wrongType(v, at, "a mapping", "")
		return
	}
	known := fieldsOf(t)
	for _, d := range v.duplicates {
		w.duplicate(d, at)
	}
	for _, e := range v.entries {
		sub := at.field(e.name, false)
		i := slices.IndexFunc(known, func(f field) bool { return f.name == e.name })
		switch {
		case i < 0:
			w.unknown(e, w.supported(known, at), at)
		case w.allow != nil && strings.HasPrefix(sub.plain, "spec.") && !w.allow[sub.plain]:
			w.fail(e.pos, "unsupported-field", fmt.Sprintf("%s is not supported", sub.path), "remove it; nothing is ignored in silence")
		default:
			w.fields[sub.path] = e.pos
			sub.optional = known[i].optional
			w.check(e.val, known[i].typ, sub)
		}
	}
}

// supported are the fields that a hint may name: nobody should write one that is refused next.
func (w *walker) supported(known []field, at spot) []field {
	out := make([]field, 0, len(known))
	for _, f := range known {
		if plain := at.field(f.name, false).plain; w.allow == nil || !strings.HasPrefix(plain, "spec.") || w.allow[plain] {
			out = append(out, f)
		}
	}
	return out
}

func (w *walker) duplicate(d duplicate, at spot) {
	w.fail(d.pos, "duplicate-key", fmt.Sprintf("%s is given twice", at.field(d.name, false).path),
		fmt.Sprintf("the first is at line %d; keep one of them", d.first.Line))
}

func (w *walker) unknown(e entry, known []field, at spot) {
	names := make([]string, len(known))
	for i, f := range known {
		names[i] = f.name
	}
	where := at.path
	if where == "" {
		where = "the object"
	}
	for _, n := range names {
		if strings.EqualFold(n, e.name) {
			w.fail(e.pos, "wrong-case", fmt.Sprintf("%s has no field %q", where, e.name), "write "+n+": names are case-sensitive")
			return
		}
	}
	hint := "known fields: " + strings.Join(names, ", ")
	if n := nearest(e.name, names); n != "" {
		hint = "did you mean " + n + "?"
	} else if len(names) > 12 || len(names) == 0 {
		hint = "remove it"
	}
	w.fail(e.pos, "unknown-field", fmt.Sprintf("%s has no field %q", where, e.name), hint)
}

func (w *walker) list(v *value, t reflect.Type, at spot) {
	if v.kind != kindList {
		hint := "begin each item with \"- \""
		if v.kind == kindString {
			hint = cmp.Or(v1alpha1.ListHint(at.plain, v.text), hint)
		}
		w.wrongType(v, at, "a list", hint)
		return
	}
	if len(v.items) == 0 && w.strictEmpty && at.optional {
		w.fail(v.pos, "empty-list", fmt.Sprintf("%s is an empty list", at.path),
			"remove it if nothing is to be restricted; an empty list does not mean \"none\"")
	}
	for i, c := range v.items {
		sub := at.item(i)
		w.fields[sub.path] = c.pos
		w.check(c, t.Elem(), sub)
	}
}

func (w *walker) mapping(v *value, t reflect.Type, at spot) {
	if v.kind != kindMap {
		w.wrongType(v, at, "a mapping", "")
		return
	}
	for _, d := range v.duplicates {
		w.duplicate(d, at)
	}
	for _, e := range v.entries {
		sub := at.field(e.name, false)
		w.fields[sub.path] = e.pos
		w.check(e.val, t.Elem(), sub)
	}
}

// yaml11 are the plain scalars that YAML 1.1 readers (kubectl among them) take for booleans and YAML 1.2 does not.
var yaml11 = regexp.MustCompile(`^(?i:y|yes|on|n|no|off)$`)

func (w *walker) str(v *value, at spot) {
	if holdsExpression(at.plain) {
		w.texts[at.path] = w.runs(v)
	}
	switch {
	case v.kind == kindInt || v.kind == kindFloat || v.kind == kindBool:
		w.wrongType(v, at, "a string", fmt.Sprintf("put it in quotes: %q", v.text))
	case v.kind != kindString:
		w.wrongType(v, at, "a string", "")
	case v.text == "" && w.strictEmpty && at.optional:
		w.null(v, at)
	case v.plain && yaml11.MatchString(v.text):
		w.add(manifests.Warning, v.pos, "yaml-boolean",
			fmt.Sprintf("%s: other tools read %s without quotes as a boolean", at.path, v.text), fmt.Sprintf("put it in quotes: %q", v.text))
	}
}

func (w *walker) boolean(v *value, at spot) {
	hint := "write true or false without quotes"
	if v.kind != kindBool {
		w.wrongType(v, at, "a boolean", hint)
	} else if v.text != "true" && v.text != "false" {
		w.fail(v.pos, "wrong-type", fmt.Sprintf("%s: %q is not a boolean", at.path, v.text), hint)
	}
}

func (w *walker) integer(v *value, t reflect.Type, at spot) {
	if v.kind == kindString && jsonInteger.MatchString(v.text) {
		w.wrongType(v, at, "a number", "write it without quotes")
		return
	}
	if v.kind != kindInt && v.kind != kindFloat {
		w.wrongType(v, at, "a number", "")
		return
	}
	if !jsonInteger.MatchString(v.text) {
		w.fail(v.pos, "wrong-type", fmt.Sprintf("%s: %s is not a whole number in decimal", at.path, v.text),
			"write plain digits, without leading zeros")
		return
	}
	zero := reflect.Zero(t)
	var fits bool
	if zero.CanInt() {
		n, err := strconv.ParseInt(v.text, 10, 64)
		fits = err == nil && !zero.OverflowInt(n)
	} else if zero.CanUint() {
		n, err := strconv.ParseUint(v.text, 10, 64)
		fits = err == nil && !zero.OverflowUint(n)
	}
	switch {
	case !fits:
		w.fail(v.pos, "out-of-range", fmt.Sprintf("%s: %s is out of range", at.path, v.text), "a number nearer to zero")
	case at.plain == corsMaxAge && strings.Trim(v.text, "-0") == "":
		// A zero that is written is no default: what is decoded later cannot tell the two apart.
		w.fail(v.pos, "out-of-range", fmt.Sprintf("%s: %s is out of range", at.path, v.text), "at least 1 second")
	}
}

type field struct {
	name     string
	typ      reflect.Type
	optional bool
}

// fieldsOf lists the JSON fields of a struct, those of embedded ones included.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case name == "" && f.Anonymous:
			out = append(out, fieldsOf(f.Type)...)
		default:
			out = append(out, field{name, f.Type, strings.Contains(opts, "omitempty")})
		}
	}
	return out
}
