package issuers_test

import (
	"testing"
	"time"

	"github.com/credence-mesh/credence/extauthz/token"
)

// Certificates beside a key say nothing: what stands in them is never read.
var certificate = []string{"MIIC" + "certificate"}

func TestIssuerKeycloak(t *testing.T) {
	k := testKeys()
	// The key for encryption has the kid of the signing key, as after a copy of the realm.
	r := newRig(t, "Keycloak", jwkSet(
		jwk(k[1], members{"kid": "kc", "alg": "RSA-OAEP", "use": "enc", "x5c": certificate, "x5t": "a", "x5t#S256": "b"}),
		jwk(k[0], members{"kid": "kc", "alg": "RS256", "use": "sig", "x5c": certificate, "x5t": "c", "x5t#S256": "d"}),
	))
	r.head = members{"alg": "RS256", "typ": "JWT", "kid": "kc"}
	r.claims = members{
		"iss": "https://login.example.org/realms/shop", "sub": "f3c2c1d0-5b1e-4d4b-a7c4-0a1b2c3d4e5f", "typ": "Bearer", "azp": "web",
		"aud": []string{"orders", "account"}, "exp": in(5 * time.Minute), "iat": in(-time.Second), "auth_time": in(-time.Minute),
		"jti": "onrtac:5a6f", "sid": "s", "acr": "1", "allowed-origins": []string{"https://shop.example"},
		"realm_access":    members{"roles": []string{"clerk", "offline_access"}},
		"resource_access": members{"account": members{"roles": []string{"manage-account"}}},
		"scope":           "openid profile orders:read", "preferred_username": "alice",
	}
	alice := who{"f3c2c1d0-5b1e-4d4b-a7c4-0a1b2c3d4e5f", "web", []string{"openid", "orders:read", "profile"}, false}
	r.accepts("access token", r.head, r.claims, alice)
	r.accepts("up to 24, with a nonce", r.head, r.claims.with(members{"nonce": "n", "session_state": "s"}), alice)
	r.accepts("service account", r.head, r.claims.with(members{
		"sub": "0d7e", "azp": "batch", "client_id": "batch", "preferred_username": "service-account-batch", "scope": "orders:read",
	}), who{"0d7e", "batch", []string{"orders:read"}, true})

	id := r.claims.with(members{"typ": "ID", "aud": "orders", "azp": "orders", "nonce": "n", "at_hash": "h"}).without("scope")
	r.refuses("ID token", r.head, id, token.ReasonIDToken)
	r.refuses("ID token with a header of an access token", r.head.with(members{"typ": "at+jwt"}), id, token.ReasonIDToken)
	r.refuses("refresh token", r.head, r.claims.with(members{"typ": "Refresh"}), token.ReasonTyp)
	r.refuses("offline token", r.head, r.claims.with(members{"typ": "Offline"}), token.ReasonTyp)
	r.refuses("logout token", r.head, r.claims.with(members{"typ": "Logout"}), token.ReasonTyp)
	r.refuses("another realm", r.head, r.claims.with(members{"iss": "https://login.example.org/realms/hr"}), token.ReasonIssuerUnknown)
	r.refuses("a client without the audience mapper", r.head, r.claims.with(members{"aud": "account"}), token.ReasonAudience)
	r.refusesRaw("signed with the key for encryption", sign(r.head, r.claims, k[1]), token.ReasonSignature)
	r.refusesAlways()
}

func TestIssuerAuth0(t *testing.T) {
	k := testKeys()
	r := newRig(t, "Auth0", jwkSet(
		jwk(k[0], members{"kid": "a0", "alg": "RS256", "use": "sig", "x5c": certificate, "x5t": "c"}),
		jwk(k[1], members{"kid": "next", "alg": "RS256", "use": "sig", "x5c": certificate, "x5t": "d"}),
	))
	r.head = members{"alg": "RS256", "typ": "JWT", "kid": "a0"}
	r.claims = members{
		"iss": "https://shop.eu.auth0.com/", "sub": "auth0|64b1f", "aud": []string{"https://orders.example.org", "https://shop.eu.auth0.com/userinfo"},
		"azp": "wEbClIeNt", "iat": in(-time.Second), "exp": in(30 * 24 * time.Hour), "scope": "openid read:orders",
		"https://shop.example/roles": []string{"clerk"}, "permissions": []string{"read:orders"},
	}
	alice := who{"auth0|64b1f", "wEbClIeNt", []string{"openid", "read:orders"}, false}
	r.accepts("access token of 30 days", r.head, r.claims, alice)
	r.accepts("RFC 9068 profile", r.head.with(members{"typ": "at+jwt"}), r.claims.with(members{"client_id": "wEbClIeNt", "jti": "j"}).without("azp"), alice)
	r.accepts("machine to machine", r.head, r.claims.with(members{
		"sub": "m2mClIeNt@clients", "azp": "m2mClIeNt", "aud": "https://orders.example.org", "gty": "client-credentials", "scope": "read:orders",
	}), who{"m2mClIeNt@clients", "m2mClIeNt", []string{"read:orders"}, true})

	r.refuses("ID token", r.head, members{
		"iss": "https://shop.eu.auth0.com/", "sub": "auth0|64b1f", "aud": "wEbClIeNt", "iat": in(0), "exp": in(time.Hour), "nonce": "n", "sid": "s",
	}, token.ReasonAudience)
	r.refuses("the issuer without its slash", r.head, r.claims.with(members{"iss": "https://shop.eu.auth0.com"}), token.ReasonIssuerUnknown)
	r.refuses("another tenant", r.head, r.claims.with(members{"iss": "https://evil.eu.auth0.com/"}), token.ReasonIssuerUnknown)
	r.refuses("for Auth0's own API", r.head, r.claims.with(members{"aud": "https://shop.eu.auth0.com/api/v2/"}), token.ReasonAudience)
	r.refuses("for userinfo alone", r.head, r.claims.with(members{"aud": []string{"https://shop.eu.auth0.com/userinfo"}}), token.ReasonAudience)
	r.refusesRaw("encrypted, as without an audience", "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..aa.bb.cc", token.ReasonEncrypted)
	r.refusesAlways()
}

