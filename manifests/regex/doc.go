// Package regex says which regular expressions manifests may use.
//
// An expression of a route is read twice: by RE2 in Envoy and by Go's regexp here. Both come from one design and differ at the edges, so
// what is taken is what both read alike: printable ASCII, no class of Unicode, no escape that only one of them knows, and a program that
// Envoy's limit takes for certain (re2.max_program_size.error_level of the bootstrap). A refused expression is an error at its manifest;
// at Envoy it would keep the routes of a whole listener from being taken.
//
// Always the whole text must match, as if "^(?:" and ")$" stood around the expression.
package regex
