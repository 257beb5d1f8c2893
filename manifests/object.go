package manifests

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Key names one object: what Kubernetes calls group, kind, namespace and name. The version is no part of it: one object has one
// version at a time. Namespace is empty for kinds that have none (Mesh). Comparable.
type Key struct {
	Group     string
	Kind      string
	Namespace string
	Name      string
}

// String renders "Kind namespace/name", or "Kind name" where there is no namespace.
func (k Key) String() string {
	if k.Namespace == "" {
		return k.Kind + " " + k.Name
	}
	return k.Kind + " " + k.Namespace + "/" + k.Name
}

// Compare orders keys by group, kind, namespace, name.
func (k Key) Compare(o Key) int {
	return cmp.Or(
		strings.Compare(k.Group, o.Group), strings.Compare(k.Kind, o.Kind),
		strings.Compare(k.Namespace, o.Namespace), strings.Compare(k.Name, o.Name))
}

// Position is a place in a manifest. Line and Column count from 1; 0 means unknown.
type Position struct {
	File   string
	Line   int
	Column int
}

// String renders file:line:col and leaves out what is not known.
func (p Position) String() string {
	switch {
	case p.File == "":
		return ""
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Compare orders positions by file, line, column.
func (p Position) Compare(o Position) int {
	return cmp.Or(strings.Compare(p.File, o.File), cmp.Compare(p.Line, o.Line), cmp.Compare(p.Column, o.Column))
}

// Object is one decoded manifest. It is immutable once a decoder has returned it.
type Object struct {
	Key Key
	// Pos is where the document begins.
	Pos Position
	// Value is the typed object with defaults applied: a pointer to one of the types of manifests/v1alpha1 or of
	// sigs.k8s.io/gateway-api/apis/v1.
	Value any
	// Canonical is the JSON of Value with server-owned fields removed and keys in a fixed order: what is hashed, compared and
	// kept as last good.
	Canonical []byte
	// Fields maps the path of a field ("spec.rules[0].to[1].paths[0]") to its place.
	Fields map[string]Position
	// Texts maps the path of a field that holds an expression to where its text stands, run by run: see AtText.
	Texts map[string][]TextRun
}

// TextRun is text that stands in one piece in the manifest: from Offset, in characters of the value, it begins at Pos.
type TextRun struct {
	Offset int
	Pos    Position
}

// AtText is the place of the character at offset of the expression at path, else that of the field.
func (o *Object) AtText(path string, offset int) Position {
	var at *TextRun
	for i := range o.Texts[path] {
		if run := &o.Texts[path][i]; run.Offset <= offset {
			at = run
		}
	}
	if at == nil {
		return o.At(path)
	}
	pos := at.Pos
	pos.Column += offset - at.Offset
	return pos
}

// At is the place of the field at path, else of the nearest enclosing field that has one, else of the document.
func (o *Object) At(path string) Position {
	for path != "" {
		if p, ok := o.Fields[path]; ok {
			return p
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			break
		}
		path = path[:cut]
	}
	return o.Pos
}

// Severity of a Diagnostic. The zero value is not valid.
type Severity int

// Severities, gravest last.
const (
	_ Severity = iota
	Notice
	Warning
	Error
)

// String is the lower-case word.
func (s Severity) String() string {
	switch s {
	case Notice:
		return "notice"
	case Warning:
		return "warning"
	case Error:
		return "error"
	}
	return fmt.Sprintf("severity(%d)", int(s))
}

// Diagnostic tells an operator of one thing in the manifests: what happened, where, and what to do. Codes are stable
// (lower-case-with-dashes): scripts may match them, never the message.
type Diagnostic struct {
	Severity Severity
	Code     string
	Pos      Position
	// Object is the manifest that it is about; zero where no object could be told.
	Object  Key
	Message string
	Hint    string
}

// String renders one line: position, severity, message, code, hint.
func (d Diagnostic) String() string {
	var b strings.Builder
	if p := d.Pos.String(); p != "" {
		b.WriteString(p + ": ")
	}
	fmt.Fprintf(&b, "%s: %s [%s]", d.Severity, d.Message, d.Code)
	if d.Hint != "" {
		b.WriteString(" (" + d.Hint + ")")
	}
	return b.String()
}

// Sort puts diagnostics into their one order (position, then code, then message) and drops exact repeats.
func Sort(ds []Diagnostic) []Diagnostic {
	slices.SortFunc(ds, func(a, b Diagnostic) int {
		return cmp.Or(a.Pos.Compare(b.Pos), strings.Compare(a.Code, b.Code), strings.Compare(a.Message, b.Message),
			a.Object.Compare(b.Object), cmp.Compare(a.Severity, b.Severity), strings.Compare(a.Hint, b.Hint))
	})
	return slices.Compact(ds)
}

// HasErrors tells whether any of ds is an Error.
func HasErrors(ds []Diagnostic) bool {
	return slices.ContainsFunc(ds, func(d Diagnostic) bool { return d.Severity == Error })
}
