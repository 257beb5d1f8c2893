package condition

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
)

// Uses is what a condition looks at.
type Uses struct {
	// User: a field of user or token. AsksForUser: it asks by has() whether there is one.
	User, AsksForUser bool
	// Params are the path variables that it names; sorted.
	Params []string
	// Claims are the top claims that it names, of user.claims and token.claims; sorted. AllClaims: it looks at them in another way.
	Claims    []string
	AllClaims bool
	// ReadsParams: request.params at all.
	ReadsParams bool
}

// NeedsUser tells whether the condition can hold for a user alone: it looks at one and does not ask first whether there is one.
func (u Uses) NeedsUser() bool { return u.User && !u.AsksForUser }

type usage struct {
	uses     Uses
	checked  *ast.AST
	source   string
	problems Problems
	// claims counts where the claims are looked at, named where one of them is named.
	claims, named int
}

func usesOf(checked *cel.Ast) (Uses, Problems) {
	u := &usage{checked: checked.NativeRep(), source: checked.Source().Content()}
	ast.PreOrderVisit(u.checked.Expr(), ast.NewExprVisitor(u.visit))
	slices.Sort(u.uses.Params)
	slices.Sort(u.uses.Claims)
	u.uses.Params, u.uses.Claims = slices.Compact(u.uses.Params), slices.Compact(u.uses.Claims)
	u.uses.AllClaims = u.claims > u.named
	return u.uses, u.problems
}

func (u *usage) visit(e ast.Expr) {
	switch e.Kind() { //nolint:exhaustive // the others look at nothing by themselves
	case ast.IdentKind:
		if name := e.AsIdent(); name == varUser || name == varToken {
			u.uses.User = true
		}
	case ast.SelectKind:
		u.selected(e)
	case ast.CallKind:
		u.call(e)
	}
}

func (u *usage) selected(e ast.Expr) {
	s := e.AsSelect()
	if isVariable(s.Operand(), varUser) || isVariable(s.Operand(), varToken) {
		u.uses.AsksForUser = u.uses.AsksForUser || s.IsTestOnly()
	}
	u.uses.ReadsParams = u.uses.ReadsParams || isField(e, "params")
	if isClaims(e) {
		u.claims++
	}
	switch {
	case isClaims(s.Operand()):
		u.claim(s.FieldName())
	case isField(s.Operand(), "params"):
		u.uses.Params = append(u.uses.Params, s.FieldName())
	case isField(s.Operand(), "headers"):
		u.headerName(e, s.FieldName())
	}
}

func (u *usage) call(e ast.Expr) {
	c := e.AsCall()
	args := c.Args()
	if c.FunctionName() == overloads.Matches {
		u.pattern(c)
	}
	if len(args) != 2 {
		return
	}
	of, key := args[0], args[1]
	switch c.FunctionName() {
	case operators.Index, operators.OptIndex:
	case operators.In:
		of, key = args[1], args[0]
	default:
		return
	}
	if key.Kind() != ast.LiteralKind {
		return
	}
	name, ok := key.AsLiteral().(types.String)
	switch {
	case !ok:
	case isClaims(of):
		u.claim(string(name))
	case isField(of, "params"):
		u.uses.Params = append(u.uses.Params, string(name))
	case isField(of, "headers"):
		u.headerName(key, string(name))
	}
}

// pattern refuses a regular expression that is not written in the condition: it would be read anew for each request, at a cost that whoever
// sends it chooses.
func (u *usage) pattern(c ast.CallExpr) {
	args := c.Args()
	if len(args) == 0 || args[len(args)-1].Kind() == ast.LiteralKind {
		return
	}
	u.problem(args[len(args)-1], "a regular expression must be written in the condition as it is", `for example request.path.matches("^/a/[0-9]+$")`)
}

// headerName refuses what no header is ever called here: a condition that can't hold is a mistake.
func (u *usage) headerName(at ast.Expr, name string) {
	lower := strings.ToLower(name)
	if name == lower {
		return
	}
	u.problem(at, fmt.Sprintf("no header is called %q: names are in lower case", name), fmt.Sprintf("write %q", lower))
}

func (u *usage) problem(at ast.Expr, message, hint string) {
	offset := int(u.checked.SourceInfo().ComputeOffset(1, 0))
	if r, ok := u.checked.SourceInfo().GetOffsetRange(at.ID()); ok {
		offset = int(r.Start)
	}
	line, column := placeOf(u.source, offset)
	u.problems = append(u.problems, Problem{Offset: offset, Line: line, Column: column, Message: message, Hint: hint})
}

// placeOf an offset in characters.
func placeOf(source string, offset int) (line, column int) {
	line, column = 1, 1
	for i, r := range []rune(source) {
		if i >= offset {
			break
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
	}
	return line, column
}

func isVariable(e ast.Expr, name string) bool {
	return e.Kind() == ast.IdentKind && e.AsIdent() == name
}

func (u *usage) claim(name string) {
	u.named++
	u.uses.Claims = append(u.uses.Claims, name)
}

// isClaims tells whether e is user.claims or token.claims.
func isClaims(e ast.Expr) bool {
	if e.Kind() != ast.SelectKind || e.AsSelect().FieldName() != "claims" || e.AsSelect().IsTestOnly() {
		return false
	}
	of := e.AsSelect().Operand()
	return isVariable(of, varUser) || isVariable(of, varToken)
}

// isField tells whether e is request.NAME.
func isField(e ast.Expr, name string) bool {
	return e.Kind() == ast.SelectKind && e.AsSelect().FieldName() == name && isVariable(e.AsSelect().Operand(), varRequest)
}