func TestIssuerOkta(t *testing.T) {
	r := newRig(t, "Okta", jwkSet(jwk(testKeys()[0], members{"kid": "ok", "alg": "RS256", "use": "sig"})))
	r.head = members{"alg": "RS256", "kid": "ok"}
	r.claims = members{
		"ver": 1, "jti": "AT.aBc", "iss": "https://shop.okta.com/oauth2/default", "aud": "api://orders", "iat": in(0), "exp": in(time.Hour),
		"cid": "0oa1web", "uid": "00u1alice", "scp": []string{"openid", "orders.read"}, "auth_time": in(-time.Minute), "sub": "alice@shop.example",
	}
	r.accepts("access token", r.head, r.claims, who{"alice@shop.example", "0oa1web", []string{"openid", "orders.read"}, false})
	r.accepts("client credentials", r.head, r.claims.with(members{"sub": "0oa2batch", "cid": "0oa2batch", "scp": []string{"orders.read"}}).without("uid"),
		who{"0oa2batch", "0oa2batch", []string{"orders.read"}, true})

	id := r.claims.with(members{"jti": "ID.aBc", "aud": "0oa1web", "at_hash": "h", "nonce": "n", "idp": "00o1", "amr": []string{"pwd"}}).without("cid", "scp", "uid")
	r.refuses("ID token", r.head, id, token.ReasonAudience)
	r.refuses("ID token of a client that is listed by mistake", r.head, id.with(members{"aud": "api://orders"}), token.ReasonIDToken)
	r.refuses("the org's own server", r.head, r.claims.with(members{"iss": "https://shop.okta.com", "aud": "https://shop.okta.com"}), token.ReasonIssuerUnknown)
	r.refuses("another server of the org", r.head, r.claims.with(members{"iss": "https://shop.okta.com/oauth2/aus1"}), token.ReasonIssuerUnknown)
	r.refuses("the audience that the server begins with", r.head, r.claims.with(members{"aud": "api://default"}), token.ReasonAudience)
	r.refuses("a scope with a blank in the list", r.head, r.claims.with(members{"scp": []string{"orders.read admin"}}), token.ReasonScope)
	r.refusesAlways()
}

func TestIssuerDuende(t *testing.T) {
	r := newRig(t, "Duende IdentityServer", jwkSet(jwk(testKeys()[0], members{"kid": "D1", "alg": "RS256", "use": "sig"})))
	r.head = members{"alg": "RS256", "typ": "at+jwt", "kid": "D1"}
	r.claims = members{
		"iss": "https://id.example.org", "nbf": in(0), "iat": in(0), "exp": in(time.Hour), "aud": "orders", "scope": []string{"openid", "orders.read"},
		"amr": []string{"pwd"}, "client_id": "web", "sub": "818727", "auth_time": in(-time.Minute), "idp": "local", "sid": "S", "jti": "J",
	}
	r.accepts("access token", r.head, r.claims, who{"818727", "web", []string{"openid", "orders.read"}, false})
	r.accepts("client credentials with a sub", r.head, r.claims.with(members{"sub": "web"}).without("amr", "idp", "sid"),
		who{"web", "web", []string{"openid", "orders.read"}, true})
	r.refuses("client credentials without one", r.head, r.claims.without("sub"), token.ReasonClaimMissing)
	r.refuses("ID token", r.head.with(members{"typ": "JWT"}), r.claims.with(members{"aud": "web", "nonce": "n"}).without("scope", "client_id"), token.ReasonTyp)
	r.refuses("a lifetime over the strict profile's", r.head, r.claims.with(members{"exp": in(25 * time.Hour)}), token.ReasonLifetime)
	r.refuses("a scope with a blank in the list", r.head, r.claims.with(members{"scope": []string{"orders.read admin"}}), token.ReasonScope)
	r.refusesAlways()
}

func TestIssuerSpring(t *testing.T) {
	r := newRig(t, "Spring Authorization Server", jwkSet(jwk(testKeys()[0], members{"kid": "3c2d1e"})))
	r.head = members{"alg": "RS256", "kid": "3c2d1e"}
	r.claims = members{
		"iss": "https://auth.example.org", "sub": "alice", "aud": "https://orders.example.org", "nbf": in(0), "iat": in(0), "exp": in(5 * time.Minute),
		"jti": "j", "scope": []string{"openid", "orders.read"}, "client_id": "web",
	}
	r.accepts("access token", r.head, r.claims, who{"alice", "web", []string{"openid", "orders.read"}, false})
	r.accepts("client credentials", r.head, r.claims.with(members{"sub": "batch", "client_id": "batch"}), who{"batch", "batch", []string{"openid", "orders.read"}, true})
	r.refuses("without a customizer", r.head, r.claims.with(members{"aud": "web"}).without("client_id"), token.ReasonAudience)
	r.refuses("ID token", r.head, r.claims.with(members{"aud": "web", "azp": "web", "nonce": "n"}).without("scope", "client_id"), token.ReasonAudience)
	r.refusesAlways()
}
