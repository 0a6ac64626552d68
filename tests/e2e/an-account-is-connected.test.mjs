// A person's account is connected at a certified authorization server that requires code challenges and rotates refresh
// tokens: by the API as a program does it, and by a link in a browser.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { CLIENT, browse, startAuthorizationServer } from '../support/authorization-server.mjs';
import { startHub } from '../support/hub.mjs';

const REDIRECT = 'https://your-app.example.com/oauth/callback';
const HUB = 'http://127.0.0.1:8787';
const server = await startAuthorizationServer({ redirectUris: [REDIRECT, `${HUB}/oauth/callback`] });
const hub = await startHub({
  GITLAB_CLIENT_ID: CLIENT.client_id, GITLAB_CLIENT_SECRET: CLIENT.client_secret, GITLAB_BASE: server.url,
  PATCHBAY_REDIRECT_URIS: REDIRECT,
});
after(async () => {
  await hub.close();
  server.close();
});
const config = { base: server.url };

async function pending() {
  const made = await hub.ok('POST', '/api/v1/integration-instances', { integrationDefinitionId: 'gitlab', name: 'mine', owner: 'o-1', config });
  assert.equal(made.status, 'PENDING_AUTHENTICATION');
  return `/api/v1/integration-instances/${made.id}`;
}

async function connected() {
  const instance = await pending();
  const { authorizationUrl, state } = await hub.ok('POST', `${instance}/auth/oauth2/start`, { redirectUri: REDIRECT });
  const back = new URL(await browse(authorizationUrl, REDIRECT));
  assert.equal(back.searchParams.get('state'), state);
  return { instance, answer: { code: back.searchParams.get('code'), state, iss: back.searchParams.get('iss') } };
}

test('a program connects an account with the code that its user brings', async () => {
  const { instance, answer } = await connected();

  const done = await hub.ok('POST', `${instance}/auth/oauth2/callback`, answer);

  assert.equal(done.status, 'SUCCESS');
  const health = await hub.ok('GET', `${instance}/health`);
  assert.deepEqual([health.status, health.user_id, health.user_name, health.scopes], ['CONNECTED', '4711', 'mona', ['api']]);
  assert.ok(Date.parse(health.expires_at) > Date.now());
  const again = await hub.api('POST', `${instance}/auth/oauth2/callback`, answer);
  assert.deepEqual([again.status, again.body.code], [400, 'VALIDATION_ERROR']);
});

test('a code that the server has seen is refused, and nothing is stored', async () => {
  const { instance, answer } = await connected();
  await hub.ok('POST', `${instance}/auth/oauth2/callback`, answer);
  const other = await pending();
  const { state } = await hub.ok('POST', `${other}/auth/oauth2/start`, { redirectUri: REDIRECT });

  const refused = await hub.api('POST', `${other}/auth/oauth2/callback`, { ...answer, state });

  assert.deepEqual([refused.status, refused.body.code], [403, 'FORBIDDEN']);
  assert.match(refused.body.detail, /invalid_grant/);
  assert.equal((await hub.ok('GET', `${other}/health`)).status, 'PENDING_AUTHENTICATION');
});

test('a person connects an account in a browser, by a link', async () => {
  const link = await hub.ok('POST', '/api/v1/connect-links', { owner: 'o-1', integration: 'gitlab', config, external_user_id: '4711' });
  const away = await fetch(link.url.replace(HUB, hub.url), { redirect: 'manual' });
  assert.equal(away.status, 303);
  const [cookie] = away.headers.getSetCookie();
  assert.match(cookie, /^__Host-[^;]+; Path=\/; Max-Age=600; Secure; HttpOnly; SameSite=Lax$/);

  const back = await browse(away.headers.get('location'), HUB);
  const stranger = await fetch(back.replace(HUB, hub.url));
  assert.equal(stranger.status, 403, 'a browser without the cookie');
  const page = await fetch(back.replace(HUB, hub.url), { headers: { cookie: cookie.split(';')[0] } });

  const text = await page.text();
  assert.equal(page.status, 200, text);
  assert.match(text, /mona at gitlab is connected/);
  assert.equal(page.headers.get('referrer-policy'), 'no-referrer');
  assert.match(page.headers.get('content-security-policy'), /^default-src 'none'/);
  assert.equal((await hub.ok('GET', `/api/v1/connections/${link.connection_id}`)).status, 'CONNECTED');
  const links = await hub.ok('GET', '/api/v1/account-links');
  assert.deepEqual(links.data.map((l) => [l.owner, l.external_user_id, l.connection_id]), [['o-1', '4711', link.connection_id]]);
});

test('a removed connection is revoked at the server', async () => {
  const { instance, answer } = await connected();
  await hub.ok('POST', `${instance}/auth/oauth2/callback`, answer);
  const before = server.requests.filter(({ path }) => path === '/oauth/revoke').length;

  const gone = await hub.api('DELETE', instance);

  assert.equal(gone.status, 204);
  assert.equal(server.requests.filter(({ path }) => path === '/oauth/revoke').length - before, 2);
  assert.equal((await hub.api('GET', instance)).status, 404);
});
