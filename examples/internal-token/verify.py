"""Verifies an internal token with PyJWT: verify.py JWKS_URL TRUST_DOMAIN < token"""
import json
import sys

import jwt


def verify(token, keys, trust_domain):
    """The claims of a token of this mesh; anything else raises jwt.InvalidTokenError."""
    if jwt.get_unverified_header(token).get("typ") != "txntoken+jwt":
        raise jwt.InvalidTokenError("not an internal token")
    claims = jwt.decode(
        token, keys.get_signing_key_from_jwt(token), algorithms=["EdDSA"],  # a token does not choose how it is verified
        issuer="https://credence." + trust_domain, audience="spiffe://" + trust_domain,
        options={"require": ["iss", "aud", "exp", "iat", "sub", "txn", "req_wl"], "strict_aud": True})
    if not str(claims["req_wl"]).startswith("spiffe://" + trust_domain + "/"):
        raise jwt.InvalidTokenError("asked for from elsewhere")
    return claims


url, trust_domain = sys.argv[1:]
try:
    print(json.dumps(verify(sys.stdin.read().strip(), jwt.PyJWKClient(url), trust_domain)))
except jwt.PyJWTError as e:  # a key that the mesh does not have, too
    sys.exit("refused: " + str(e))
