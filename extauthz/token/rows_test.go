package token_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
)

// row is one row of the table of rules: a token that breaks exactly one of them. Empty reason: accepted.
type row struct {
	name   string
	raw    string
	issuer func(*policy.Issuer)
	reason string
}

func legacy(i *policy.Issuer) { i.Profile = policy.LegacyAccessToken }

func algorithms(algs ...string) func(*policy.Issuer) {
	return func(i *policy.Issuer) { i.Algorithms = algs }
}

func runRows(t *testing.T, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			conf := defaultIssuer()
			if r.issuer != nil {
				r.issuer(&conf)
			}
			user, err := newBench(t, conf).verify(r.raw)
			if r.reason == "" {
				if err != nil || user == nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			if user != nil {
				t.Fatal("a user beside an error")
			}
			wantReason(t, err, token.ErrInvalid, r.reason)
		})
	}
}

func TestRowsOfForm(t *testing.T) {
	good := sign(header(), claims())
	first := strings.Index(good, ".")
	jwe := good + ".x.y"
	runRows(t, []row{
		{"good", good, nil, ""},
		{"row 1 line end in a segment", good[:first+5] + "\r\n" + good[first+5:], nil, token.ReasonMalformed},
		{"row 1 padding", good + "=", nil, token.ReasonMalformed},
		{"row 1 two segments", good[:strings.LastIndex(good, ".")], nil, token.ReasonMalformed},
		{"row 1 empty", "", nil, token.ReasonMalformed},
		{"row 2 trailing bits", nonCanonical(), nil, token.ReasonMalformed},
		{"row 3 token over 16 KiB", strings.Repeat("a", 16<<10+1), nil, token.ReasonTooLarge},
		{"row 3 header over 1 KiB", sign(header().with("x", strings.Repeat("a", 1100)), claims()), nil, token.ReasonTooLarge},
		{"row 3 over 64 claims", sign(header(), manyClaims(65)), nil, token.ReasonTooLarge},
		{"row 3 nesting over 16", signText(header().json(), strings.Repeat(`{"a":`, 17)+"1"+strings.Repeat("}", 17), ""), nil, token.ReasonTooLarge},
		{"row 3 string over 4 KiB", sign(header(), claims().with("x", strings.Repeat("a", 4097))), nil, token.ReasonTooLarge},
		{"row 17 JWE", jwe, nil, token.ReasonEncrypted},
		{"row 17 enc", sign(header().with("enc", "A128GCM"), claims()), nil, token.ReasonEncrypted},
		{"row 17 zip is ignored", sign(header().with("zip", "RS256"), claims()), nil, ""},
		{"row 20 duplicate claim", signText(header().json(), `{"sub":"alice","sub":"bob"}`, ""), nil, token.ReasonDuplicateMember},
		{"row 20 duplicate nested", signText(header().json(), `{"a":{"sub":"alice","s\u0075b":"bob"}}`, ""), nil, token.ReasonDuplicateMember},
		{"row 20 duplicate in header", signText(`{"alg":"RS256","alg":"RS256"}`, claims().json(), ""), nil, token.ReasonDuplicateMember},
		{"row 21 EXP is not exp", sign(header(), claims().without("exp").with("EXP", now.Unix()+300)), nil, token.ReasonClaimMissing},
		{"row 21 long s", sign(header(), claims().with("iſſ", "https://evil.example").with("ISS", "x")), nil, ""},
		{"row 22 invalid UTF-8", signText(header().json(), "{\"sub\":\"al\xffice\"}", ""), nil, token.ReasonUTF8},
		{"row 22 lone surrogate", signText(header().json(), `{"sub":"\ud800"}`, ""), nil, token.ReasonMalformed},
		{"row 23 data after the claims", signText(header().json(), claims().json()+"{}", ""), nil, token.ReasonMalformed},
		{"row 23 null", signText(header().json(), "null", ""), nil, token.ReasonMalformed},
		{"row 23 array", signText(header().json(), "[]", ""), nil, token.ReasonMalformed},
		{"row 40 two credentials joined by a comma", good + "," + good, nil, token.ReasonMalformed},
	})
}

