// Package wycheproof runs the JWS and JWK vectors of Project Wycheproof through extauthz/token and extauthz/jwks. It is a module of its
// own: the vectors are 26 MB that nothing else needs.
package wycheproof
