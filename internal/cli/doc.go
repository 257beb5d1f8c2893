// Package cli is the command line: one file per command. A command parses its flags, calls internal/app or the admin API, and prints;
// what goes wrong is one sentence on the error stream with what to do next, and exit code 1 (2 for a wrong use).
package cli