// nonCanonical sets a bit of the last character that no byte holds (256 bytes leave 4 of them).
func nonCanonical() string {
	good := sign(header(), claims())
	last := good[len(good)-1]
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return good[:len(good)-1] + string(alphabet[strings.IndexByte(alphabet, last)|1])
}

func manyClaims(n int) members {
	c := claims()
	for i := len(c); i < n; i++ {
		c["c"+strings.Repeat("x", i)] = i
	}
	return c
}

func TestRowsOfAlgorithms(t *testing.T) {
	k := testKeys()
	ec := header().with("alg", "ES256").with("kid", "ec")
	ed := header().with("alg", "EdDSA").with("kid", "ed")
	good := sign(header(), claims())
	unsigned := func(alg string) string {
		raw := sign(header().with("alg", alg), claims())
		return raw[:strings.LastIndex(raw, ".")+1]
	}
	der, err := x509.MarshalPKIXPublicKey(&k.rsa.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	hs := header().with("alg", "HS256").json()
	ps := func(salt int) string {
		text := b64([]byte(header().with("alg", "PS256").json())) + "." + b64([]byte(claims().json()))
		sum := sha256.Sum256([]byte(text))
		sig, err := rsa.SignPSS(rand.Reader, k.rsa, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: salt})
		if err != nil {
			t.Fatal(err)
		}
		return text + "." + b64(sig)
	}
	keysOf := func(keys ...map[string]string) func(*policy.Issuer) {
		return func(i *policy.Issuer) { i.Keys.Inline = jwkSet(keys...) }
	}
	ec512 := header().with("alg", "ES512").with("kid", "ec").json()
	zero := b64([]byte(ec.json())) + "." + b64([]byte(claims().json())) + "." + b64(make([]byte, 64))
	runRows(t, []row{
		{"row 4 RS256", good, nil, ""},
		{"row 4 ES256", sign(ec, claims()), nil, ""},
		{"row 4 EdDSA", sign(ed, claims()), nil, ""},
		{"row 4 algorithm not of this issuer", good, algorithms("ES256"), token.ReasonAlg},
		{"row 4 another case", sign(header().with("alg", "rs256"), claims()), nil, token.ReasonAlg},
		{"row 4 no alg", sign(header().without("alg"), claims()), nil, token.ReasonAlg},
		{"row 4 alg of another type", sign(header().with("alg", []string{"RS256"}), claims()), nil, token.ReasonAlg},
		{"row 5 none", unsigned("none"), nil, token.ReasonNone},
		{"row 5 nOnE", unsigned("nOnE"), nil, token.ReasonNone},
		{"row 5 none configured", unsigned("none"), algorithms("none", "RS256"), token.ReasonNone},
		{"row 6 key of another algorithm", sign(header().with("kid", "ec"), claims()), nil, token.ReasonKidUnknown},
		{"row 7 ES512 with a P-256 key", signWith(ec512, claims().json(), jwt.SigningMethodES512, k.ec521), algorithms("ES512", "ES256"), token.ReasonKidUnknown},
		{"row 8 PS256", ps(32), algorithms("PS256"), ""},
		{"row 8 salt of 8 bytes", ps(8), algorithms("PS256"), token.ReasonSignature},
		{"row 9 RSA below 2048", good, keysOf(map[string]string{"kty": "RSA", "kid": "rsa", "n": b64(make([]byte, 128)), "e": "AQAB"}), token.ReasonKidUnknown},
		{"row 10 and 11 HS256 with the public key's PEM", signWith(hs, claims().json(), jwt.SigningMethodHS256, public), nil, token.ReasonAlg},
		{"row 11 HS256 with the public key's PEM, configured", signWith(hs, claims().json(), jwt.SigningMethodHS256, public), algorithms("HS256", "RS256"), token.ReasonAlg},
		{"row 11 HS256 with the modulus", signWith(hs, claims().json(), jwt.SigningMethodHS256, k.rsa.N.Bytes()), nil, token.ReasonAlg},
		{"row 12 ECDSA signature of zeros", zero, nil, token.ReasonSignature},
		{"row 12 ECDSA signature too short", zero[:len(zero)-4], nil, token.ReasonSignature},
		{"forged", signWith(header().json(), claims().json(), jwt.SigningMethodRS256, k.stranger), nil, token.ReasonSignature},
		{"row 14 crit", sign(header().with("crit", []string{"exp"}), claims()), nil, token.ReasonCrit},
		{"row 14 empty crit", sign(header().with("crit", []string{}), claims()), nil, token.ReasonCrit},
		{"row 15 b64", sign(header().with("b64", false), claims()), nil, token.ReasonHeader},
		{"row 16 jwk in the header", sign(header().with("jwk", jwkOf("x", &k.stranger.PublicKey)), claims()), nil, token.ReasonHeader},
		{"row 16 jku in the header", sign(header().with("jku", "https://evil.example"), claims()), nil, token.ReasonHeader},
		{"row 16 legacy ignores it", signWith(header().with("jwk", jwkOf("x", &k.stranger.PublicKey)).json(), claims().json(), jwt.SigningMethodRS256, k.stranger), legacy, token.ReasonSignature},
		{"row 18 cty", sign(header().with("cty", "JWT"), claims()), nil, token.ReasonHeader},
		{"row 37 kid of another type", sign(header().with("kid", 1), claims()), nil, token.ReasonKid},
		{"row 37 kid over 256 bytes", sign(header().with("kid", strings.Repeat("k", 257)), claims()), nil, token.ReasonKid},
		{"row 37 kid not printable", sign(header().with("kid", "a\nb"), claims()), nil, token.ReasonKid},
		{"row 37 unknown kid", sign(header().with("kid", "other"), claims()), nil, token.ReasonKidUnknown},
		{"row 37 no kid, one key", sign(header().without("kid"), claims()), nil, ""},
		{
			"row 37 no kid, several keys", sign(header().without("kid"), claims()),
			keysOf(jwkOf("rsa", &k.rsa.PublicKey), jwkOf("old", &k.stranger.PublicKey)), token.ReasonKidUnknown,
		},
		{"row 41 Ed25519", signText(header().with("alg", "Ed25519").with("kid", "ed").json(), claims().json(), "Ed25519"), algorithms("Ed25519"), ""},
	})
}

