"""Verifies an internal token with PyJWT: verify.py JWKS_URL TRUST_DOMAIN < token"""
import json
import sys

import jwt

url, trust_domain = sys.argv[1:]
token = sys.stdin.read().strip()
key = jwt.PyJWKClient(url).get_signing_key_from_jwt(token)
claims = jwt.decode(token, key, algorithms=["EdDSA"], audience="spiffe://" + trust_domain, issuer="https://credence." + trust_domain,
                    options={"require": ["exp", "iat", "sub", "txn", "req_wl"], "strict_aud": True})
if jwt.get_unverified_header(token)["typ"] != "txntoken+jwt":
    sys.exit("not an internal token")
print(json.dumps(claims))
