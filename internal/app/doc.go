// Package app wires: it is the only place that knows all parts. Up is `credence up`: server and agent in one process, an Envoy per
// gateway and per sidecar.
//
//	edit:     manifests/dir -> policy/compile -> Set -> extauthz (first), then identity, controlplane, internal/envoy
//	request:  Envoy -> proxies/<id>/agent.sock -> extauthz
//	identity: process or Envoy -> workload/api.sock -> identity/workloadapi, identity/sds
package app
