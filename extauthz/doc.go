// Package extauthz is the Check server: Envoy's ext_authz v3 over gRPC on a unix socket. For every request it knows which proxy asks,
// makes one canonical request of what the proxy sends, takes exactly one credential of it, has it verified, and lets policy/decide answer.
//
//	caller -> route -> canonical request -> credential -> peer -> verify -> decide -> response
//
// It is built so that every failure is a deny or an error, because an empty CheckResponse is an allow to Envoy: responses come from
// one function that holds a code other than OK unless it is given a Decision that allows, and seal turns every other shape into a gRPC error.
// "You may not" is 400, 401 or 403 with an RFC 6750 challenge; "it cannot be told" is 503.
//
// Proxies that credence configures send the id of the route that they took. With a Lookup there is none: another control plane's proxies ask,
// and the route is found by what policy/route reads in the canonical request, or the answer is no.
//
// The package does not verify tokens (extauthz/token does) and keeps no answers: a decision is made anew for each request.
package extauthz
