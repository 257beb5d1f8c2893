// Package apikey verifies API keys: long random texts that a client sends with every request, of which Credentials hold the SHA-256 alone.
//
// A key that Credence has made is prefix_id_secret_crc: the prefix says whose keys they are, to people and to scanners of leaked secrets; the id finds
// the entry; the secret has 256 bits; the checksum tells a mistyped key from one that is guessed, without a look at any entry. Any
// existing key of at least 128 bits does too, by its hash. Keys are random, so no slow hash is needed: nobody finds one by its SHA-256.
//
// It knows nothing of Envoy, nor of where in a request a key is.
package apikey
