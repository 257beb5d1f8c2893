package token_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/credence-mesh/credence/extauthz/token"
	"github.com/credence-mesh/credence/policy"
)

func idTokens(i *policy.Issuer) { i.Profile = policy.IDToken }

func audienceFrom(name string) func(*policy.Issuer) {
	return func(i *policy.Issuer) {
		legacy(i)
		i.AudienceFrom = name
	}
}

// registered are types of tokens for other purposes (row 19), signed by the same issuers.
var registered = []string{
	"dpop+jwt", "logout+jwt", "secevent+jwt", "txntoken+jwt", "wit+jwt", "wpt+jwt", "token-introspection+jwt", "oauth-authz-req+jwt",
	"client-authentication+jwt", "entity-statement+jwt", "dpop+id_token", "application/logout+jwt", "at+jwt", "application/at+jwt",
}

// The profile idToken: what is normal in ID tokens, and what is none.
func TestRow35IDTokens(t *testing.T) {
	bare := header().without("typ")
	plain := claims().without("client_id", "scope", "jti")
	with := func(name string, v any) string { return sign(bare, plain.with(name, v)) }
	rows := []row{
		{"plain", sign(bare, plain), idTokens, ""},
		{"typ JWT", sign(bare.with("typ", "JWT"), plain), idTokens, ""},
		{"nonce", with("nonce", "n"), idTokens, ""},
		{"at_hash", with("at_hash", "h"), idTokens, ""},
		{"c_hash", with("c_hash", "h"), idTokens, ""},
		{"azp is the audience", with("azp", aud), idTokens, ""},
		{"azp is another audience of ours", with("azp", "ours"), func(i *policy.Issuer) { idTokens(i); i.Audiences = []string{aud, "ours"} }, ""},
		{"azp is somebody else", with("azp", "web"), idTokens, token.ReasonAudience},
		{"azp is empty", with("azp", ""), idTokens, token.ReasonAudience},
		{"azp of another type", with("azp", []string{aud}), idTokens, token.ReasonClaimType},
		{"Keycloak ID token", with("typ", "ID"), idTokens, ""},
		{"Cognito ID token", with("token_use", "id"), idTokens, ""},
		{"Keycloak access token", with("typ", "Bearer"), idTokens, token.ReasonAccessToken},
		{"Cognito access token", with("token_use", "access"), idTokens, token.ReasonAccessToken},
		{"typ of another type", with("typ", 1), idTokens, token.ReasonAccessToken},
		{"row 36 events", with("events", map[string]any{}), idTokens, token.ReasonEvents},
		{"row 38 cnf", with("cnf", map[string]any{}), idTokens, token.ReasonConfirmation},
		{"no iat", sign(bare, plain.without("iat")), idTokens, token.ReasonClaimMissing},
		{"no sub", sign(bare, plain.without("sub")), idTokens, token.ReasonClaimMissing},
		{"no aud", sign(bare, plain.without("aud")), idTokens, token.ReasonClaimMissing},
		{"no exp", sign(bare, plain.without("exp")), idTokens, token.ReasonClaimMissing},
	}
	for _, typ := range registered {
		rows = append(rows, row{"row 19 " + typ, sign(bare.with("typ", typ), plain), idTokens, token.ReasonTyp})
	}
	runRows(t, rows)
}

