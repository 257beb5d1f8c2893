// Package admin is the admin API: what operators and probes ask a running product.
//
//	unix socket (0700 directory, peer uid checked)   GET /v1/status, /v1/decisions/{id}
//	                                                 GET, POST, DELETE /v1/revocations
//	TCP                                              GET /healthz /readyz /metrics
//
// The TCP side tells nothing that is secret and changes nothing.
package admin