func TestRowsOfTyp(t *testing.T) {
	rows := []row{
		{"row 19 application/", sign(header().with("typ", "Application/AT+JWT"), claims()), nil, ""},
		{"row 19 JWT, strict", sign(header().with("typ", "JWT"), claims()), nil, token.ReasonTyp},
		{"row 19 absent, strict", sign(header().without("typ"), claims()), nil, token.ReasonTyp},
		{"row 19 JWT, legacy", sign(header().with("typ", "JWT"), claims()), legacy, ""},
		{"row 19 absent, legacy", sign(header().without("typ"), claims()), legacy, ""},
		{"row 19 at+jwt, legacy", sign(header(), claims()), legacy, ""},
		{"row 19 empty, legacy", sign(header().with("typ", ""), claims()), legacy, token.ReasonTyp},
		{"row 19 another type, legacy", sign(header().with("typ", 1), claims()), legacy, token.ReasonTyp},
	}
	for _, typ := range []string{
		"dpop+jwt", "logout+jwt", "secevent+jwt", "txntoken+jwt", "wit+jwt", "wpt+jwt", "token-introspection+jwt",
		"oauth-authz-req+jwt", "client-authentication+jwt", "entity-statement+jwt", "dpop+id_token", "application/logout+jwt",
	} {
		raw := sign(header().with("typ", typ), claims())
		rows = append(rows, row{"row 19 " + typ + ", strict", raw, nil, token.ReasonTyp}, row{"row 19 " + typ + ", legacy", raw, legacy, token.ReasonTyp})
	}
	runRows(t, rows)
}