// Refresh, offline and logout tokens of Keycloak, and ID tokens that pass for access tokens, in every profile.
func TestRow36OtherTokens(t *testing.T) {
	var rows []row
	for name, profile := range map[string]func(*policy.Issuer){"strict": nil, "legacy": legacy, "idToken": idTokens} {
		head := header()
		if name != "strict" {
			head = head.without("typ")
		}
		for _, typ := range []string{"Refresh", "Offline", "Logout", "refresh", "OFFLINE"} {
			rows = append(rows, row{"typ " + typ + ", " + name, sign(head, claims().with("typ", typ)), profile, token.ReasonTyp})
		}
		rows = append(rows, row{"token_use refresh, " + name, sign(head, claims().with("token_use", "refresh")), profile, token.ReasonTyp})
	}
	rows = append(
		rows,
		row{"ID token with a header of an access token", sign(header(), claims().with("typ", "ID")), nil, token.ReasonIDToken},
		row{"the same, Cognito", sign(header(), claims().with("token_use", "id")), nil, token.ReasonIDToken},
		row{"the same, legacy", sign(header(), claims().with("typ", "ID")), legacy, token.ReasonIDToken},
		row{"Cognito ID token, legacy", sign(header().without("typ"), claims().with("token_use", "id")), legacy, token.ReasonIDToken},
		row{"Cognito access token, legacy", sign(header().without("typ"), claims().with("token_use", "access")), legacy, ""},
		row{"Bearer outweighs that aud is the client", sign(header().without("typ"), claims().with("client_id", aud).with("typ", "Bearer")), legacy, ""},
		row{"Bearer in another case is no sign", sign(header().without("typ"), claims().with("typ", "bearer").with("nonce", "n")), legacy, token.ReasonIDToken},
	)
	runRows(t, rows)
}

// Row 30: another claim holds the audience; it is required, and compared in the same way.
func TestRow30AudienceFrom(t *testing.T) {
	from := audienceFrom("client_id")
	bare := header().without("typ")
	with := func(v any) string { return sign(bare, claims().without("aud").with("client_id", v)) }
	runRows(t, []row{
		{"ours", with(aud), from, ""},
		{"another", with("web"), from, token.ReasonAudience},
		{"absent", sign(bare, claims().without("aud", "client_id")), from, token.ReasonClaimMissing},
		{"absent, and aud is ours", sign(bare, claims().without("client_id")), from, token.ReasonClaimMissing},
		{"another, and aud is ours", sign(bare, claims().with("client_id", "web")), from, token.ReasonAudience},
		{"empty", with(""), from, token.ReasonClaimMissing},
		{"null", with(nil), from, token.ReasonClaimType},
		{"a number", with(7), from, token.ReasonClaimType},
		{"a list", sign(bare, claims().without("aud").with("for", []string{"x", aud})), audienceFrom("for"), ""},
		{"an empty list", sign(bare, claims().without("aud").with("for", []string{})), audienceFrom("for"), token.ReasonClaimMissing},
		{"17 entries", sign(bare, claims().without("aud").with("for", append(make([]string, 16), aud))), audienceFrom("for"), token.ReasonTooLarge},
		{"aud of another type all the same", sign(bare, claims().with("aud", 7).with("client_id", aud)), from, token.ReasonClaimType},
		{"ours, and aud is ours too", sign(bare, claims().with("aud", []string{"x", aud}).with("client_id", aud)), from, ""},
		{"ours, and aud is another API", sign(bare, claims().with("aud", "https://ledger").with("client_id", aud)), from, token.ReasonAudience},
		{"ours, and aud is empty", sign(bare, claims().with("aud", []string{}).with("client_id", aud)), from, token.ReasonAudience},
		{"only where it is configured", with(aud), legacy, token.ReasonClaimMissing},
	})
}

