package decode

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/credence-mesh/credence/manifests"
)

// holdsExpression tells whether the text of the field is a program whose errors have places of their own.
func holdsExpression(plain string) bool { return strings.HasSuffix(plain, ".require.condition") }

// runs finds where the text of a scalar stands in the file. YAML folds lines, indents blocks and escapes characters: what is no white
// space keeps its order, so it is found one after the other. What can't be found ends the search: the last run then stands for the rest.
func (f *file) runs(v *value) []manifests.TextRun {
	if f.lines == nil {
		for line := range strings.SplitSeq(string(f.data), "\n") {
			f.lines = append(f.lines, []rune(line))
		}
	}
	if v.pos.Line < 1 || v.pos.Line > len(f.lines) {
		return nil
	}
	c := cursor{lines: f.lines, line: v.pos.Line - 1, column: v.pos.Column - 1}
	switch {
	case v.style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		c.line, c.column = c.line+1, 0
	case v.style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
		c.column++
	}
	var out []manifests.TextRun
	next := manifests.Position{}
	for offset, r := range []rune(v.text) {
		if r == ' ' || r == '\n' || r == '\t' {
			next.Column++
			continue
		}
		pos, ok := c.find(r, v.style)
		if !ok {
			break
		}
		pos.File = v.pos.File
		if len(out) == 0 || pos.Line != next.Line || pos.Column != next.Column {
			out = append(out, manifests.TextRun{Offset: offset, Pos: pos})
		}
		next = pos
		next.Column++
	}
	return out
}

// cursor is a place in the file, in characters.
type cursor struct {
	lines        [][]rune
	line, column int
}

// find goes to the next character that is no white space and takes it, if it is r.
func (c *cursor) find(r rune, style yaml.Style) (manifests.Position, bool) {
	for ; c.line < len(c.lines); c.line, c.column = c.line+1, 0 {
		row := c.lines[c.line]
		for ; c.column < len(row); c.column++ {
			if s := row[c.column]; s == ' ' || s == '\t' || s == '\r' {
				continue
			}
			if row[c.column] == '\\' && c.column == len(row)-1 && style&yaml.DoubleQuotedStyle != 0 {
				continue // the line goes on
			}
			pos := manifests.Position{Line: c.line + 1, Column: c.column + 1}
			n, ok := taken(row[c.column:], r, style)
			c.column += n
			return pos, ok
		}
	}
	return manifests.Position{}, false
}

// taken is how many characters of the file stand for r; false: it is another.
func taken(row []rune, r rune, style yaml.Style) (int, bool) {
	switch {
	case style&yaml.DoubleQuotedStyle != 0 && row[0] == '\\' && len(row) > 1:
		size := map[rune]int{'x': 4, 'u': 6, 'U': 10}[row[1]]
		if size == 0 {
			return 2, row[1] == r
		}
		return min(size, len(row)), true
	case style&yaml.SingleQuotedStyle != 0 && r == '\'':
		return min(2, len(row)), row[0] == r
	}
	return 1, row[0] == r
}
