// Package tour runs the quickstart: it starts `credence up` and the four services from a copy of the manifests, sends the requests of
// Rows through real Envoys, and says of each what was expected, what came, and why. `make quickstart` prints it as a table; the e2e suite
// runs the same rows as tests, also as root with a user per workload.
package tour
