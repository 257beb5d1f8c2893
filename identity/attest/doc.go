// Package attest says which process is at the other end of a unix socket, and what the kernel knows of it. Linux only.
//
//	accept ─ SO_PEERCRED, SO_PEERPIDFD ─ open /proc/<pid> ─ still alive?          Credentials: once for a connection
//	                                                          │
//	stat, status, exe through the held directory ─ unchanged? still alive?         Process.Attest: before every answer
//	                                                          │
//	selectors of Workloads (Match) or the product's own children (Children)        whose is it
//
// A number of a process says nothing: it is used again. A Process holds a pidfd and the directory of /proc, so that everything read
// belongs to one process. A process may still execute another program after it has connected, or hand the socket on: Attest is
// therefore called again before every answer, and a connection ends with the process that opened it.
//
// The package knows nothing of manifests; the callers bring the entries to match.
package attest
