// Judges the OAuth2 endpoints with oauth4webapi, a client that accepts nothing
// that the RFCs do not allow. Prints "ok" when all is as it must be.
import assert from 'node:assert/strict'
import * as oauth from 'oauth4webapi'

const { ISSUER, CLIENT_ID, CLIENT_SECRET } = process.env
const issuer = new URL(ISSUER)

const as = await oauth.processDiscoveryResponse(
  issuer,
  await oauth.discoveryRequest(issuer, { algorithm: 'oauth2' }),
)
const client = { client_id: CLIENT_ID }
const audience = `${ISSUER}/gateway`

async function token(auth) {
  const response = await oauth.clientCredentialsGrantRequest(as, client, auth, new URLSearchParams({ scope: 'default' }))
  return oauth.processClientCredentialsResponse(as, client, response)
}

async function introspect(auth, value) {
  const response = await oauth.introspectionRequest(as, client, auth, value)
  return oauth.processIntrospectionResponse(as, client, response)
}

for (const method of [oauth.ClientSecretBasic, oauth.ClientSecretPost]) {
  const auth = method(CLIENT_SECRET)
  const issued = await token(auth)
  assert.equal(issued.token_type, 'bearer')
  assert.equal(issued.expires_in, 3600)

  const request = new Request('https://api.example.com/', { headers: { authorization: `Bearer ${issued.access_token}` } })
  const claims = await oauth.validateJwtAccessToken(as, request, audience)
  assert.equal(claims.client_id, CLIENT_ID)
  assert.equal(claims.scope, 'default')

  const active = await introspect(auth, issued.access_token)
  assert.equal(active.active, true)
  assert.equal(active.jti, claims.jti)
  assert.equal(active.exp, claims.exp)
  assert.equal(active.iss, ISSUER)

  await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, issued.access_token))
  assert.deepEqual(await introspect(auth, issued.access_token), { active: false })
  await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, 'nonsense'))
}

for (const method of [oauth.ClientSecretBasic, oauth.ClientSecretPost]) {
  await assert.rejects(token(method('wrong')), (err) => {
    assert(err instanceof oauth.WWWAuthenticateChallengeError, String(err))
    assert.equal(err.status, 401)
    assert.equal(err.cause[0].scheme, 'basic')
    return true
  })
}

const badScope = await oauth.clientCredentialsGrantRequest(
  as, client, oauth.ClientSecretBasic(CLIENT_SECRET), new URLSearchParams({ scope: 'everything' }))
await assert.rejects(oauth.processClientCredentialsResponse(as, client, badScope), (err) => {
  assert(err instanceof oauth.ResponseBodyError, String(err))
  assert.equal(err.error, 'invalid_scope')
  assert.equal(err.status, 400)
  return true
})

console.log('ok')
