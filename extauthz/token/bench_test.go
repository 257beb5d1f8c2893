package token_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"strconv"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

func BenchmarkVerify(b *testing.B) {
	v := newBench(b, defaultIssuer())
	raw := sign(header(), claims())
	b.Run("cached", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.verify(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	ec := header().with("alg", "ES256").with("kid", "ec")
	for _, c := range []struct {
		name   string
		header members
		forged bool
	}{{"fresh RS256", header(), false}, {"fresh ES256", ec, false}, {"forged RS256", header(), true}} {
		b.Run(c.name, func(b *testing.B) {
			tokens := make([]string, 256)
			for i := range tokens {
				set := claims().with("jti", strconv.Itoa(i))
				tokens[i] = sign(c.header, set)
				if c.forged {
					tokens[i] = signWith(c.header.json(), set.json(), jwt.SigningMethodRS256, testKeys().stranger)
				}
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if n%len(tokens) == 0 { // an empty cache again
					b.StopTimer()
					v = newBench(b, defaultIssuer())
					b.StartTimer()
				}
				if _, err := v.verify(tokens[n%len(tokens)]); (err != nil) != c.forged {
					b.Fatal(err)
				}
				n++
			}
		})
	}
}

// BenchmarkBareSignature is the floor: nothing but the check of a signature.
func BenchmarkBareSignature(b *testing.B) {
	k := testKeys()
	sum := sha256.Sum256([]byte("text"))
	sig, err := rsa.SignPKCS1v15(rand.Reader, k.rsa, crypto.SHA256, sum[:])
	if err != nil {
		b.Fatal(err)
	}
	b.Run("RS256", func(b *testing.B) {
		for b.Loop() {
			if err := rsa.VerifyPKCS1v15(&k.rsa.PublicKey, crypto.SHA256, sum[:], sig); err != nil {
				b.Fatal(err)
			}
		}
	})
	asn1, err := ecdsa.SignASN1(rand.Reader, k.ec, sum[:])
	if err != nil {
		b.Fatal(err)
	}
	b.Run("ES256", func(b *testing.B) {
		for b.Loop() {
			if !ecdsa.VerifyASN1(&k.ec.PublicKey, sum[:], asn1) {
				b.Fatal("refused")
			}
		}
	})
}
