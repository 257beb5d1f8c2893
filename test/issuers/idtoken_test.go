package issuers_test

import (
	"testing"
	"time"

	"github.com/credence-mesh/credence/extauthz/token"
)

// accessTokens of the same issuer are refused where ID tokens are meant.
func (r *rig) refusesAccessTokens() {
	r.t.Helper()
	r.refuses("an access token by its header", r.head.with(members{"typ": "at+jwt"}), r.claims, token.ReasonTyp)
	r.refuses("an access token by a claim", r.head, r.claims.with(members{"typ": "Bearer"}), token.ReasonAccessToken)
	r.refuses("a refresh token", r.head, r.claims.with(members{"typ": "Refresh"}), token.ReasonTyp)
	r.refuses("no iat", r.head, r.claims.without("iat"), token.ReasonClaimMissing)
}

func TestIssuerGoogle(t *testing.T) {
	const client = "1234567890-shop.apps.googleusercontent.com"
	k := testKeys()
	r := newRig(t, "Google", jwkSet(
		jwk(k[0], members{"kid": "g1", "alg": "RS256", "use": "sig"}), jwk(k[1], members{"kid": "g2", "alg": "RS256", "use": "sig"}),
	))
	r.head = members{"alg": "RS256", "kid": "g1", "typ": "JWT"}
	r.claims = members{
		"iss": "https://accounts.google.com", "azp": client, "aud": client, "sub": "110169484474386276334", "hd": "shop.example", "email": "alice@shop.example",
		"email_verified": true, "at_hash": "h", "nonce": "n", "iat": in(0), "exp": in(time.Hour), "jti": "j",
	}
	alice := who{"110169484474386276334", client, nil, false}
	r.accepts("ID token", r.head, r.claims, alice)
	r.accepts("the other spelling of iss", r.head, r.claims.with(members{"iss": "accounts.google.com"}), alice)
	r.accepts("no azp", r.head, r.claims.without("azp"), who{"110169484474386276334", "", nil, false})

	r.refuses("another client", r.head, r.claims.with(members{"aud": "evil.apps.googleusercontent.com", "azp": "evil.apps.googleusercontent.com"}), token.ReasonAudience)
	r.refuses("asked for by another client", r.head, r.claims.with(members{"azp": "android.apps.googleusercontent.com"}), token.ReasonAudience)
	r.refuses("azp is empty", r.head, r.claims.with(members{"azp": ""}), token.ReasonAudience)
	r.refuses("a service account for another audience", r.head, r.claims.with(members{"aud": "https://other.example.org", "azp": "1155", "sub": "1155"}), token.ReasonAudience)
	r.refuses("a third spelling of iss", r.head, r.claims.with(members{"iss": "https://accounts.google.com/"}), token.ReasonIssuerUnknown)
	r.refusesAccessTokens()
	r.refusesAlways()
}

func TestIssuerFirebase(t *testing.T) {
	r := newRig(t, "Firebase", jwkSet(jwk(testKeys()[0], members{"kid": "f1", "alg": "RS256", "use": "sig"})))
	r.head = members{"alg": "RS256", "kid": "f1", "typ": "JWT"}
	r.claims = members{
		"iss": "https://securetoken.google.com/shop-prod", "aud": "shop-prod", "auth_time": in(-time.Minute), "user_id": "uid1", "sub": "uid1",
		"iat": in(0), "exp": in(time.Hour), "email": "alice@shop.example",
		"firebase": members{"identities": members{"email": []string{"alice@shop.example"}}, "sign_in_provider": "password"},
	}
	r.accepts("ID token", r.head, r.claims, who{"uid1", "", nil, false})
	r.refuses("another project", r.head, r.claims.with(members{"iss": "https://securetoken.google.com/evil", "aud": "evil"}), token.ReasonIssuerUnknown)
	r.refuses("another project's audience", r.head, r.claims.with(members{"aud": "evil"}), token.ReasonAudience)
	r.refuses("a session cookie", r.head, r.claims.with(members{"iss": "https://session.firebase.google.com/shop-prod"}), token.ReasonIssuerUnknown)
	r.refuses("a custom token", r.head, members{
		"iss": "sa@shop-prod.iam.gserviceaccount.com", "sub": "sa@shop-prod.iam.gserviceaccount.com", "uid": "uid1", "iat": in(0), "exp": in(time.Hour),
		"aud": "https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit",
	}, token.ReasonIssuerUnknown)
	r.refusesAccessTokens()
	r.refusesAlways()
}

