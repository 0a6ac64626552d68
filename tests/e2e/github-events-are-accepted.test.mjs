// A GitHub webhook that is signed with the right secret is stored; any other is refused.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { send } from '../support/client.mjs';
import { startHub } from '../support/hub.mjs';
import { appKey } from '../support/keys.mjs';
import { inParallel } from '../support/parallel.mjs';
import { deliver, examples, signature } from '../support/payloads.mjs';

const ID = /^evt_[0-9A-HJKMNP-TV-Z]{26}$/;
const hub = await startHub();
after(() => hub.close());

const route = `${hub.url}/api/integration/github/events`;
const secret = hub.settings.GITHUB_WEBHOOK_SECRET;

test('every published example is accepted, listed with its type, and refused with one byte flipped', async () => {
  assert.ok(examples.length > 300, 'the package of examples is not what it was');

  await inParallel(8, examples.entries(), async ([index, { event, payload }]) => {
    const body = JSON.stringify(payload);
    const signed = await signature(secret, body);

    const flipped = Buffer.from(body);
    flipped[(index * 7919) % flipped.length] ^= 0x01;
    const refused = await deliver(route, { event, payload: flipped, signed });
    assert.equal(refused.status, 401, `${event} with a flipped byte: ${refused.bytes}`);

    const accepted = await deliver(route, { event, payload: body, signed });
    assert.equal(accepted.status, 202, `${event}: ${accepted.bytes}`);
    assert.match(accepted.body.id, ID);
    assert.equal(accepted.body.duplicate, false);
  });

  const wanted = examples.map(({ event, payload }) => ['github', event, payload.action].filter(Boolean).join('.'));
  assert.deepEqual((await everyEvent()).map(({ type }) => type).sort(), wanted.sort());
});

async function everyEvent() {
  const found = [];
  let cursor = '';
  do {
    const page = await hub.ok('GET', `/api/v1/events?limit=200&cursor=${encodeURIComponent(cursor)}`);
    found.push(...page.data);
    cursor = page.next_cursor;
  } while (cursor);
  return found;
}

test('the reply says which event it is and which trace it belongs to', async () => {
  const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

  const { headers, body } = await deliver(route, { secret, event: 'ping', payload: { zen: 'Keep it logically awesome.' }, headers: [['traceparent', traceparent]] });

  assert.equal(body.trace_id, '4bf92f3577b34da6a3ce929d0e0e4736');
  assert.equal(headers['x-trace-id'], body.trace_id);
  assert.equal((await hub.ok('GET', `/api/v1/events/${body.id}`)).traceid, body.trace_id);
});

test('a redelivery stores nothing and names the first event', async () => {
  const delivery = { secret, event: 'star', payload: { action: 'created', starred_at: null }, id: crypto.randomUUID() };

  const first = await deliver(route, delivery);
  const second = await deliver(route, delivery);

  assert.deepEqual([first.status, second.status], [202, 202]);
  assert.deepEqual([first.body.duplicate, second.body.duplicate], [false, true]);
  assert.equal(second.body.id, first.body.id);
  assert.equal((await hub.ok('GET', `/api/v1/events?q=${delivery.id}`)).data.length, 1);
});

test('the other address of the same webhook is the same: with a slash at its end and without', async () => {
  const delivery = { secret, event: 'star', payload: { action: 'deleted', starred_at: null }, id: crypto.randomUUID() };

  const first = await deliver(`${hub.url}/webhooks/github/`, delivery);
  const others = [await deliver(`${hub.url}/webhooks/github`, delivery), await deliver(route, delivery)];
  const forged = await deliver(`${hub.url}/webhooks/github/`, { ...delivery, secret: 'wrong' });

  assert.equal(first.status, 202);
  assert.ok(first.body.trace_id);
  assert.deepEqual(others.map(({ body }) => [body.id, body.duplicate]), [[first.body.id, true], [first.body.id, true]]);
  assert.equal(forged.status, 401);
});

test('events and actions that GitHub has yet to invent are stored', async () => {
  const reply = await deliver(route, { secret, event: 'time_machine', payload: { action: 'departed' } });

  assert.equal(reply.status, 202);
  assert.equal((await hub.ok('GET', `/api/v1/events/${reply.body.id}`)).type, 'github.time_machine.departed');
});

test('a connection has a secret of its own, and the one before it while it is rotated', async () => {
  const { webhook_path: path } = await connection({ webhook_secret: 'the new one', webhook_secret_previous: 'the old one' });
  const own = `${hub.url}${path}`;
  const cases = [
    [own, 'the new one', 202],
    [own, 'the old one', 202],
    [own, secret, 401],
    [own, 'the new one,the old one', 401],
    [route, 'the new one', 401],
  ];

  for (const [url, key, status] of cases) {
    const reply = await deliver(url, { secret: key, event: 'ping', payload: {} });
    assert.equal(reply.status, status, `${key} at ${url}: ${reply.bytes}`);
  }
});

test('the same delivery id at two connections is two events', async () => {
  const id = crypto.randomUUID();
  const paths = [await connection({ webhook_secret: 's' }), await connection({ webhook_secret: 's' })].map((one) => one.webhook_path);

  const replies = await Promise.all(paths.map((path) => deliver(`${hub.url}${path}`, { secret: 's', event: 'ping', payload: {}, id })));

  assert.deepEqual(replies.map(({ body }) => body.duplicate), [false, false]);
  assert.notEqual(replies[0].body.id, replies[1].body.id);
});

const key = appKey();
const connection = (config) => hub.ok('POST', '/api/v1/connections', {
  integration: 'github', name: 'vectors', config: { app_id: '1', private_key: key.pkcs1, ...config },
});

const vectors = new URL('../data/signature-vectors.json', import.meta.url);

test('known answers from other implementations come out right', { skip: !existsSync(vectors) && 'no tests/data/signature-vectors.json' }, async () => {
  const all = JSON.parse(readFileSync(vectors, 'utf8'));
  const ours = (Array.isArray(all) ? all : all.vectors).filter(({ service }) => service === 'github');
  assert.ok(ours.length >= 13, `only ${ours.length} vectors`);

  for (const vector of ours) {
    // Each has a secret of its own, and they share one delivery id: a connection for each.
    const { webhook_path: path } = await connection({ webhook_secret: vector.secret });
    const body = vector.body_base64 ? Buffer.from(vector.body_base64, 'base64') : vector.body;
    const reply = await send(`${hub.url}${path}`, { headers: vector.headers, body });
    // Some receivers still take the old SHA-1 signature where there is no other: this one never does.
    const strong = vector.headers.some(([name]) => name.toLowerCase() === 'x-hub-signature-256');
    assert.equal(reply.status, vector.valid && strong ? 202 : 401, `${vector.id}: ${reply.bytes}`);
  }
});
