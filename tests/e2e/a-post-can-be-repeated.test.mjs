// A POST with an Idempotency-Key acts once, however often and however fast it comes.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, test } from 'node:test';
import { startHub } from '../support/hub.mjs';

const hub = await startHub();
after(() => hub.close());

const destination = (name) => ({ name, url: 'http://127.0.0.1:9/', event_types: ['x.*'] });
const post = (key, body) => hub.api('POST', '/api/v1/destinations', body, { headers: { 'idempotency-key': key } });
const named = async (name) => (await hub.ok('GET', '/api/v1/destinations')).data.filter((d) => d.name === name);

test('twenty at once make one row, and all that are answered have the same secret', async () => {
  const key = randomUUID();

  const replies = await Promise.all(Array.from({ length: 20 }, () => post(key, destination('once'))));

  const made = replies.filter(({ status }) => status === 201);
  const waiting = replies.filter(({ status }) => status === 409);
  assert.equal(made.length + waiting.length, 20);
  assert.equal(made.filter(({ headers }) => !headers.has('idempotency-replayed')).length, 1);
  assert.equal(new Set(made.map(({ body }) => body.secret)).size, 1);
  for (const { body, headers } of waiting) {
    assert.equal(body.code, 'IDEMPOTENCY_IN_PROGRESS');
    assert.equal(headers.get('retry-after'), '1');
  }
  assert.equal((await named('once')).length, 1);
  const later = await post(key, destination('once'));
  assert.deepEqual([later.status, later.headers.get('idempotency-replayed'), later.body], [201, 'true', made[0].body]);
});

test('another body with the same key changes nothing', async () => {
  const key = randomUUID();
  await post(key, destination('first'));

  const { status, body } = await post(key, destination('second'));

  assert.deepEqual([status, body.code], [409, 'CONFLICT']);
  assert.deepEqual(await named('second'), []);
});

test('an error leaves the key free', async () => {
  const key = randomUUID();
  assert.equal((await post(key, { name: 'third' })).status, 400);
  assert.equal((await post(key, destination('third'))).status, 201);
});
