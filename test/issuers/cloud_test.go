package issuers_test

import (
	"testing"
	"time"

	"github.com/credence-mesh/credence/extauthz/token"
)

const (
	tenant      = "7c6f2a5e-0d4b-4c56-9a41-3f6a1e1d0b11"
	secondOne   = "b0a1c2d3-1111-4222-8333-944455556666"
	otherTenant = "9188040d-6c67-4c5b-b112-36a304b66dad"
	entraV1     = "https://sts.windows.net/" + tenant + "/"
	entraClient = "5a6b7c8d-aaaa-4bbb-8ccc-1234567890ab"
	entraAPI    = "0f3c9d52-6a0e-4a53-9b0e-5d1f2a7c8e90"
	graph       = "00000003-0000-0000-c000-000000000000"
)

func entraV2(tid string) string { return "https://login.microsoftonline.com/" + tid + "/v2.0" }

// entraKeys have no alg, and members of Microsoft's own; those of v2 name the issuer that they are for.
func entraKeys(more members) string {
	k := testKeys()
	more = more.with(members{"use": "sig", "x5t": "M1", "x5c": certificate, "cloud_instance_name": "microsoftonline.com"})
	return jwkSet(jwk(k[1], more.with(members{"kid": "M2", "x5t": "M2"})), jwk(k[0], more.with(members{"kid": "M1"})),
		jwk(k[0], members{"use": "sig", "kid": "M3", "issuer": entraV2(secondOne)}))
}

func TestIssuerEntraV1(t *testing.T) {
	r := newRig(t, "Microsoft Entra ID, v1 tokens", entraKeys(members{}))
	r.head = members{"typ": "JWT", "alg": "RS256", "x5t": "M1", "kid": "M1"}
	r.claims = members{
		"aud": "api://orders", "iss": entraV1, "iat": in(0), "nbf": in(0), "exp": in(75 * time.Minute), "acr": "1", "aio": "A", "amr": []string{"pwd"},
		"appid": entraClient, "appidacr": "0", "ipaddr": "203.0.113.7", "name": "Alice", "oid": "11111111-2222-4333-8444-555555555555", "rh": "0.A",
		"scp": "access_as_user orders.read", "sub": "pairwise-Alice", "tid": tenant, "unique_name": "alice@shop.example", "uti": "u", "ver": "1.0",
	}
	r.accepts("for a user", r.head, r.claims, who{"pairwise-Alice", entraClient, []string{"access_as_user", "orders.read"}, false})
	app := r.claims.with(members{"appidacr": "1", "idtyp": "app", "roles": []string{"Orders.Read.All"}, "sub": "3333-oid-of-the-service"}).
		without("scp", "unique_name", "name", "amr", "ipaddr")
	r.accepts("for a service", r.head, app, who{"3333-oid-of-the-service", entraClient, nil, true})

	r.refuses("ID token", r.head, r.claims.with(members{"aud": entraClient, "nonce": "n"}).without("scp", "appid"), token.ReasonAudience)
	r.refuses("by a key of another issuer", r.head.with(members{"kid": "M3"}), r.claims, token.ReasonKeyIssuer)
	r.refuses("a v2 token", r.head, r.claims.with(members{"iss": entraV2(tenant), "aud": entraAPI, "ver": "2.0"}), token.ReasonIssuerUnknown)
	r.refuses("another tenant", r.head, r.claims.with(members{"iss": "https://sts.windows.net/" + otherTenant + "/", "tid": otherTenant}), token.ReasonIssuerUnknown)
	r.refuses("for Microsoft Graph", r.head.with(members{"nonce": "n"}), r.claims.with(members{"aud": graph}), token.ReasonAudience)
	r.refusesAlways()
}

