package app

import (
	"os"
	"runtime/debug"
)

// collectLess has the garbage collector run when the heap has grown fivefold instead of twofold: the heap is small, what a Check leaves
// behind is garbage at once, and collecting it as often as Go does by default shows in the CPU time of a Check. Who sets GOGC
// decides otherwise. restore undoes it.
func collectLess() (restore func()) {
	if _, set := os.LookupEnv("GOGC"); set {
		return func() {}
	}
	old := debug.SetGCPercent(400)
	return func() { debug.SetGCPercent(old) }
}
