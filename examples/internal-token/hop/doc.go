// Package hop is one service of the example: it verifies the internal token that it gets, shows what it says, and asks the next service on
// behalf of the same user.
package hop
