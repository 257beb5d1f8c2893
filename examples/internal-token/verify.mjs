// Verifies an internal token with jose: node verify.mjs JWKS_URL TRUST_DOMAIN < token
import { readFileSync } from 'node:fs'
import { createRemoteJWKSet, jwtVerify } from 'jose'

const [url, trustDomain] = process.argv.slice(2)
const { payload } = await jwtVerify(readFileSync(0, 'utf8').trim(), createRemoteJWKSet(new URL(url)), {
  algorithms: ['EdDSA'], typ: 'txntoken+jwt', issuer: `https://credence.${trustDomain}`, audience: `spiffe://${trustDomain}`,
  requiredClaims: ['exp', 'iat', 'sub', 'txn', 'req_wl'],
})
console.log(JSON.stringify(payload))