func TestRowsOfClaims(t *testing.T) {
	bare := header().without("typ")
	with := func(name string, v any) string { return sign(header(), claims().with(name, v)) }
	without := func(name string) string { return sign(header(), claims().without(name)) }
	old := func(name string, v any) string { return sign(bare, claims().with(name, v)) }
	day := func(i *policy.Issuer) { i.MaxLifetime = 24 * time.Hour }
	strs := func(n int) []string { return append(make([]string, n-1), aud) }
	runRows(t, []row{
		{"row 24 no exp", without("exp"), nil, token.ReasonClaimMissing},
		{"row 24 no exp, legacy", sign(bare, claims().without("exp")), legacy, token.ReasonClaimMissing},
		{"row 26 expired", with("exp", now.Unix()-1), nil, token.ReasonExpired},
		{"row 26 expires now", with("exp", now.Unix()), nil, token.ReasonExpired},
		{"row 26 expired within the leeway of nbf", with("exp", now.Unix()-20), nil, token.ReasonExpired},
		{"row 26 expired within expLeeway", with("exp", now.Unix()-4), func(i *policy.Issuer) { i.ExpLeeway = 5 * time.Second }, ""},
		{"row 26 leeway is at most a minute", with("exp", now.Unix()-61), func(i *policy.Issuer) { i.ExpLeeway = time.Hour }, token.ReasonExpired},
		{"row 27 nbf ahead", with("nbf", now.Unix()+31), nil, token.ReasonNotYetValid},
		{"row 27 nbf within leeway", with("nbf", now.Unix()+30), nil, ""},
		{"row 27 iat ahead", with("iat", now.Unix()+31), nil, token.ReasonIssuedInFuture},
		{"row 27 iat within leeway", with("iat", now.Unix()+20), nil, ""},
		{"row 28 lifetime over the maximum", with("exp", now.Unix()+86400), day, token.ReasonLifetime},
		{"row 28 lifetime at the maximum", with("exp", now.Unix()-10+86400), day, ""},
		{"row 28 no iat, legacy", sign(bare, claims().without("iat")), func(i *policy.Issuer) { legacy(i); day(i) }, token.ReasonClaimMissing},
		{"row 29 another iss", with("iss", "https://evil.example"), nil, token.ReasonIssuerUnknown},
		{"row 29 iss with a slash", with("iss", iss+"/"), nil, token.ReasonIssuerUnknown},
		{"row 29 no iss", without("iss"), nil, token.ReasonClaimMissing},
		{"row 29 iss of another type", with("iss", []string{iss}), nil, token.ReasonClaimType},
		{"row 30 another aud", with("aud", "https://other"), nil, token.ReasonAudience},
		{"row 30 array", with("aud", []string{"https://other", aud}), nil, ""},
		{"row 30 no aud", without("aud"), nil, token.ReasonClaimMissing},
		{"row 30 empty aud", with("aud", []string{}), nil, token.ReasonClaimMissing},
		{"row 30 aud of another type", with("aud", 7), nil, token.ReasonClaimType},
		{"row 30 aud with a number", with("aud", []any{aud, 7}), nil, token.ReasonClaimType},
		{"row 30 16 entries", with("aud", strs(16)), nil, ""},
		{"row 30 17 entries", with("aud", strs(17)), nil, token.ReasonTooLarge},
		{"row 31 no sub", without("sub"), nil, token.ReasonClaimMissing},
		{"row 31 no client_id", without("client_id"), nil, token.ReasonClaimMissing},
		{"row 31 no iat", without("iat"), nil, token.ReasonClaimMissing},
		{"row 31 no jti", without("jti"), nil, token.ReasonClaimMissing},
		{"row 31 empty sub", with("sub", ""), nil, token.ReasonClaimMissing},
		{"row 31 legacy needs sub only", sign(bare, claims().without("jti", "iat", "client_id")), legacy, ""},
		{"row 31 no sub, legacy", sign(bare, claims().without("sub")), legacy, token.ReasonClaimMissing},
		{"row 33 scope and scp differ", with("scp", "orders.read admin"), nil, token.ReasonScope},
		{"row 33 scope and scp say the same", with("scp", []string{"orders.write", "orders.read"}), nil, ""},
		{"row 33 scope of another type", with("scope", 1), nil, token.ReasonClaimType},
		{"row 33 charset", with("scope", "a\"b"), nil, token.ReasonScope},
		{"row 33 tab", with("scope", "a\tb"), nil, token.ReasonScope},
		{"row 33 array element is never split", sign(header(), claims().without("scope").with("scp", []string{"a b"})), nil, token.ReasonScope},
		{"row 33 element of another type", sign(header(), claims().without("scope").with("scp", []any{"a", 1})), nil, token.ReasonClaimType},
		{"row 35 nonce", old("nonce", "x"), legacy, token.ReasonIDToken},
		{"row 35 at_hash", old("at_hash", "x"), legacy, token.ReasonIDToken},
		{"row 35 c_hash", old("c_hash", "x"), legacy, token.ReasonIDToken},
		{"row 35 aud is the client", old("client_id", aud), legacy, token.ReasonIDToken},
		{"row 35 Keycloak ID token", old("typ", "ID"), legacy, token.ReasonIDToken},
		{"row 36 Keycloak refresh token, legacy", old("typ", "Refresh"), legacy, token.ReasonTyp},
		{"row 35 Keycloak Bearer outweighs nonce", sign(bare, claims().with("typ", "Bearer").with("nonce", "x")), legacy, ""},
		{"row 35 at+jwt outweighs nonce", with("nonce", "x"), legacy, ""},
		{"row 36 events", with("events", map[string]any{}), nil, token.ReasonEvents},
		{"row 36 events, legacy", old("events", map[string]any{}), legacy, token.ReasonEvents},
		{"row 38 cnf", with("cnf", map[string]any{"jkt": "x"}), nil, token.ReasonConfirmation},
		{"row 38 cnf, legacy", old("cnf", map[string]any{"x5t#S256": "x"}), legacy, token.ReasonConfirmation},
	})
}

