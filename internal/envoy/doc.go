// Package envoy runs Envoy: it finds the binary and refuses an old one (Find), writes the bootstrap that points a proxy at the agent's
// sockets (Bootstrap), and keeps the processes (Supervisor): started one by one, restarted with back-off, ended with the product, and
// found again after a crash of it (Survivors), since two Envoys on one port would silently split its traffic.
//
// What an Envoy serves is not decided here: it asks for that over xDS.
package envoy
