// Package ca is the embedded certificate authority of one trust domain.
//
// Its keys (P-256) and certificates live in one file of mode 0600, so that a key never stands beside another's certificate. An
// authority of lifetime L goes through these times after its start:
//
//	0 ────────── L/2 ───────────── 5L/6 ─────────── L
//	signs        next published    next signs       leaves the bundle
//
// Every consumer of the bundle has a third of the lifetime to learn an authority before it signs; what the old one has signed
// stays valid until it ends by itself. The package verifies nothing of others and serves nobody: see keeper, workloadapi and sds.
package ca
