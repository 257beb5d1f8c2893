package decode

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/credence-mesh/credence/manifests"
)

// Bounds of one file. A file beyond one of them is refused as a whole.
const (
	MaxFileBytes     = 4 << 20
	MaxObjects       = 1000 // documents, and items of Lists
	MaxDepth         = 64
	MaxAliasedValues = 100_000 // values that exist only because an alias or a merge repeats them
)

// Result is what one file says.
type Result struct {
	// Objects that are valid by themselves, in the order of the file.
	Objects []*manifests.Object
	// Diagnostics in their one order.
	Diagnostics []manifests.Diagnostic
	// Parsed is false where it can't be told which objects the file names: it is not YAML, is beyond a bound, or holds something
	// without a kind or name. What was last read from the file then stays in force as a whole.
	Parsed bool
	// Broken are the keys of objects that the file names and whose content is invalid: their last good version stays in force.
	Broken []manifests.Key
}

// File decodes all documents of one file. name is the path of the file: positions carry it, and relative paths inside of the
// objects are taken from its directory. It never fails as a whole: the diagnostics say what is wrong.
func File(name string, data []byte) Result {
	f := &file{name: name, dir: directory(name), foreign: map[string]bool{}}
	f.parsed = f.read(data)
	return Result{Objects: f.objects, Diagnostics: manifests.Sort(f.diags), Parsed: f.parsed, Broken: f.broken}
}

// file is the state of decoding one file.
type file struct {
	name    string
	dir     string
	objects []*manifests.Object
	diags   []manifests.Diagnostic
	broken  []manifests.Key
	parsed  bool
	count   int
	aliased int
	foreign map[string]bool // group/kind that were told of
	// lines of the file, for the places of expressions; nil until the first is met.
	lines [][]rune
	data  []byte
}

func directory(name string) string {
	dir, err := filepath.Abs(filepath.Dir(name))
	if err != nil { // no working directory: then a relative name can't be told, and the paths stay relative
		return filepath.Dir(name)
	}
	return dir
}

// read tells whether every object of the file could at least be named.
func (f *file) read(data []byte) bool {
	if len(data) > MaxFileBytes {
		f.report(manifests.Position{File: f.name}, "file-too-large",
			fmt.Sprintf("the file has %d bytes, more than %d", len(data), MaxFileBytes), "split it into several files")
		return false
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	f.data = data
	documents, ok := f.documents(fromJSON(data))
	if !ok {
		return false
	}
	named := true
	for _, d := range documents {
		root, err := f.tree(d)
		if err != nil {
			f.report(err.pos, err.code, err.message, err.hint)
			return f.discard()
		}
		if root == nil || root.kind == kindNull {
			continue
		}
		named = f.document(root) && named
		if f.count > MaxObjects {
			f.report(root.pos, "too-many-objects", fmt.Sprintf("the file has more than %d objects", MaxObjects),
				"split it into several files")
			return f.discard()
		}
	}
	if !named {
		return f.discard()
	}
	return true
}

// discard forgets the objects of a file of which not everything could be named.
func (f *file) discard() bool {
	f.objects, f.broken = nil, nil
	return false
}

var errorLine = regexp.MustCompile(`^yaml: line (\d+): `)

func (f *file) documents(data []byte) ([]*yaml.Node, bool) {
	var out []*yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(data))
	for {
		n := new(yaml.Node)
		err := d.Decode(n)
		if errors.Is(err, io.EOF) {
			return out, true
		}
		if err != nil {
			f.syntax(err)
			return nil, false
		}
		if out = append(out, n); len(out) > MaxObjects {
			f.report(manifests.Position{File: f.name, Line: n.Line}, "too-many-objects",
				fmt.Sprintf("the file has more than %d documents", MaxObjects), "split it into several files")
			return nil, false
		}
	}
}

func (f *file) syntax(err error) {
	pos, text := manifests.Position{File: f.name}, err.Error()
	if m := errorLine.FindStringSubmatch(text); m != nil {
		line, convErr := strconv.Atoi(m[1])
		if convErr == nil {
			pos.Line = line
		}
		text = text[len(m[0]):]
	} else {
		text = string(bytes.TrimPrefix([]byte(text), []byte("yaml: ")))
	}
	f.report(pos, "syntax", "not valid YAML: "+text, "what was last read from this file stays in force until it can be read again")
}

func (f *file) report(pos manifests.Position, code, message, hint string) {
	f.diags = append(f.diags, manifests.Diagnostic{
		Severity: manifests.Error, Code: code, Pos: pos, Message: message, Hint: hint,
	})
}
