//go:build !race

package condition_test

// bytesOfALoop is what a loop over 2,000 segments may allocate.
const bytesOfALoop = 2 << 20
