// A key opens what its scopes say, until it is rolled, expires or is deleted.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { startHub } from '../support/hub.mjs';

const hub = await startHub();
after(() => hub.close());

const make = (fields) => hub.ok('POST', '/api/v1/keys', { name: 'a key', scopes: ['events:read'], ...fields });
const status = async (token, path, method = 'GET', body = undefined) => (await hub.api(method, path, body, { as: token })).status;

test('a key works at once, for its scopes, and is shown once', async () => {
  const key = await make();

  assert.match(key.token, /^pbk_[0-9A-Z]{26}_[\w-]{43}$/);
  assert.equal(await status(key.token, '/api/v1/events'), 200);
  const refused = await hub.api('GET', '/api/v1/connections', undefined, { as: key.token });
  assert.deepEqual([refused.status, refused.body.code], [403, 'FORBIDDEN']);
  assert.match(refused.body.detail, /connections:read/);
  assert.equal((await hub.ok('GET', `/api/v1/keys/${key.id}`)).token, undefined);
  assert.ok(!hub.logs().some((line) => line.includes(key.token)));
});

test('after a roll both tokens are good, until the old one is rolled away', async () => {
  const key = await make();
  const roll = (overlap_s) => hub.ok('POST', `/api/v1/keys/${key.id}/roll`, { overlap_s });

  const next = await roll(60);
  assert.deepEqual([await status(key.token, '/api/v1/events'), await status(next.token, '/api/v1/events')], [200, 200]);
  const last = await roll(0);
  const all = [key, next, last].map(({ token }) => status(token, '/api/v1/events'));
  assert.deepEqual(await Promise.all(all), [401, 401, 200]);
});

test('a deleted key opens nothing', async () => {
  const key = await make();
  assert.equal(await status(key.token, '/api/v1/events'), 200);

  await hub.ok('DELETE', `/api/v1/keys/${key.id}`);

  assert.equal(await status(key.token, '/api/v1/events'), 401);
});

test('an owner\'s key sees and makes that owner\'s rows alone', async () => {
  const scopes = ['events:read', 'events:write', 'connections:read', 'connections:write'];
  const [a, b] = await Promise.all(['team-a', 'team-b'].map((owner) => make({ scopes, owner })));
  const destination = { name: 'd', url: 'http://127.0.0.1:9/', event_types: ['x.*'] };

  const made = await hub.api('POST', '/api/v1/destinations', destination, { as: a.token });

  assert.deepEqual([made.status, made.body.owner], [201, 'team-a']);
  const path = `/api/v1/destinations/${made.body.id}`;
  const listed = async ({ token }) => (await hub.api('GET', '/api/v1/destinations', undefined, { as: token })).body.data.map(({ id }) => id);
  assert.deepEqual([await listed(a), await listed(b)], [[made.body.id], []]);
  assert.deepEqual([await status(a.token, path), await status(b.token, path)], [200, 404]);
  assert.equal(await status(b.token, path, 'DELETE'), 404);
  assert.equal(await status(a.token, path, 'DELETE'), 204);
});
