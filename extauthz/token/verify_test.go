package token_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
	"github.com/credence-mesh/credence/policy/decide"
)

func TestUser(t *testing.T) {
	text := claims().json()
	raw := signText(header().json(), text[:len(text)-1]+`,"tenant":9007199254740993,"roles":["a",null,true,{"b":1.50}]}`, "")
	got, err := newBench(t, defaultIssuer()).verify(raw)
	if err != nil {
		t.Fatal(err)
	}
	want := &decide.User{
		Issuer: idp, IssuerURL: iss, Subject: "alice", Client: "web", Scopes: []string{"orders.read", "orders.write"},
		Expires: now.Add(300 * time.Second), Credential: policy.BearerToken, Origin: policy.BearerToken,
		TokenID: "1", IssuedAt: now.Add(-10 * time.Second),
		Claims: map[string]any{
			"iss": iss, "aud": aud, "sub": "alice", "client_id": "web", "jti": "1", "scope": "orders.read orders.write",
			"iat": decide.Number("1799999990"), "exp": decide.Number("1800000300"), "tenant": decide.Number("9007199254740993"),
			"roles": []any{"a", nil, true, map[string]any{"b": decide.Number("1.50")}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("user (-want +got):\n%s", diff)
	}
}

func TestRow33Scopes(t *testing.T) {
	for _, c := range []struct {
		name  string
		claim string
		value any
		want  []string
	}{
		{"string", "scope", "b a", []string{"a", "b"}},
		{"empty tokens and repeats", "scope", " b  a b ", []string{"a", "b"}},
		{"scp string", "scp", "b a", []string{"a", "b"}},
		{"scp array", "scp", []string{"b", "a", "b"}, []string{"a", "b"}},
		{"empty", "scope", "", []string{}},
		{"none", "x", 1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := newBench(t, defaultIssuer()).verify(sign(header(), claims().without("scope").with(c.claim, c.value)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got.Scopes); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Row 32: the client is azp, appid, cid or client_id.
func TestRow32Client(t *testing.T) {
	for _, name := range []string{"azp", "appid", "cid", "client_id"} {
		got, err := newBench(t, withProfile(false)).verify(sign(header(), claims().without("client_id").with(name, "batch")))
		if err != nil || got.Client != "batch" {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func withProfile(strict bool) policy.Issuer {
	i := defaultIssuer()
	i.Profile = map[bool]policy.Profile{true: policy.StrictAccessToken, false: policy.LegacyAccessToken}[strict]
	return i
}

func otherIssuer(name, url string) policy.Issuer {
	i := defaultIssuer()
	i.Name.Name, i.Issuers[0] = name, url
	i.Keys.Inline = jwkSet(jwkOf("rsa", &testKeys().stranger.PublicKey))
	return i
}

// Row 29: iss picks among the accepted issuers, and each has only its own keys.
func TestRow29Issuers(t *testing.T) {
	const otherURL = "https://other.example"
	other := policy.Name{Namespace: "default", Name: "other"}
	b := newBench(t, defaultIssuer(), otherIssuer("other", otherURL))
	mine := sign(header(), claims())
	theirs := signWith(header().json(), claims().with("iss", otherURL).json(), jwt.SigningMethodRS256, testKeys().stranger)
	crossed := sign(header(), claims().with("iss", otherURL))

	for _, c := range []struct {
		name     string
		raw      string
		accepted []policy.Name
		want     policy.Name
		class    error
		reason   string
	}{
		{"first of two", mine, []policy.Name{idp, other}, idp, nil, ""},
		{"second of two", theirs, []policy.Name{idp, other}, other, nil, ""},
		{"not accepted", theirs, []policy.Name{idp}, policy.Name{}, token.ErrInvalid, token.ReasonIssuerNotAccepted},
		{"not accepted though cached", mine, []policy.Name{other}, policy.Name{}, token.ErrInvalid, token.ReasonIssuerNotAccepted},
		{"key of another issuer", crossed, []policy.Name{idp, other}, policy.Name{}, token.ErrInvalid, token.ReasonSignature},
		{"nothing accepted", mine, nil, policy.Name{}, token.ErrInvalid, token.ReasonIssuerNotAccepted},
		{"accepted one is missing", theirs, []policy.Name{{Name: "gone"}}, policy.Name{}, token.ErrUnavailable, token.ReasonIssuerConfig},
		{"a missing one does not stop another", mine, []policy.Name{{Name: "gone"}, idp}, idp, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 2 { // fresh, then cached
				user, err := b.Verify(context.Background(), c.raw, c.accepted)
				if c.class != nil {
					wantReason(t, err, c.class, c.reason)
				} else if err != nil || user.Issuer != c.want {
					t.Fatalf("%v, %v", user, err)
				}
			}
		})
	}
}

// Two TokenIssuers of one iss, with different audiences: facts of one are never those of the other.
func TestSameIssTwice(t *testing.T) {
	first, second := defaultIssuer(), defaultIssuer()
	second.Name.Name, second.Audiences = "second", []string{"https://payments"}
	b := newBench(t, first, second)
	raw := sign(header(), claims())
	for range 2 {
		if _, err := b.Verify(context.Background(), raw, []policy.Name{idp}); err != nil {
			t.Fatal(err)
		}
		_, err := b.Verify(context.Background(), raw, []policy.Name{second.Name})
		wantReason(t, err, token.ErrInvalid, token.ReasonAudience)
		if u, err := b.Verify(context.Background(), raw, []policy.Name{second.Name, idp}); err != nil || u.Issuer != idp {
			t.Fatalf("%v, %v", u, err)
		}
	}
}

func TestUnusableIssuerIsUnavailable(t *testing.T) {
	for name, breakIt := range map[string]func(*policy.Issuer){
		"row 4 no algorithm":        func(i *policy.Issuer) { i.Algorithms = nil },
		"row 10 only HS256":         func(i *policy.Issuer) { i.Algorithms = []string{"HS256"} },
		"row 5 only none":           func(i *policy.Issuer) { i.Algorithms = []string{"none"} },
		"row 30 no audience":        func(i *policy.Issuer) { i.Audiences = nil },
		"row 30 empty audience":     func(i *policy.Issuer) { i.Audiences = []string{""} },
		"keys are not JSON":         func(i *policy.Issuer) { i.Keys.Inline = "{" },
		"keys not fetched yet":      func(i *policy.Issuer) { i.Keys = policy.KeySource{URL: "https://idp.example/jwks"} },
		"no development issuer":     func(i *policy.Issuer) { i.Keys = policy.KeySource{Development: true} },
		"key file that isn't there": func(i *policy.Issuer) { i.Keys = policy.KeySource{File: "/nonexistent/jwks.json"} },
	} {
		t.Run(name, func(t *testing.T) {
			conf := defaultIssuer()
			breakIt(&conf)
			b := newBench(t, conf)
			user, err := b.verify(sign(header(), claims()))
			if user != nil || !errors.Is(err, token.ErrUnavailable) || errors.Is(err, token.ErrInvalid) {
				t.Errorf("%v, %v", user, err)
			}
		})
	}
	t.Run("nothing published", func(t *testing.T) {
		v, err := token.New(token.Options{Keys: jwks.New(jwks.Options{})})
		if err != nil {
			t.Fatal(err)
		}
		_, err = v.Verify(context.Background(), sign(header(), claims()), both)
		wantReason(t, err, token.ErrUnavailable, token.ReasonIssuerConfig)
	})
}

func TestEndedContextIsUnavailable(t *testing.T) {
	b := newBench(t, defaultIssuer())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range 2 {
		user, err := b.Verify(ctx, sign(header(), claims()), both)
		if user != nil {
			t.Fatal("a user after the end")
		}
		wantReason(t, err, token.ErrUnavailable, token.ReasonCanceled)
		if _, err := b.verify(sign(header(), claims())); err != nil {
			t.Fatal(err)
		}
	}
}

// Row 13: what is cached stands on the key, the configuration and the time.
func TestRow13Cache(t *testing.T) {
	raw := sign(header(), claims().with("nbf", now.Unix()-5))
	prime := func(t *testing.T) (*bench, *decide.User) {
		b := newBench(t, defaultIssuer())
		user, err := b.verify(raw)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := b.verify(raw); err != nil || again != user {
			t.Fatalf("second time: %v, %v: not from the cache", again, err)
		}
		return b, user
	}
	t.Run("key removed", func(t *testing.T) {
		b, _ := prime(t)
		conf := defaultIssuer()
		conf.Keys.Inline = jwkSet(jwkOf("ec", &testKeys().ec.PublicKey))
		b.Publish([]policy.Issuer{conf})
		_, err := b.verify(raw)
		wantReason(t, err, token.ErrInvalid, token.ReasonKidUnknown)
	})
	t.Run("issuer unchanged", func(t *testing.T) {
		b, user := prime(t)
		b.Publish([]policy.Issuer{defaultIssuer(), otherIssuer("other", "https://other.example")})
		if again, err := b.verify(raw); err != nil || again != user {
			t.Fatalf("%v, %v: dropped", again, err)
		}
	})
	t.Run("issuer removed", func(t *testing.T) {
		b, _ := prime(t)
		b.Publish(nil)
		if _, err := b.verify(raw); !errors.Is(err, token.ErrUnavailable) {
			t.Fatal(err)
		}
	})
	t.Run("audience changed", func(t *testing.T) {
		b, _ := prime(t)
		conf := defaultIssuer()
		conf.Audiences = []string{"https://payments"}
		b.Publish([]policy.Issuer{conf})
		_, err := b.verify(raw)
		wantReason(t, err, token.ErrInvalid, token.ReasonAudience)
	})
	t.Run("expires", func(t *testing.T) {
		b, _ := prime(t)
		b.at = now.Add(300*time.Second - time.Millisecond)
		if _, err := b.verify(raw); err != nil {
			t.Fatal(err)
		}
		b.at = now.Add(300 * time.Second)
		_, err := b.verify(raw)
		wantReason(t, err, token.ErrInvalid, token.ReasonExpired)
	})
	t.Run("clock goes back", func(t *testing.T) {
		b, _ := prime(t)
		b.at = now.Add(-36 * time.Second)
		_, err := b.verify(raw)
		wantReason(t, err, token.ErrInvalid, token.ReasonNotYetValid)
	})
	t.Run("another signature of the same content", func(t *testing.T) {
		b, _ := prime(t)
		_, err := b.verify(signWith(header().json(), claims().json(), jwt.SigningMethodRS256, testKeys().stranger))
		wantReason(t, err, token.ErrInvalid, token.ReasonSignature)
		cut := strings.LastIndex(raw, ".")
		_, err = b.verify(raw[:cut+1])
		wantReason(t, err, token.ErrInvalid, token.ReasonSignature)
	})
	t.Run("refusals are not cached", func(t *testing.T) {
		b := newBench(t, defaultIssuer())
		early := sign(header(), claims().with("nbf", now.Unix()+60))
		_, err := b.verify(early)
		wantReason(t, err, token.ErrInvalid, token.ReasonNotYetValid)
		b.at = now.Add(time.Minute)
		if _, err := b.verify(early); err != nil {
			t.Fatal(err)
		}
	})
}

func TestCachedVerifyAllocatesLittle(t *testing.T) {
	b := newBench(t, defaultIssuer())
	raw := sign(header(), claims())
	if n := testing.AllocsPerRun(200, func() {
		if _, err := b.verify(raw); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

// RFC 7515 appendices A.2 (RS256), A.3 (ES256) and RFC 8037 A.4 (EdDSA): their keys and signatures. The payloads are no access tokens
// (A.2 and A.3 have no sub and no aud), so what is asserted is that the signature was accepted and a claim refused, and that one
// changed bit of the signature is a signature error.
func TestRFC7515Vectors(t *testing.T) {
	const payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	vectors := map[string]struct{ jwk, header, signature string }{
		"A.2": {
			`{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}`,
			"eyJhbGciOiJSUzI1NiJ9",
			"cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
		},
		"A.3": {
			`{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`,
			"eyJhbGciOiJFUzI1NiJ9",
			"DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
		},
	}
	for name, v := range vectors {
		t.Run("RFC 7515 "+name, func(t *testing.T) {
			conf := defaultIssuer()
			conf.Profile, conf.Issuers = policy.LegacyAccessToken, []string{"joe"}
			conf.Keys.Inline = `{"keys":[` + v.jwk + `]}`
			b := newBench(t, conf)
			b.at = time.Unix(1_300_000_000, 0)
			_, err := b.verify(v.header + "." + payload + "." + v.signature)
			wantReason(t, err, token.ErrInvalid, token.ReasonClaimMissing)
			changed := "A" + v.signature[1:]
			_, err = b.verify(v.header + "." + payload + "." + changed)
			wantReason(t, err, token.ErrInvalid, token.ReasonSignature)
		})
	}
}
