package compile

// For tests: what an expression must be, and what of it is kept for headers and queries.
var (
	CheckRegex = checkRegex
	ASCIIRegex = asciiRegex
)
