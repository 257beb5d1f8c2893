package condition

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"
)

// Limits of a condition.
const (
	// MaxLength of the source, in bytes.
	MaxLength = 4096
	// MaxNested is how deep exists, all, map and the like may stand inside of each other.
	MaxNested = 2
	// maxCost of one evaluation, in CEL's units: about a step or ten bytes of text each. Beyond it the evaluation ends with an error.
	maxCost = 10_000
	// maxEstimate is the largest cost that a condition may have with the largest values that a request brings.
	maxEstimate = 20_000_000
	maxDepth    = 32
	maxNodes    = 512
	maxRegex    = 200
)

// Compiler checks and compiles conditions. Safe for concurrent use.
type Compiler struct{ env *cel.Env }

// NewCompiler makes a Compiler; it costs about a millisecond. It errs where the language can't be set up, which no input can cause.
func NewCompiler() (*Compiler, error) {
	base, err := cel.NewEnv(
		ext.Network(), ext.Sets(),
		cel.ParserRecursionLimit(maxDepth), cel.ParserExpressionSizeLimit(MaxLength), cel.ExpressionNodeLimit(maxNodes),
		cel.CrossTypeNumericComparisons(true), cel.DefaultUTCTimeZone(true),
		cel.ASTValidators(
			cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(),
			cel.ValidateHomogeneousAggregateLiterals(), cel.ValidateComprehensionNestingLimit(MaxNested),
			cel.ValidateRegexProgramSizeLimit(maxRegex),
		),
	)
	if err != nil {
		return nil, fmt.Errorf("conditions: %w", err)
	}
	env, err := base.Extend(
		cel.CustomTypeProvider(newProvider(base.CELTypeProvider())), cel.CustomTypeAdapter(adapter{base.CELTypeAdapter()}),
		cel.Variable(varRequest, cel.ObjectType(varRequest)), cel.Variable(varUser, cel.ObjectType(varUser)),
		cel.Variable(varPeer, cel.ObjectType(varPeer)), cel.Variable(varToken, cel.ObjectType(varToken)),
	)
	if err != nil {
		return nil, fmt.Errorf("conditions: %w", err)
	}
	return &Compiler{env}, nil
}

// Problem is one thing that is wrong with a condition. Offset counts characters from its beginning; Line and Column count from 1.
type Problem struct {
	Offset, Line, Column int
	Message, Hint        string
}

// Problems are all that is wrong. It is an error of Compile.
type Problems []Problem

func (p Problems) Error() string {
	texts := make([]string, len(p))
	for i := range p {
		texts[i] = fmt.Sprintf("%d:%d: %s", p[i].Line, p[i].Column, p[i].Message)
	}
	return strings.Join(texts, "; ")
}

// Program is a compiled condition. Immutable, safe for concurrent use.
type Program struct {
	program cel.Program
	uses    Uses
}

// Uses is what the condition looks at.
func (p *Program) Uses() Uses { return p.uses }

// Compile checks source and compiles it. The error is Problems.
func (c *Compiler) Compile(source string) (*Program, error) {
	if len(source) > MaxLength {
		return nil, Problems{{Line: 1, Column: 1, Message: fmt.Sprintf("the condition has %d bytes, at most %d are taken", len(source), MaxLength), Hint: "divide it into several rules"}}
	}
	if !utf8.ValidString(source) || strings.TrimSpace(source) == "" {
		return nil, Problems{{Line: 1, Column: 1, Message: "the condition is empty or not UTF-8"}}
	}
	checked, issues := c.env.Compile(source)
	if issues.Err() != nil {
		return nil, problemsOf(source, issues)
	}
	if t := checked.OutputType(); !t.IsExactType(types.BoolType) {
		return nil, Problems{{Line: 1, Column: 1, Message: fmt.Sprintf("the condition is of type %s, not bool", t), Hint: `compare it: user.claims.admin == true`}}
	}
	uses, problems := usesOf(checked)
	if len(problems) > 0 {
		return nil, problems
	}
	estimate, err := c.env.EstimateCost(checked, sizes{})
	if err != nil || estimate.Max > maxEstimate {
		return nil, Problems{{Line: 1, Column: 1, Message: "the condition can cost too much", Hint: "one exists, all or map inside of another is the usual reason: divide it into several rules"}}
	}
	program, err := c.env.Program(checked, cel.CostLimit(maxCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, Problems{{Line: 1, Column: 1, Message: err.Error()}}
	}
	return &Program{program, uses}, nil
}

func problemsOf(source string, issues *cel.Issues) Problems {
	var out Problems
	for _, e := range issues.Errors() {
		line, column := max(e.Location.Line(), 1), max(e.Location.Column(), 0)
		out = append(out, Problem{Offset: offsetOf(source, line, column), Line: line, Column: column + 1, Message: e.Message, Hint: hintFor(e.Message)})
		if len(out) == 10 {
			break
		}
	}
	return out
}

// offsetOf a place, in characters.
func offsetOf(source string, line, column int) int {
	offset := column
	for range line - 1 {
		before, rest, ok := strings.Cut(source, "\n")
		if !ok {
			break
		}
		offset += utf8.RuneCountInString(before) + 1
		source = rest
	}
	return offset
}

// hintFor the mistakes that people make who know other systems.
func hintFor(message string) string {
	switch {
	case strings.Contains(message, "undeclared reference to 'jwt'"), strings.Contains(message, "undeclared reference to 'claims'"),
		strings.Contains(message, "undeclared reference to 'auth'"):
		return "claims are user.claims"
	case strings.Contains(message, "undeclared reference to 'source'"):
		return "the calling workload is peer.id"
	case strings.Contains(message, "undeclared reference to"):
		return "there are request, user, peer and token"
	case strings.Contains(message, "undefined field"):
		return "docs/manifests.md lists the fields"
	}
	return ""
}

// Holds evaluates the condition. It takes bounded time and touches nothing but in. An error is neither true nor false: the caller must
// take the safe one.
func (p *Program) Holds(in *Input) (bool, error) {
	own := *in
	out, _, err := p.program.Eval(vars{&own})
	if err != nil {
		return false, err
	}
	holds, ok := out.Value().(bool)
	if !ok {
		return false, errors.New("the condition is not a boolean")
	}
	return holds, nil
}

// vars makes an Input the activation of a program.
type vars struct{ in *Input }

var _ interpreter.Activation = vars{}

// ResolveName implements interpreter.Activation: every variable is a view of the same Input.
func (v vars) ResolveName(name string) (any, bool) {
	switch name {
	case varRequest, varUser, varPeer, varToken:
		return v.in, true
	}
	return nil, false
}

// Parent implements interpreter.Activation.
func (v vars) Parent() interpreter.Activation { return nil }

// sizes are the largest values that requests bring: Envoy takes 60 KiB of headers, a verifier 16 KiB of token.
type sizes struct{}

func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

func (sizes) EstimateSize(e cost.AstNode) *cost.SizeEstimate {
	limit := uint64(256)
	switch e.Type().Kind() {
	case types.StringKind, types.BytesKind:
		limit = 8 << 10
	case types.ListKind, types.MapKind, types.DynKind:
	default:
		return nil
	}
	if len(e.Path()) == 0 {
		return nil
	}
	size := cost.RangedSizeEstimate(0, limit)
	return &size
}
