// Package storetest is what every engine of package store must pass. An engine's tests have two lines for it:
//
//	func TestMain(m *testing.M) { storetest.Main(m, engine) }
//	func TestStore(t *testing.T) { storetest.Run(t, engine) }
//
// Main is there since one test kills the process: it starts the test binary again, has it write, and kills it in the middle.
package storetest