// Row 32: who the client is, and whether a token speaks for a service.
func TestRow32Principal(t *testing.T) {
	marks := []policy.Claim{{Path: []string{"gty"}, AnyOf: []string{"client-credentials"}}, {Path: []string{"k8s.io", "ns"}, AnyOf: []string{"shop", "7"}}}
	bare := header().without("typ")
	for name, c := range map[string]struct {
		claims     members
		clientFrom []string
		client     string
		service    bool
	}{
		"a user":                           {claims(), nil, "web", false},
		"sub is client_id":                 {claims().with("sub", "web"), nil, "web", true},
		"sub is azp":                       {claims().with("sub", "x").with("azp", "x"), nil, "x", true},
		"sub is cid, which comes second":   {claims().with("sub", "y").with("azp", "x").with("cid", "y"), nil, "x", true},
		"sub is client_id, not among ours": {claims().with("sub", "web").with("azp", "x"), []string{"azp"}, "x", true},
		"the first that is there counts":   {claims().with("cid", "c").with("azp", "a"), []string{"cid", "azp"}, "c", false},
		"an empty one is passed over":      {claims().with("azp", ""), nil, "web", false},
		"only what is configured":          {claims(), []string{"azp"}, "", false},
		"a mark":                           {claims().with("gty", "client-credentials"), nil, "web", true},
		"a mark in a list":                 {claims().with("gty", []string{"x", "client-credentials"}), nil, "web", true},
		"a mark below a name with dots":    {claims().with("k8s.io", members{"ns": "shop"}), nil, "web", true},
		"a mark that is a number":          {claims().with("k8s.io", members{"ns": 7}), nil, "web", true},
		"another value of a mark":          {claims().with("gty", "password"), nil, "web", false},
		"a mark of another type":           {claims().with("gty", members{"client-credentials": true}), nil, "web", false},
	} {
		t.Run(name, func(t *testing.T) {
			conf := withProfile(false)
			conf.ClientFrom, conf.ServiceMarkers = c.clientFrom, marks
			user, err := newBench(t, conf).verify(sign(bare, c.claims))
			if err != nil || user.Client != c.client || user.Service != c.service {
				t.Errorf("%+v, %v: want client %q, service %v", user, err, c.client, c.service)
			}
		})
	}
	runRows(t, []row{
		{"client of another type", sign(bare, claims().with("cid", 7)), legacy, token.ReasonClaimType},
		{
			"client_id of another type, not among ours", sign(bare, claims().with("client_id", 7)),
			func(i *policy.Issuer) { legacy(i); i.ClientFrom = []string{"azp"} }, token.ReasonClaimType,
		},
		{"a claim that names no client here", sign(bare, claims().with("cid", 7)), func(i *policy.Issuer) { legacy(i); i.ClientFrom = []string{"azp"} }, ""},
	})
}

// Row 29: several iss on one key set; with a template, the tenant's claim says the same as iss.
func TestRow29SeveralIssuers(t *testing.T) {
	two := func(i *policy.Issuer) { i.Issuers = []string{iss, "idp.example"} }
	tenants := func(i *policy.Issuer) {
		i.Issuers = []string{"https://login/1/v2", "https://login/2/v2"}
		i.Tenant = &policy.Tenant{Path: []string{"org", "tid"}, Values: []string{"1", "2"}}
	}
	of := func(iss string, tid any) string {
		return sign(header(), claims().with("iss", iss).with("org", members{"tid": tid}))
	}
	runRows(t, []row{
		{"first", sign(header(), claims()), two, ""},
		{"second", sign(header(), claims().with("iss", "idp.example")), two, ""},
		{"third", sign(header(), claims().with("iss", "idp.example/")), two, token.ReasonIssuerUnknown},
		{"tenant 1", of("https://login/1/v2", "1"), tenants, ""},
		{"tenant 2", of("https://login/2/v2", "2"), tenants, ""},
		{"tenant 2 as a number", of("https://login/2/v2", 2), tenants, ""},
		{"tenant 1 under the issuer of 2", of("https://login/2/v2", "1"), tenants, token.ReasonTenant},
		{"both in a list", of("https://login/2/v2", []string{"1", "2"}), tenants, token.ReasonTenant},
		{"null", of("https://login/2/v2", nil), tenants, token.ReasonTenant},
		{"no claim", sign(header(), claims().with("iss", "https://login/2/v2").with("tid", "2")), tenants, token.ReasonTenant},
		{"another tenant", of("https://login/3/v2", "3"), tenants, token.ReasonIssuerUnknown},
	})
}

