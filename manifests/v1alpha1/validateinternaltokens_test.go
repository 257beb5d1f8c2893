package v1alpha1_test

import (
	"strings"
	"testing"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
)

func TestInternalTokens(t *testing.T) {
	issuer := func(u string) string { return "{trustDomain: a, internalTokens: {issuer: '" + u + "'}}" }
	check(t, func() any { return new(v1alpha1.Mesh) }, []row{
		{"{trustDomain: a, internalTokens: {}}", nil},
		{"{trustDomain: a, internalTokens: {ttl: 10s, mode: cached, rotateEvery: 1m}}", nil},
		{"{trustDomain: a, internalTokens: {ttl: 300s, mode: perRequest, rotateEvery: 720h}}", nil},
		{"{trustDomain: a, internalTokens: {ttl: 9s}}", []string{"internalTokens.ttl out-of-range"}},
		{"{trustDomain: a, internalTokens: {ttl: 301s}}", []string{"internalTokens.ttl out-of-range"}},
		{"{trustDomain: a, internalTokens: {ttl: -1s}}", []string{"internalTokens.ttl out-of-range"}},
		{"{trustDomain: a, internalTokens: {rotateEvery: 59s}}", []string{"internalTokens.rotateEvery out-of-range"}},
		{"{trustDomain: a, internalTokens: {rotateEvery: 0s}}", []string{"internalTokens.rotateEvery out-of-range"}},
		{"{trustDomain: a, internalTokens: {rotateEvery: 721h}}", []string{"internalTokens.rotateEvery out-of-range"}},
		{"{trustDomain: a, development: true, internalTokens: {rotateEvery: 10s}}", nil},
		{"{trustDomain: a, development: true, internalTokens: {rotateEvery: 9s}}", []string{"internalTokens.rotateEvery out-of-range"}},
		{"{trustDomain: a, internalTokens: {mode: forever}}", []string{"internalTokens.mode unsupported-value"}},
		{issuer("https://tokens.a/path"), nil},
		{issuer("http://tokens.a"), []string{"internalTokens.issuer invalid-value"}},
		{issuer("tokens"), []string{"internalTokens.issuer invalid-value"}},
		{issuer("https://"), []string{"internalTokens.issuer invalid-value"}},
		{issuer("https://u:p@tokens.a"), []string{"internalTokens.issuer invalid-value"}},
		{issuer("https://tokens.a?x=y"), []string{"internalTokens.issuer invalid-value"}},
		{issuer("https://tokens.a#x"), []string{"internalTokens.issuer invalid-value"}},
		{issuer("https://" + strings.Repeat("a", 250)), []string{"internalTokens.issuer invalid-value"}},
	})
}