func TestIssuerGitHubActions(t *testing.T) {
	k := testKeys()
	r := newRig(t, "GitHub Actions", jwkSet(
		jwk(k[1], members{"kid": "gh2", "alg": "RS256", "use": "sig", "x5c": certificate, "x5t": "gh2"}),
		jwk(k[0], members{"kid": "gh1", "alg": "RS256", "use": "sig", "x5c": certificate, "x5t": "gh1"}),
	))
	r.head = members{"typ": "JWT", "alg": "RS256", "x5t": "gh1", "kid": "gh1"}
	const sub = "repo:shop/deploy:environment:prod"
	r.claims = members{
		"jti": "j", "sub": sub, "environment": "prod", "aud": "https://orders.example.org", "ref": "refs/heads/main", "sha": "abc", "repository": "shop/deploy",
		"repository_owner": "shop", "repository_owner_id": "65", "run_id": "30433642", "repository_id": "74", "actor_id": "12", "actor": "alice",
		"workflow": "deploy", "event_name": "push", "ref_type": "branch", "job_workflow_ref": "shop/deploy/.github/workflows/d.yml@refs/heads/main",
		"runner_environment": "github-hosted", "iss": "https://token.actions.githubusercontent.com", "nbf": in(-5 * time.Minute), "exp": in(5 * time.Minute), "iat": in(0),
	}
	r.accepts("job", r.head, r.claims, who{sub, "", nil, true})
	r.accepts("on a runner of one's own", r.head, r.claims.with(members{"runner_environment": "self-hosted"}), who{sub, "", nil, true})
	r.refuses("the audience that a job gets without asking", r.head, r.claims.with(members{"aud": "https://github.com/shop"}), token.ReasonAudience)
	r.refuses("an enterprise's own issuer", r.head, r.claims.with(members{"iss": "https://token.actions.githubusercontent.com/shop"}), token.ReasonIssuerUnknown)
	r.refuses("longer than maxLifetime", r.head, r.claims.with(members{"exp": in(2 * time.Hour)}), token.ReasonLifetime)
	r.refusesAccessTokens()
	r.refusesAlways()
}

func TestIssuerKubernetes(t *testing.T) {
	r := newRig(t, "Kubernetes", jwkSet(jwk(testKeys()[0], members{"kid": "k8s", "alg": "RS256", "use": "sig"})))
	r.head = members{"alg": "RS256", "kid": "k8s"}
	const sub = "system:serviceaccount:shop:web"
	r.claims = members{
		"aud": []string{"https://orders.example.org"}, "exp": in(time.Hour), "iat": in(0), "nbf": in(0), "iss": "https://kubernetes.default.svc.cluster.local",
		"jti": "j", "sub": sub, "kubernetes.io": members{
			"namespace": "shop", "node": members{"name": "n1", "uid": "u1"}, "pod": members{"name": "web-0", "uid": "u2"},
			"serviceaccount": members{"name": "web", "uid": "u3"}, "warnafter": in(time.Hour),
		},
	}
	r.accepts("projected token", r.head, r.claims, who{sub, "", nil, true})
	r.accepts("mounted token of a year", r.head, r.claims.with(members{"exp": in(365 * 24 * time.Hour)}), who{sub, "", nil, true})
	r.refuses("for the API server", r.head, r.claims.with(members{"aud": []string{"https://kubernetes.default.svc.cluster.local"}}), token.ReasonAudience)
	r.refuses("another cluster", r.head, r.claims.with(members{"iss": "https://oidc.eks.eu-west-1.amazonaws.com/id/ABC"}), token.ReasonIssuerUnknown)
	r.refuses("an old one of a Secret", r.head, members{
		"iss": "kubernetes/serviceaccount", "sub": sub, "kubernetes.io/serviceaccount/namespace": "shop", "kubernetes.io/serviceaccount/service-account.name": "web",
	}, token.ReasonIssuerUnknown)
	r.refusesAccessTokens()
	r.refusesAlways()
}

func TestIssuerApple(t *testing.T) {
	k := testKeys()
	r := newRig(t, "Sign in with Apple", jwkSet(
		jwk(k[1], members{"kid": "ap2", "alg": "RS256", "use": "sig"}), jwk(k[0], members{"kid": "ap1", "alg": "RS256", "use": "sig"}),
	))
	r.head = members{"alg": "RS256", "kid": "ap1"}
	r.claims = members{
		"iss": "https://appleid.apple.com", "aud": "com.example.shop", "exp": in(24 * time.Hour), "iat": in(0), "sub": "001234.abc.0123", "nonce": "n",
		"c_hash": "h", "email": "x@privaterelay.appleid.com", "email_verified": "true", "is_private_email": "true", "auth_time": in(0), "nonce_supported": true,
	}
	r.accepts("ID token", r.head, r.claims, who{"001234.abc.0123", "", nil, false})
	r.accepts("of the web", r.head, r.claims.with(members{"aud": "com.example.shop.web"}), who{"001234.abc.0123", "", nil, false})
	r.refuses("another developer's app", r.head, r.claims.with(members{"aud": "com.evil.app"}), token.ReasonAudience)
	r.refuses("a client secret", r.head, members{
		"iss": "TEAM123", "aud": "https://appleid.apple.com", "sub": "com.example.shop", "iat": in(0), "exp": in(time.Hour),
	}, token.ReasonIssuerUnknown)
	r.refusesAccessTokens()
	r.refusesAlways()
}
