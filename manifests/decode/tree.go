package decode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/credence-mesh/credence/manifests"
)

// kind of a value. The zero value is not valid.
type kind int

const (
	_ kind = iota
	kindNull
	kindString
	kindInt
	kindFloat
	kindBool
	kindList
	kindMap
)

func (k kind) String() string {
	switch k {
	case kindNull:
		return "null"
	case kindString:
		return "a string"
	case kindInt, kindFloat:
		return "a number"
	case kindBool:
		return "a boolean"
	case kindList:
		return "a list"
	case kindMap:
		return "a mapping"
	}
	return "nothing"
}

// value is one value of a document, aliases and merges resolved.
type value struct {
	kind  kind
	plain bool   // a scalar without quotes or tag
	text  string // of a scalar
	pos   manifests.Position
	style yaml.Style
	items []*value
	// entries of a mapping in the order of the text; a duplicate key is in duplicates instead.
	entries    []entry
	duplicates []duplicate
}

type entry struct {
	name string
	pos  manifests.Position // of the key
	val  *value
}

type duplicate struct {
	entry
	first manifests.Position
}

// get is the value of a key, nil where there is none or v is no mapping.
func (v *value) get(name string) *value {
	if v == nil {
		return nil
	}
	for i := range v.entries {
		if v.entries[i].name == name {
			return v.entries[i].val
		}
	}
	return nil
}

// setDefault gives a mapping a text for a key that it does not have.
func (v *value) setDefault(name, text string) {
	if v.kind == kindMap && v.get(name) == nil {
		v.entries = append(v.entries, entry{name: name, pos: v.pos, val: &value{kind: kindString, text: text, pos: v.pos}})
	}
}

// without drops keys.
func (v *value) without(names ...string) {
	drop := func(name string) bool {
		for _, n := range names {
			if n == name {
				return true
			}
		}
		return false
	}
	kept := v.entries[:0]
	for _, e := range v.entries {
		if !drop(e.name) {
			kept = append(kept, e)
		}
	}
	v.entries = kept
	dups := v.duplicates[:0]
	for _, d := range v.duplicates {
		if !drop(d.name) {
			dups = append(dups, d)
		}
	}
	v.duplicates = dups
}

// treeError makes the whole file unreadable.
type treeError struct {
	pos                 manifests.Position
	code, message, hint string
}

type builder struct {
	f       *file
	aliases int // aliases that the current value lies under
}

// tree copies a YAML document into values; nil where it has no content.
func (f *file) tree(doc *yaml.Node) (*value, *treeError) {
	if len(doc.Content) == 0 {
		return nil, nil
	}
	return (&builder{f: f}).build(doc.Content[0], 0)
}

func (b *builder) at(n *yaml.Node) manifests.Position {
	return manifests.Position{File: b.f.name, Line: n.Line, Column: n.Column}
}

func (b *builder) build(n *yaml.Node, depth int) (*value, *treeError) {
	if depth > MaxDepth {
		return nil, &treeError{b.at(n), "too-deep", fmt.Sprintf("values are nested more than %d deep", MaxDepth), ""}
	}
	if b.aliases > 0 {
		if b.f.aliased++; b.f.aliased > MaxAliasedValues {
			return nil, &treeError{
				b.at(n), "too-many-aliases",
				fmt.Sprintf("aliases repeat more than %d values", MaxAliasedValues), "write the values out or split the file",
			}
		}
	}
	v := &value{pos: b.at(n)}
	switch n.Kind {
	case yaml.AliasNode:
		b.aliases++
		defer func() { b.aliases-- }()
		return b.build(n.Alias, depth+1)
	case yaml.MappingNode:
		v.kind = kindMap
		return v, b.mapping(v, n, depth)
	case yaml.SequenceNode:
		v.kind = kindList
		for _, c := range n.Content {
			item, err := b.build(c, depth+1)
			if err != nil {
				return nil, err
			}
			v.items = append(v.items, item)
		}
		return v, nil
	case yaml.ScalarNode:
		return v, b.scalar(v, n)
	case yaml.DocumentNode:
	}
	return nil, &treeError{b.at(n), "syntax", "not a value", ""}
}