func TestIssuerEntraV2(t *testing.T) {
	r := newRig(t, "Microsoft Entra ID, v2 tokens of several tenants", entraKeys(members{"issuer": entraV2("{tenantid}")}))
	r.head = members{"typ": "JWT", "alg": "RS256", "kid": "M1"}
	r.claims = members{
		"aud": entraAPI, "iss": entraV2(tenant), "iat": in(0), "nbf": in(0), "exp": in(75 * time.Minute), "aio": "A", "azp": entraClient, "azpacr": "0",
		"name": "Alice", "oid": "11111111-2222-4333-8444-555555555555", "preferred_username": "alice@shop.example", "rh": "0.A", "scp": "orders.read",
		"sub": "pairwise-Alice", "tid": tenant, "uti": "u", "ver": "2.0",
	}
	alice := who{"pairwise-Alice", entraClient, []string{"orders.read"}, false}
	r.accepts("for a user", r.head, r.claims, alice)
	r.accepts("the second tenant", r.head, r.claims.with(members{"iss": entraV2(secondOne), "tid": secondOne}), alice)
	r.accepts("by the second tenant's own key", r.head.with(members{"kid": "M3"}), r.claims.with(members{"iss": entraV2(secondOne), "tid": secondOne}), alice)
	r.accepts("for a service", r.head, r.claims.with(members{"azpacr": "1", "idtyp": "app", "roles": []string{"Orders.Read.All"}, "sub": "3333"}).without("scp", "name"),
		who{"3333", entraClient, nil, true})

	r.refuses("a tenant that is not listed", r.head, r.claims.with(members{"iss": entraV2(otherTenant), "tid": otherTenant}), token.ReasonIssuerUnknown)
	r.refuses("by another tenant's own key", r.head.with(members{"kid": "M3"}), r.claims, token.ReasonKeyIssuer)
	r.refuses("iss of one tenant, tid of another", r.head, r.claims.with(members{"tid": secondOne}), token.ReasonTenant)
	r.refuses("no tid", r.head, r.claims.without("tid"), token.ReasonTenant)
	r.refuses("tid is a list", r.head, r.claims.with(members{"tid": []string{tenant, secondOne}}), token.ReasonTenant)
	r.refuses("the template itself", r.head, r.claims.with(members{"iss": entraV2("{tid}"), "tid": "{tid}"}), token.ReasonIssuerUnknown)
	r.refuses("a v1 token", r.head, r.claims.with(members{"iss": entraV1, "aud": "api://orders", "ver": "1.0"}), token.ReasonIssuerUnknown)
	r.refuses("ID token", r.head, r.claims.with(members{"aud": entraClient, "nonce": "n"}).without("azp", "scp"), token.ReasonAudience)
	r.refuses("ID token of the API's own registration", r.head, r.claims.with(members{"nonce": "n"}).without("azp", "scp"), token.ReasonIDToken)
	r.refuses("for Microsoft Graph", r.head, r.claims.with(members{"aud": graph}), token.ReasonAudience)
	r.refusesAlways()
}

func TestIssuerCognito(t *testing.T) {
	const (
		pool   = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab12Cd34E"
		client = "7h3app5client9id2of4shop"
	)
	k := testKeys()
	r := newRig(t, "Amazon Cognito", jwkSet(
		jwk(k[1], members{"kid": "id+token=", "alg": "RS256", "use": "sig"}), jwk(k[0], members{"kid": "access+token=", "alg": "RS256", "use": "sig"}),
	))
	r.head = members{"alg": "RS256", "kid": "access+token="}
	r.claims = members{
		"sub": "a1b2", "cognito:groups": []string{"clerks"}, "iss": pool, "version": 2, "client_id": client, "origin_jti": "o", "event_id": "e",
		"token_use": "access", "scope": "openid orders/read", "auth_time": in(-time.Minute), "exp": in(time.Hour), "iat": in(0), "jti": "j", "username": "alice",
	}
	r.accepts("access token", r.head, r.claims, who{"a1b2", client, []string{"openid", "orders/read"}, false})
	r.accepts("client credentials", r.head, r.claims.with(members{"sub": client, "scope": "orders/read"}).without("username", "cognito:groups"),
		who{client, client, []string{"orders/read"}, true})

	id := r.claims.with(members{"aud": client, "token_use": "id", "at_hash": "h", "cognito:username": "alice", "email": "a@shop.example"}).
		without("client_id", "scope", "version", "username")
	r.refuses("ID token", r.head, id, token.ReasonClaimMissing)
	r.refuses("ID token with a client_id", r.head, id.with(members{"client_id": client}), token.ReasonIDToken)
	r.refuses("another app client", r.head, r.claims.with(members{"client_id": "another"}), token.ReasonAudience)
	r.refuses("another app client, and ours in aud", r.head, r.claims.with(members{"client_id": "another", "aud": client}), token.ReasonAudience)
	r.refuses("of our app client, for another API", r.head, r.claims.with(members{"aud": "https://ledger.example.org"}), token.ReasonAudience)
	r.refuses("no client_id", r.head, r.claims.without("client_id"), token.ReasonClaimMissing)
	r.refuses("client_id is a number", r.head, r.claims.with(members{"client_id": 7}), token.ReasonClaimType)
	r.refuses("another pool", r.head, r.claims.with(members{"iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Zz99Zz99Z"}), token.ReasonIssuerUnknown)
	r.refusesAlways()
}