// Row 25, and "exp: 0 read as no expiry": every claim of time is a number in range.
func TestRow25NumericDates(t *testing.T) {
	for _, c := range []struct{ value, exp, nbf string }{
		{"0", token.ReasonExpired, ""},
		{"-0", token.ReasonClaimValue, token.ReasonClaimValue},
		{"-1", token.ReasonClaimValue, token.ReasonClaimValue},
		{"1800000000.0005", "", ""},
		{"1800000000.001", "", ""},
		{"1800000000", token.ReasonExpired, ""},
		{"1799999999.999", token.ReasonExpired, ""},
		{"18000000000e-1", token.ReasonExpired, ""},
		{"1.8000001E9", "", token.ReasonNotYetValid},
		{"1.8000001E+09", "", token.ReasonNotYetValid},
		{"253402300799", "", token.ReasonNotYetValid},
		{"253402300800", token.ReasonClaimValue, token.ReasonClaimValue},
		{"1e300", token.ReasonClaimValue, token.ReasonClaimValue},
		{"1e400", token.ReasonClaimValue, token.ReasonClaimValue},
		{"9223372036854775807", token.ReasonClaimValue, token.ReasonClaimValue},
		{"99999999999999999999999999999999999999999999999999", token.ReasonClaimValue, token.ReasonClaimValue},
		{`"1999999999"`, token.ReasonClaimType, token.ReasonClaimType},
		{"null", token.ReasonClaimType, token.ReasonClaimType},
		{"true", token.ReasonClaimType, token.ReasonClaimType},
		{"[1999999999]", token.ReasonClaimType, token.ReasonClaimType},
	} {
		for name, reason := range map[string]string{"exp": c.exp, "nbf": c.nbf} {
			if name == "exp" && c.value == "1800000000.0005" {
				reason = token.ReasonExpired // cut to the millisecond
			}
			t.Run(name+" "+c.value, func(t *testing.T) {
				text := claims().without(name).json()
				raw := signText(header().json(), text[:len(text)-1]+`,"`+name+`":`+c.value+"}", "")
				_, err := newBench(t, defaultIssuer()).verify(raw)
				if reason == "" {
					if err != nil {
						t.Fatal(err)
					}
					return
				}
				wantReason(t, err, token.ErrInvalid, reason)
			})
		}
	}
}

// Row 42: the text of an error names no value of the token.
func TestRow42NoClaimInErrors(t *testing.T) {
	const secret = "do-not-log-me"
	b := newBench(t, defaultIssuer())
	for _, raw := range []string{
		sign(header(), claims().with("iss", secret)), sign(header(), claims().with("aud", secret)),
		sign(header(), claims().with("sub", secret).with("exp", 1)), signText(header().json(), `{"`+secret+`":1,"`+secret+`":2}`, ""),
		sign(header(), claims().with("scope", secret+"\t")), signText(header().json(), `{"a":`+secret, ""),
	} {
		_, err := b.verify(raw)
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("error %v", err)
		}
	}
}
