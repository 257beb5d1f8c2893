// Package condition is the language of a rule's condition: CEL (cel.dev) over four typed variables.
//
//	request.method == "GET" && user.claims.department == request.params.department
//
//	request  method, scheme, host, path, segments, params, query, headers, ip, time
//	user     subject, issuer, client, credential, service, scopes, roles, groups, acr, auth_time, claims
//	peer     id, trust_domain, namespace, path
//	token    id, issued_at, expires, claims
//
// A field that is not there (a user's where there is none, an acr that the token does not have) is an error, like the key of a map that is
// not there; has(user.acr) asks first. Functions are those of the CEL standard, of its sets and of its network library: no others, so that
// every evaluation is bounded.
//
// It is not for deciding: what an error means is said by policy/decide.
package condition
