// Package golden compares what a stage makes of a case with files that people have read.
//
//	testdata/<case>/in.yaml       an input
//	testdata/<case>/policy.json   outputs: every one is written, empty ones too
//	testdata/<case>/diag.txt
//
// A missing, differing or extra file fails the test. `go test ./pkg -update` writes the outputs anew and deletes strays; the
// diff is then for review.
package golden
