//go:build race

package condition_test

// bytesOfALoop: under the race detector a comparison of two texts copies them.
const bytesOfALoop = 64 << 20