// An issuer with several iss is found by each in the cache, and a token of one of its iss is not another's.
func TestRow29SeveralIssuersInTheCache(t *testing.T) {
	conf := defaultIssuer()
	conf.Issuers = []string{iss, "idp.example"}
	b := newBench(t, conf, otherIssuer("other", "https://other.example"))
	for _, one := range conf.Issuers {
		raw := sign(header(), claims().with("iss", one))
		for range 2 {
			if user, err := b.verify(raw); err != nil || user.IssuerURL != one {
				t.Fatalf("%s: %v, %v", one, user, err)
			}
		}
		b.at = now.Add(301 * time.Second)
		_, err := b.verify(raw)
		wantReason(t, err, token.ErrInvalid, token.ReasonExpired)
		b.at = now
	}
}

// With many issuers on one route the cache answers as with few: for the accepted ones only, after a change of keys, time or settings.
func TestManyIssuersInTheCache(t *testing.T) {
	issuers := []policy.Issuer{defaultIssuer()}
	names := []policy.Name{idp}
	for n := range 40 {
		other := otherIssuer(fmt.Sprint("x", n), fmt.Sprintf("https://%d.example", n))
		issuers, names = append(issuers, other), append(names, other.Name)
	}
	b := newBench(t, issuers...)
	raw := sign(header(), claims())
	verify := func(accepted []policy.Name) error {
		t.Helper()
		var err error
		for range 2 {
			_, err = b.Verify(context.Background(), raw, accepted)
		}
		return err
	}
	first, err := b.Verify(context.Background(), raw, names)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := b.Verify(context.Background(), raw, names); err != nil || again != first {
		t.Fatalf("%v, %v: not from the cache", again, err)
	}
	wantReason(t, verify(names[1:]), token.ErrInvalid, token.ReasonIssuerNotAccepted)
	wantReason(t, verify(names[1:3]), token.ErrInvalid, token.ReasonIssuerNotAccepted)
	b.at = now.Add(301 * time.Second)
	wantReason(t, verify(names), token.ErrInvalid, token.ReasonExpired)
	b.at = now
	issuers[0].Keys.Inline = jwkSet(jwkOf("ec", &testKeys().ec.PublicKey))
	b.Publish(issuers)
	wantReason(t, verify(names), token.ErrInvalid, token.ReasonKidUnknown)
	b.Publish(issuers[1:])
	if err := verify(names); !errors.Is(err, token.ErrUnavailable) {
		t.Fatal(err)
	}
	wantReason(t, verify(names[1:]), token.ErrInvalid, token.ReasonIssuerUnknown)
}

// What a configuration gives a meaning is part of what is cached: after a change the old facts are not found.
func TestRow13SettingsChangeUnderTheCache(t *testing.T) {
	raw := sign(header(), claims().with("gty", "client-credentials").with("azp", "app"))
	b := newBench(t, defaultIssuer())
	user, err := b.verify(raw)
	if err != nil || user.Service || user.Client != "app" {
		t.Fatalf("%v, %v", user, err)
	}
	conf := defaultIssuer()
	conf.ServiceMarkers, conf.ClientFrom = []policy.Claim{{Path: []string{"gty"}, AnyOf: []string{"client-credentials"}}}, []string{"client_id"}
	b.Publish([]policy.Issuer{conf})
	if user, err = b.verify(raw); err != nil || !user.Service || user.Client != "web" {
		t.Fatalf("%v, %v", user, err)
	}
	conf.Tenant = &policy.Tenant{Path: []string{"tid"}, Values: []string{"1"}}
	b.Publish([]policy.Issuer{conf})
	_, err = b.verify(raw)
	wantReason(t, err, token.ErrInvalid, token.ReasonTenant)
}

