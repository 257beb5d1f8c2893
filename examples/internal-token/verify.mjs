// Verifies an internal token with jose: node verify.mjs JWKS_URL TRUST_DOMAIN < token
import { readFileSync } from 'node:fs'
import { createRemoteJWKSet, errors, jwtVerify } from 'jose'

// verify is the claims of a token of this mesh; anything else throws a JOSEError.
async function verify(token, keys, trustDomain) {
  const { payload } = await jwtVerify(token, keys, {
    algorithms: ['EdDSA'], // a token does not choose how it is verified
    typ: 'txntoken+jwt', issuer: `https://credence.${trustDomain}`, audience: `spiffe://${trustDomain}`,
    requiredClaims: ['exp', 'iat', 'sub', 'txn', 'req_wl'],
  })
  if (typeof payload.aud !== 'string') throw new errors.JWTInvalid('for others too')
  if (!String(payload.req_wl).startsWith(`spiffe://${trustDomain}/`)) throw new errors.JWTInvalid('asked for from elsewhere')
  return payload
}

const [url, trustDomain] = process.argv.slice(2)
try {
  console.log(JSON.stringify(await verify(readFileSync(0, 'utf8').trim(), createRemoteJWKSet(new URL(url)), trustDomain)))
} catch (e) {
  if (!(e instanceof errors.JOSEError)) throw e
  console.error(`refused: ${e.message}`)
  process.exit(1)
}
