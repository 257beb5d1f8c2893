// Package sds serves Envoy's Secret Discovery Service, state-of-the-world and delta, on the socket of the Workload API.
//
//	name                        secret
//	a SPIFFE ID                 TlsCertificate: the SVID, only if the caller is entitled to it
//	ALL                         CertificateValidationContext with Envoy's SPIFFE validator and the bundles of all trust domains
//	clients/<ns>/<name>         CertificateValidationContext with the CAs of a gateway's clients, if Certificates gives it to the caller
//	certificate/<ns>/<name>     TlsCertificate: a gateway's certificate, if Certificates gives it to the caller
//
// Any other name is unknown, and so is another caller's: no answer over state-of-the-world, removed over delta. What goes out is
// checked first: Envoy answers a broken secret by refusing the next good one too, so trust that was removed would stay. A secret that is
// no longer to be had is not taken back, as Envoy goes on with the old one anyway: the SVID ends by itself, and a trust
// domain is removed by leaving it out of ALL. Versions are hashes of the content.
package sds
