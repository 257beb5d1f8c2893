// Package decide answers one question: may this request pass? It takes facts (who calls, for whom, what) and the rules that the Set
// puts on a route, and returns a Decision whose zero value is deny. It is pure: no clock, no network, no Envoy.
package decide