func (b *builder) scalar(v *value, n *yaml.Node) *treeError {
	v.text, v.style = n.Value, n.Style
	v.plain = n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle|yaml.TaggedStyle) == 0
	switch n.ShortTag() {
	case "!!null":
		v.kind = kindNull
	case "!!int":
		v.kind = kindInt
	case "!!float":
		v.kind = kindFloat
	case "!!bool":
		v.kind, v.text = kindBool, strings.ToLower(n.Value)
	case "!!str", "!!timestamp", "!!merge":
		v.kind = kindString
	default:
		return &treeError{b.at(n), "yaml-tag", fmt.Sprintf("the YAML tag %s has no meaning here", n.ShortTag()), "remove the tag"}
	}
	return nil
}

func (b *builder) mapping(v *value, n *yaml.Node, depth int) *treeError {
	seen := make(map[string]manifests.Position, len(n.Content)/2)
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, c := n.Content[i], n.Content[i+1]
		if k.Kind == yaml.ScalarNode && k.ShortTag() == "!!merge" {
			merges = append(merges, c)
			continue
		}
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode || k.ShortTag() != "!!str" {
			return &treeError{b.at(k), "key-not-string", "the key of a mapping is not a string", "put the key in quotes"}
		}
		child, err := b.build(c, depth+1)
		if err != nil {
			return err
		}
		e := entry{name: k.Value, pos: b.at(n.Content[i]), val: child}
		if first, ok := seen[e.name]; ok {
			v.duplicates = append(v.duplicates, duplicate{e, first})
			continue
		}
		seen[e.name] = e.pos
		v.entries = append(v.entries, e)
	}
	for _, m := range merges {
		if err := b.merge(v, m, depth, seen); err != nil {
			return err
		}
	}
	return nil
}

// merge adds what the value of a "<<" key has and the mapping itself has not (YAML merge key, 2005).
func (b *builder) merge(v *value, n *yaml.Node, depth int, seen map[string]manifests.Position) *treeError {
	b.aliases++
	defer func() { b.aliases-- }()
	from, err := b.build(n, depth+1)
	if err != nil {
		return err
	}
	sources := []*value{from}
	if from.kind == kindList {
		sources = from.items
	}
	for _, s := range sources {
		if s.kind != kindMap {
			return &treeError{b.at(n), "syntax", "the value of << is not a mapping", ""}
		}
		v.duplicates = append(v.duplicates, s.duplicates...)
		for _, e := range s.entries {
			if _, ok := seen[e.name]; !ok {
				seen[e.name] = e.pos
				v.entries = append(v.entries, e)
			}
		}
	}
	return nil
}

// json writes the value as JSON. Numbers must have been checked to be JSON numbers. Nulls of mappings are left out.
func (v *value) json(b *bytes.Buffer) error {
	switch v.kind {
	case kindNull:
		b.WriteString("null")
	case kindInt, kindFloat, kindBool:
		b.WriteString(v.text)
	case kindString:
		return writeString(b, v.text)
	case kindList:
		b.WriteByte('[')
		for i, c := range v.items {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := c.json(b); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	case kindMap:
		return v.jsonMapping(b)
	}
	return nil
}

func (v *value) jsonMapping(b *bytes.Buffer) error {
	b.WriteByte('{')
	first := true
	for _, e := range v.entries {
		if e.val.kind == kindNull {
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		if err := writeString(b, e.name); err != nil {
			return err
		}
		b.WriteByte(':')
		if err := e.val.json(b); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func writeString(b *bytes.Buffer, s string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode a string: %w", err)
	}
	b.Write(text)
	return nil
}