func TestUnusableSettingsAreUnavailable(t *testing.T) {
	for name, breakIt := range map[string]func(*policy.Issuer){
		"no iss":                     func(i *policy.Issuer) { i.Issuers = nil },
		"an empty iss":               func(i *policy.Issuer) { i.Issuers = append(i.Issuers, "") },
		"no profile":                 func(i *policy.Issuer) { i.Profile = 0 },
		"a profile of a later time":  func(i *policy.Issuer) { i.Profile = 99 },
		"a tenant without values":    func(i *policy.Issuer) { i.Tenant = &policy.Tenant{Path: []string{"tid"}} },
		"a tenant without a claim":   func(i *policy.Issuer) { i.Tenant = &policy.Tenant{Values: []string{"1"}} },
		"a tenant of an empty value": func(i *policy.Issuer) { i.Tenant = &policy.Tenant{Path: []string{"tid"}, Values: []string{""}} },
	} {
		t.Run(name, func(t *testing.T) {
			conf := defaultIssuer()
			breakIt(&conf)
			user, err := newBench(t, conf).verify(sign(header(), claims().with("tid", "")))
			if user != nil || !errors.Is(err, token.ErrUnavailable) && token.Reason(err) != token.ReasonIssuerUnknown {
				t.Errorf("%v, %v", user, err)
			}
		})
	}
}

// Rows 27 and 28: a refusal says by how much, for the log.
func TestDetail(t *testing.T) {
	day := defaultIssuer()
	day.MaxLifetime = 24 * time.Hour
	b := newBench(t, day)
	for name, c := range map[string]struct {
		claims members
		want   []string
	}{
		"row 27 iat":      {claims().with("iat", now.Unix()+47), []string{"clock", "47s ahead", "leeway 30s"}},
		"row 27 nbf":      {claims().with("nbf", now.Unix()+95), []string{"nbf", "1m35s ahead", "leeway 30s"}},
		"row 27 fraction": {claims().with("iat", 1800000047.25), []string{"47.25s ahead"}},
		"row 28":          {claims().with("exp", now.Unix()+365*86400-10), []string{"8760h0m0s", "24h0m0s"}},
		"row 26":          {claims().with("exp", now.Unix()-90), []string{"1m30s ago"}},
	} {
		_, err := b.verify(sign(header(), c.claims))
		for _, want := range c.want {
			if got := token.Detail(err); !strings.Contains(got, want) {
				t.Errorf("%s: %q does not say %q", name, got, want)
			}
		}
	}
	if got := token.Detail(context.Canceled); got != "" {
		t.Errorf("detail of a foreign error: %q", got)
	}
}

// Keys 7: one key under one kid for three algorithms; a kid that the keys for signatures and for encryption share.
func TestKeys7SharedKid(t *testing.T) {
	k := testKeys()
	three := func(i *policy.Issuer) {
		i.Algorithms = []string{"RS256", "RS384", "RS512"}
		var keys []map[string]string
		for _, alg := range i.Algorithms {
			key := jwkOf("one", &k.rsa.PublicKey)
			key["alg"], key["use"] = alg, "sig"
			keys = append(keys, key)
		}
		i.Keys.Inline = jwkSet(keys...)
	}
	shared := func(i *policy.Issuer) {
		enc, sig := jwkOf("one", &k.stranger.PublicKey), jwkOf("one", &k.rsa.PublicKey)
		enc["use"], enc["alg"] = "enc", "RSA-OAEP"
		sig["use"] = "sig"
		i.Keys.Inline = jwkSet(enc, sig)
	}
	raw := func(m jwt.SigningMethod, key any) string {
		return signWith(header().with("kid", "one").with("alg", m.Alg()).json(), claims().json(), m, key)
	}
	runRows(t, []row{
		{"RS256", raw(jwt.SigningMethodRS256, k.rsa), three, ""},
		{"RS384", raw(jwt.SigningMethodRS384, k.rsa), three, ""},
		{"RS512", raw(jwt.SigningMethodRS512, k.rsa), three, ""},
		{"PS256", raw(jwt.SigningMethodPS256, k.rsa), three, token.ReasonAlg},
		{"sig", raw(jwt.SigningMethodRS256, k.rsa), shared, ""},
		{"enc", raw(jwt.SigningMethodRS256, k.stranger), shared, token.ReasonSignature},
	})
}
