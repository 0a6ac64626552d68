// The other tests are worth what their GitHub refuses: this one checks that it does.
import assert from 'node:assert/strict';
import { createHmac, createPrivateKey } from 'node:crypto';
import { after, test } from 'node:test';
import { SignJWT } from 'jose';
import { send } from '../support/client.mjs';
import { startFakeGitHub } from '../support/fake-github.mjs';
import { appKey } from '../support/keys.mjs';

const APP_ID = '4711';
const key = appKey();
const github = await startFakeGitHub({ appId: APP_ID, publicKey: key.publicKey });
after(() => github.close());
github.addRepository('octo/one', { installation: 1, permissions: { alice: 'maintain', bob: 'triage' }, issues: [5] });
github.addRepository('octo/two', { installation: 2, issues: [5] });
github.addReviewComment('octo/one', 5, { id: 50 });
github.addReviewComment('octo/one', 5, { id: 51, in_reply_to_id: 50 });

const now = () => Math.floor(Date.now() / 1000);
const privateKey = createPrivateKey(key.pkcs1);

/** A JWT as it should be, with the claims given on top; `undefined` takes one away. */
const jwt = (claims = {}, signer = privateKey) => new SignJWT({ iss: APP_ID, iat: now() - 60, exp: now() + 540, ...claims })
  .setProtectedHeader({ alg: 'RS256', typ: 'JWT' }).sign(signer);

async function call(method, path, { token, body, headers = {} } = {}) {
  const all = { 'user-agent': 'test', accept: 'application/vnd.github+json', ...(token && { authorization: `Bearer ${token}` }), ...headers };
  const pairs = Object.entries(all).filter(([, value]) => value !== undefined);
  return send(`${github.url}${path}`, { method, headers: pairs, body: typeof body === 'object' ? JSON.stringify(body) : body });
}

const mint = async (installation, options) => call('POST', `/app/installations/${installation}/access_tokens`, { token: await jwt(), ...options });
const token = (await mint(1)).body.token;

test('it mints tokens of 520 characters for the App alone', async () => {
  const { status, body } = await mint(1);
  assert.equal(status, 201);
  assert.match(body.token, /^ghs_4711_[\w-]+\.[\w-]+\.[\w-]+$/);
  assert.equal(body.token.length, 520);
  assert.ok(Date.parse(body.expires_at) > Date.now());

  const unsigned = [{ alg: 'HS256' }, { iss: APP_ID, iat: now(), exp: now() + 60 }].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
  const wrong = {
    'nothing': undefined,
    'no JWT': 'abc',
    'signed with another key': await jwt({}, createPrivateKey(appKey().pkcs8)),
    'signed with the public key as if it were a secret': `${unsigned}.${createHmac('sha256', key.publicKey.export({ type: 'spki', format: 'pem' })).update(unsigned).digest('base64url')}`,
    'of another App': await jwt({ iss: '4712' }),
    'without iat': await jwt({ iat: undefined }),
    'with an iat in the future': await jwt({ iat: now() + 30 }),
    'expired': await jwt({ exp: now() - 1 }),
    'good for too long': await jwt({ exp: now() + 660 }),
  };
  for (const [name, bad] of Object.entries(wrong)) assert.equal((await mint(1, { token: bad })).status, 401, name);
  assert.equal((await mint(3)).status, 404, 'an installation that does not exist');
});

test('it answers requests of the right installation alone', async () => {
  const path = '/repos/octo/one/issues/5/comments';
  const cases = {
    'no token': [{}, 401],
    'another token': [{ token: `${token.slice(0, -1)}x` }, 401],
    'the JWT': [{ token: await jwt() }, 401],
    'the token of another installation': [{ token: (await mint(2)).body.token }, 404],
    'no user agent': [{ token, headers: { 'user-agent': undefined } }, 403],
    'another media type': [{ token, headers: { accept: 'text/html' } }, 415],
    'all right': [{ token }, 200],
  };
  for (const [name, [options, status]] of Object.entries(cases)) assert.equal((await call('GET', path, options)).status, status, name);
});

test('it tells permissions as GitHub does', async () => {
  const permission = (user) => call('GET', `/repos/octo/one/collaborators/${user}/permission`, { token });
  assert.deepEqual((await permission('alice')).body.permission, 'write');
  assert.deepEqual((await permission('bob')).body.permission, 'read');
  assert.equal((await permission('nobody')).status, 404);
});

test('it refuses comments that GitHub refuses', async () => {
  const path = '/repos/octo/one/issues/5/comments';
  const refused = {
    'not JSON': ['{', 400],
    'nothing': [{}, 422],
    'a number': [{ body: 5 }, 422],
    'empty': [{ body: '' }, 422],
    'blank': [{ body: ' \n' }, 422],
    'too long': [{ body: 'x'.repeat(65_537) }, 422],
  };
  for (const [name, [body, status]] of Object.entries(refused)) assert.equal((await call('POST', path, { token, body })).status, status, name);
  assert.equal((await call('POST', '/repos/octo/one/issues/6/comments', { token, body: { body: 'x' } })).status, 404);
  assert.equal((await call('POST', '/repos/octo%2Fone/issues/5/comments', { token, body: { body: 'x' } })).status, 404);
  assert.equal((await call('POST', '/repos/octo/one/pulls/5/comments/51/replies', { token, body: { body: 'x' } })).status, 422);
  assert.equal((await call('POST', '/repos/octo/one/pulls/5/comments/52/replies', { token, body: { body: 'x' } })).status, 404);
  assert.deepEqual(github.comments('octo/one', 5), []);
});

test('it lists what was written, since a time and a page at a time', async () => {
  const path = '/repos/octo/one/issues/5/comments';
  for (const body of ['one', 'two', 'three']) assert.equal((await call('POST', path, { token, body: { body } })).status, 201);
  const list = async (query) => (await call('GET', `${path}?${query}`, { token })).body.map(({ body }) => body);

  assert.deepEqual(await list(''), ['one', 'two', 'three']);
  assert.deepEqual(await list('per_page=2'), ['one', 'two']);
  assert.deepEqual(await list('per_page=2&page=2'), ['three']);
  assert.deepEqual(await list('since=2020-01-01T00:00:00Z'), ['one', 'two', 'three']);
  assert.deepEqual(await list('since=2100-01-01T00:00:00Z'), []);
  assert.equal((await call('POST', '/repos/octo/one/pulls/5/comments/50/replies', { token, body: { body: 'x' } })).body.in_reply_to_id, 50);
});

test('it fails on demand: before it acts, or after', async () => {
  const path = '/repos/octo/two/issues/5/comments';
  const post = async (body) => call('POST', path, { token: (await mint(2)).body.token, body: { body } });
  github.fail({ method: 'POST', path: /\/comments$/, answer: { status: 502, body: 'Bad Gateway' } });
  github.fail({ method: 'POST', path: /\/comments$/, act: true, drop: true });

  assert.equal((await post('not acted')).status, 502);
  await assert.rejects(post('acted'));
  assert.equal((await post('fine')).status, 201);
  assert.deepEqual(github.comments('octo/two', 5).map(({ body }) => body), ['acted', 'fine']);
});
