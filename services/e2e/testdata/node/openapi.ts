// The story from nothing to usage, over REST, with a client that openapi-typescript has
// made of the portal's document. It is type-checked: what it names, the document has.
import createClient, { type Middleware } from 'openapi-fetch'
import { WebSocket } from 'undici'
import type { components, paths } from './tidegate.js'

declare const process: { env: Record<string, string> }
const { BASE, PASSWORD, BACKEND } = process.env as Record<'BASE' | 'PASSWORD' | 'BACKEND', string>

let token = ''
const authorize: Middleware = {
  onRequest({ request, schemaPath }) {
    if (token && schemaPath.startsWith('/v1/')) request.headers.set('Authorization', `Bearer ${token}`)
    return request
  },
}
const client = createClient<paths>({ baseUrl: BASE })
client.use(authorize)

type Answer<T> = { data?: T; error?: unknown; response: Response }

// ok returns what an answer has, or throws its error.
async function ok<T>(asked: Promise<Answer<T>>): Promise<T> {
  const { data, error, response } = await asked
  if (data === undefined) throw new Error(`${response.url}: ${response.status} ${JSON.stringify(error)}`)
  return data
}

// last is the id at the end of a name.
const last = (name: string) => name.slice(name.lastIndexOf('/') + 1)

function equal(got: unknown, want: unknown, what: string) {
  if (got !== want) throw new Error(`${what} is ${JSON.stringify(got)}, want ${JSON.stringify(want)}`)
}

async function refusals() {
  const none = await client.GET('/v1/apis')
  equal(none.response.status, 401, 'a request without a token')
  equal(none.response.headers.get('WWW-Authenticate'), 'Bearer realm="tidegate"', 'its challenge')
  const wrong = await client.POST('/v1/users:signIn', { body: { username: 'admin', password: 'wrong' } })
  equal(wrong.error?.code, 16, 'the code of a wrong password')
}

async function mistakes() {
  const { error, response } = await client.POST('/v1/apis', { body: { displayName: ' ', context: 'no slash' } })
  equal(response.status, 400, 'a mistake')
  const fields = (error?.details ?? []).flatMap((detail) =>
    detail['@type'] === 'type.googleapis.com/google.rpc.BadRequest'
      ? (detail as components['schemas']['BadRequest']).fieldViolations.map((v) => v.field)
      : [],
  )
  equal(fields.length, 2, 'the number of fields that are wrong')
  const missing = await client.GET('/v1/apis/{api}', { params: { path: { api: 'none' } } })
  equal(missing.response.status, 404, 'an API that is not there')
}

async function publish() {
  const plans = await ok(client.GET('/v1/plans', { params: { query: { pageSize: 10 } } }))
  const plan = plans.plans[0]!.name
  const api = await ok(client.POST('/v1/apis', { body: { displayName: 'Typed', context: '/typed' } }))
  const inAPI = { api: last(api.name) }
  const version = await ok(
    client.POST('/v1/apis/{api}/versions', {
      params: { path: inAPI },
      body: { version: '1.0.0', endpoints: { production: [{ url: BACKEND }] }, plans: [plan] },
    }),
  )
  const at = { ...inAPI, version: last(version.name) }
  const changed = await ok(
    client.PATCH('/v1/apis/{api}/versions/{version}', { params: { path: at }, body: { description: 'By types' } }),
  )
  equal(changed.description, 'By types', 'the description')
  const published = await client.POST('/v1/apis/{api}/versions/{version}:publish', { params: { path: at } })
  equal(published.data?.state, 'STATE_PUBLISHED', 'the state')
  const change = published.response.headers.get('Tidegate-Change') ?? ''
  const [, service = '', , number = ''] = change.split('/')
  const waited = await ok(
    client.GET('/v1/services/{service}/changes/{change}:wait', { params: { path: { service, change: number } } }),
  )
  equal(waited.applied, true, 'whether gateways have applied the change')
  return { version: version.name, plan, address: version.addresses[0]! }
}

async function subscribe(version: string, plan: string) {
  const app = await ok(client.POST('/v1/applications', { body: { displayName: 'Typed app' } }))
  const subscription = await ok(client.POST('/v1/subscriptions', { body: { application: app.name, version, plan } }))
  const application = last(app.name)
  const oauthClient = await ok(
    client.POST('/v1/applications/{application}/oauthClients', {
      params: { path: { application } },
      body: { stage: 'STAGE_PRODUCTION' },
    }),
  )
  const secret = await ok(
    client.POST('/v1/applications/{application}/oauthClients/{oauthClient}/secrets', {
      params: { path: { application, oauthClient: last(oauthClient.name) } },
    }),
  )
  return { subscription: subscription.name, id: oauthClient.clientId, secret: secret.secret }
}

async function accessToken(id: string, secret: string) {
  const form = {
    bodySerializer: (body: object) => new URLSearchParams(body as Record<string, string>),
    headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
  }
  const issued = await ok(
    client.POST('/oauth2/token', { body: { grant_type: 'client_credentials', client_id: id, client_secret: secret }, ...form }),
  )
  const is = await ok(
    client.POST('/oauth2/introspect', { body: { token: issued.access_token, client_id: id, client_secret: secret }, ...form }),
  )
  equal(is.active, true, 'whether the token is good')
  const wrong = await client.POST('/oauth2/token', {
    body: { grant_type: 'client_credentials', client_id: id, client_secret: 'wrong' },
    ...form,
  })
  equal(wrong.error?.error, 'invalid_client', 'the error of a wrong secret')
  return issued.access_token
}

// echo sends a message through the gateway, and waits for it to come back.
function echo(address: string, token: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${address}?access_token=${token}`)
    socket.onopen = () => socket.send('hello')
    socket.onmessage = ({ data }) => {
      socket.close()
      resolve(String(data))
    }
    socket.onerror = () => reject(new Error(`${address} cannot be reached`))
  })
}

// until asks until the answer has what is looked for: gateways report in the background.
async function until<T>(ask: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const found = await ask()
    if (found !== undefined) return found
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function used(subscription: string) {
  const query = { filter: `subscription = "${subscription}"`, groupBy: ['version' as const] }
  const row = await until(async () => {
    const page = await ok(client.GET('/v1/usage', { params: { query } }))
    return page.usage.find((u) => u.inbound?.messages === '1' && u.outbound?.messages === '1')
  })
  const record = await until(async () => (await ok(client.GET('/v1/sessionRecords'))).sessionRecords[0])
  equal(record.subscription, subscription, 'the subscription of the record')
  equal(record.endReason, 'END_REASON_PEER_CLOSE', 'why the session ended')
  return row
}

await refusals()
const signedIn = await ok(client.POST('/v1/users:signIn', { body: { username: 'admin', password: PASSWORD } }))
token = signedIn.accessToken
equal(signedIn.user?.roles.includes('ROLE_ADMIN'), true, 'whether admin is an administrator')
await mistakes()
const { version, plan, address } = await publish()
const { subscription, id, secret } = await subscribe(version, plan)
equal(await echo(address, await accessToken(id, secret)), 'hello', 'the answer of the backend')
equal((await used(subscription)).version, version, 'the version of the usage')
const signedOut = await client.POST('/v1/users:signOut', { body: { refreshToken: signedIn.refreshToken } })
equal(signedOut.response.status, 200, 'signing out')
console.log('ok')
