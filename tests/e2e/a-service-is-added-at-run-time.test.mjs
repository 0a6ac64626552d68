// A service that the hub has never heard of is posted as a definition, and from then on is like one that is built in.
import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { after, test } from 'node:test';
import { send } from '../support/client.mjs';
import { startFakeAgent } from '../support/fake-agent.mjs';
import { startHub } from '../support/hub.mjs';
import { until } from '../support/until.mjs';

const APP_SECRET = randomBytes(16).toString('hex');
const hub = await startHub({ ACME_SHOP_WEBHOOK_SECRET: APP_SECRET });
after(() => hub.close());

const DEFINITIONS = '/api/v1/integration-definitions';
const secret = 'the secret of the connection';

/** A scheme with a signed time, its own header syntax, a handshake and two kinds of reply: none of it is in the source. */
const acme = (name = 'acme-shop') => ({
  name,
  version: '1.0.0',
  description: 'Orders of the Acme shop',
  docs: 'https://acme.example/docs/webhooks',
  webhook: {
    max_body_bytes: 10_000,
    verification: {
      kind: 'hmac', hash: 'sha512', signed: 'acme:{timestamp}:{header:X-Acme-Topic}:{body}',
      signature: { from: 'header:X-Acme-Signature', separator: ';', prefix: 'v2=', encoding: 'base64' },
      timestamp: { from: 'header:X-Acme-Time', unit: 'ms', past_s: 300, future_s: 60 },
      require: { 'header:X-Acme-Version': '2' },
    },
    handshakes: [
      { signed: false, method: 'GET', when: { present: ['query:probe'] }, challenge: { from: 'query:probe' }, reply: { text: 'acme {challenge}' } },
    ],
    event: {
      items: 'body:/orders/*', delivery_id: '{header:X-Acme-Id}:{item:/id}', type: '{header:X-Acme-Topic}.{item:/state}', subject: 'item:/id',
      occurred_at: { from: 'item:/at', unit: 'iso' },
    },
    replies: { accepted: { status: 200, text: 'thanks' } },
  },
});

function delivery(orders, { key = secret, time = String(Date.now()), topic = 'order', id = 'd1', version = '2', sent } = {}) {
  const body = JSON.stringify({ orders });
  const signature = createHmac('sha512', key).update(`acme:${time}:${topic}:${body}`).digest('base64');
  return {
    headers: [
      ['content-type', 'application/json'], ['x-acme-topic', topic], ['x-acme-time', time], ['x-acme-id', id], ['x-acme-version', version],
      ['x-acme-signature', `v1=AAAA;v2=${signature}`],
    ],
    body: sent ?? body,
  };
}

const publish = (manifest) => hub.api('POST', DEFINITIONS, manifest);

test('a posted service takes signed deliveries, refuses others, and reaches its subscribers', async (t) => {
  const { status, body: made } = await publish(acme());
  assert.equal(status, 201);
  assert.match(made.id, /^int_def_[0-9A-HJKMNP-TV-Z]{26}$/);
  assert.deepEqual([made.name, made.status], ['acme-shop', 'PUBLISHED']);
  assert.ok(Math.abs(Date.parse(made.createdAt) - Date.now()) < 60_000);

  const subscriber = await startFakeAgent();
  t.after(() => subscriber.close());
  const destination = await hub.ok('POST', '/api/v1/destinations', { name: 'd', url: subscriber.url, event_types: ['acme-shop.order.*'], role: 'subscriber' });
  subscriber.secret = destination.secret;
  const connection = await hub.ok('POST', '/api/v1/connections', { integration: 'acme-shop', config: { webhook_secret: secret } });
  assert.equal(connection.webhook_path, `/api/integration/acme-shop/events/${connection.id}`);
  const url = `${hub.url}${connection.webhook_path}`;
  const orders = [{ id: 'A1', state: 'paid', at: '2026-01-31T12:00:00Z' }, { id: 'A2', state: 'sent', at: '2026-01-31T12:00:01Z' }];

  const forged = {
    'another secret': delivery(orders, { key: 'a guess' }),
    'another body': delivery(orders, { sent: JSON.stringify({ orders: [...orders, { id: 'A3', state: 'paid' }] }) }),
    'a signed header changed': { ...delivery(orders), headers: delivery(orders).headers.map(([n, v]) => [n, n === 'x-acme-topic' ? 'refund' : v]) },
    'long ago': delivery(orders, { time: String(Date.now() - 301_000) }),
    'too early': delivery(orders, { time: String(Date.now() + 61_000) }),
    'in seconds': delivery(orders, { time: String(Math.floor(Date.now() / 1000)) }),
    'another version': delivery(orders, { version: '1' }),
    'no signature': { body: '{"orders":[]}' },
  };
  for (const [name, request] of Object.entries(forged)) {
    const reply = await send(url, request);
    assert.deepEqual([reply.status, reply.body.code], [401, 'SIGNATURE_INVALID'], name);
  }
  assert.deepEqual((await hub.ok('GET', '/api/v1/events?service=acme-shop')).data, []);

  const reply = await send(url, delivery(orders));
  assert.deepEqual([reply.status, String(reply.bytes)], [200, 'thanks']);
  const { data: events } = await hub.ok('GET', '/api/v1/events?service=acme-shop');
  assert.deepEqual(events.map(({ type }) => type).sort(), ['acme-shop.order.paid', 'acme-shop.order.sent']);
  const messages = await until('both events to be delivered', () => subscriber.deliveries.length >= 2 && subscriber.deliveries.map(({ message }) => message));
  const paid = messages.find(({ type }) => type === 'acme-shop.order.paid');
  assert.deepEqual([paid.subject, Date.parse(paid.time), paid.connectionid], ['A1', Date.parse(orders[0].at), connection.id]);
  assert.deepEqual(subscriber.rejected, []);

  await send(url, delivery(orders));
  assert.equal((await hub.ok('GET', '/api/v1/events?service=acme-shop')).data.length, 2, 'sent again, they are the same');
  assert.equal((await send(url, delivery([{ id: 'x'.repeat(10_000) }]))).status, 413);
});

test('its handshake is answered, and its app-level addresses work', async () => {
  const probe = await send(`${hub.url}/api/integration/acme-shop/events?probe=abc-1`, { method: 'GET' });
  assert.deepEqual([probe.status, String(probe.bytes)], [200, 'acme abc-1']);
  assert.equal((await send(`${hub.url}/webhooks/acme-shop?probe=a.b`, { method: 'GET' })).status, 401);

  for (const path of ['/api/integration/acme-shop/events', '/webhooks/acme-shop', '/webhooks/acme-shop/']) {
    assert.equal((await send(`${hub.url}${path}`, delivery([], { key: APP_SECRET, id: path }))).status, 200, path);
    assert.equal((await send(`${hub.url}${path}`, delivery([], { id: path }))).status, 401, path);
  }
});

test('it is listed, shown and explained like one that is built in', async () => {
  const { data } = await hub.ok('GET', '/api/v1/integrations');
  assert.partialDeepStrictEqual(data.find(({ name }) => name === 'acme-shop'), { description: 'Orders of the Acme shop', webhook: true, actions: [] });
  assert.ok(data.some(({ name }) => name === 'github'));
  assert.deepEqual(await hub.ok('GET', '/api/v1/integrations/acme-shop'), acme());

  const { headers, body } = delivery([{ id: 'A1' }]);
  const { id } = await hub.ok('POST', '/api/v1/connections', { integration: 'acme-shop', config: { webhook_secret: ` ${secret}\n` } });
  const { verified, likely } = await hub.ok('POST', '/api/v1/webhooks/explain', { connection_id: id, request: { headers, body } });
  assert.deepEqual([verified, likely[0].code, likely[0].proven], [false, 'secret_whitespace', true]);
  const refused = (await hub.ok('GET', '/api/v1/rejections?service=acme-shop&cause=stale_timestamp')).data;
  assert.ok(refused.length > 0);
});

test('its id names it too', async () => {
  const { data: [definition] } = await hub.ok('GET', DEFINITIONS);
  assert.equal(definition.name, 'acme-shop');

  const made = await hub.ok('POST', '/api/v1/connections', { integration: definition.id, config: { webhook_secret: secret } });

  assert.equal(made.integration, 'acme-shop');
  const reply = await send(`${hub.url}/api/integration/${definition.id}/events/${made.id}`, delivery([{ id: 'by id', state: 'paid' }]));
  assert.equal(reply.status, 200, String(reply.bytes));
});

test('a public key, a token or a shared word can be its scheme as well', async () => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const body = '{"kind":"tick"}';
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const head = `${part({ alg: 'HS256' })}.${part({ exp: Math.floor(Date.now() / 1000) + 60, iss: 'acme' })}`;
  const schemes = {
    'acme-key': [
      { kind: 'ed25519', key: 'base64', signed: '{body}', signature: { from: 'header:X-Sig', encoding: 'base64' } },
      publicKey.export({ type: 'spki', format: 'der' }).subarray(-32).toString('base64'),
      ['x-sig', sign(null, Buffer.from(body), privateKey).toString('base64')],
    ],
    'acme-token': [
      { kind: 'jwt', from: 'header:Authorization', prefix: 'Bearer ', algorithms: ['HS256'], claims: { iss: ['acme'] }, required: ['exp'] },
      secret,
      ['authorization', `Bearer ${head}.${createHmac('sha256', secret).update(head).digest('base64url')}`],
    ],
    'acme-word': [{ kind: 'equals', from: 'header:X-Word' }, 'a shared word', ['x-word', 'a shared word']],
  };
  for (const [name, [verification, key, [header, value]]] of Object.entries(schemes)) {
    assert.equal((await publish({ ...acme(name), webhook: { verification, event: { type: 'body:/kind' } } })).status, 201, name);
    const { webhook_path: path } = await hub.ok('POST', '/api/v1/connections', { integration: name, config: { webhook_secret: key } });
    const [good, bad] = [await send(`${hub.url}${path}`, { headers: [[header, value]], body }), await send(`${hub.url}${path}`, { headers: [[header, `${value.slice(0, -6)}AAAAAA`]], body })];
    assert.deepEqual([good.status, bad.status], [202, 401], name);
    assert.equal((await hub.ok('GET', `/api/v1/events/${good.body.id}`)).type, `${name}.tick`);
  }
});

test('a name that is taken stays with whom it belongs to', async () => {
  for (const name of ['acme-shop', 'github', 'stripe']) {
    const { status, body } = await publish(acme(name));
    assert.deepEqual([status, body.code], [409, 'CONFLICT'], name);
  }
  const both = await Promise.all([publish(acme('acme-race')), publish(acme('acme-race'))]);
  assert.deepEqual(both.map(({ status }) => status).sort(), [201, 409]);
});

let faults = 0;
const changed = (change) => {
  const manifest = acme(`acme-wrong-${faults += 1}`);
  change(manifest);
  return manifest;
};
const invalid = {
  'no object': [[], /./],
  'no name': [changed((m) => { delete m.name; }), /name/],
  'a name in capitals': [changed((m) => { m.name = 'Acme'; }), /name/],
  'a name with a slash': [changed((m) => { m.name = 'a/b'; }), /name/],
  'an empty name': [changed((m) => { m.name = ''; }), /name/],
  'a name that is too long': [changed((m) => { m.name = 'a'.repeat(65); }), /name/],
  'no version': [changed((m) => { delete m.version; }), /version/],
  'no webhook': [changed((m) => { delete m.webhook; }), /webhook/],
  'no verification': [changed((m) => { delete m.webhook.verification; }), /verification/],
  'an unknown key': [changed((m) => { m.colour = 'red'; }), /colour/],
  'an unknown key inside': [changed((m) => { m.webhook.verification.algorithm = 'none'; }), /webhook.*algorithm|algorithm.*webhook/s],
  'an unknown kind': [changed((m) => { m.webhook.verification.kind = 'none'; }), /webhook.*none|none.*webhook/s],
  'an unknown hash': [changed((m) => { m.webhook.verification.hash = 'md5'; }), /md5/],
  'a brace without its partner': [changed((m) => { m.webhook.verification.signed = '{body'; }), /brace/],
  'a place that is none': [changed((m) => { m.webhook.event.type = '{headers:X}'; }), /headers:X/],
  'a pointer that is none': [changed((m) => { m.webhook.event.subject = '{body:no-slash}'; }), /no-slash/],
  'a verifier that does not exist': [changed((m) => { m.webhook.verification = { kind: 'named', name: 'nosuch' }; }), /nosuch/],
  'no variant': [changed((m) => { m.webhook.verification = []; }), /verification/],
  'algorithms of two families': [changed((m) => { m.webhook.verification = { kind: 'jwt', from: 'header:A', algorithms: ['HS256', 'RS256'] }; }), /algorithms/],
  'an algorithm that is none': [changed((m) => { m.webhook.verification = { kind: 'jwt', from: 'header:A', algorithms: ['none'] }; }), /none|algorithms/],
  'actions': [changed((m) => { m.actions = { ping: {} }; }), /actions/],
  'a conversation': [changed((m) => { m.conversation = {}; }), /conversation/],
};
for (const [name, [manifest, place]] of Object.entries(invalid)) {
  test(`a definition with a fault is refused, and the fault named: ${name}`, async () => {
    const { status, body } = await publish(manifest);

    assert.deepEqual([status, body.code], [400, 'VALIDATION_ERROR'], JSON.stringify(body));
    assert.match(JSON.stringify([body.detail, body.errors]), place);
    assert.ok(!(await hub.ok('GET', DEFINITIONS)).data.some((one) => one.name === manifest.name));
  });
}

test('definitions are for those with the token', async () => {
  for (const as of [null, 'x'.repeat(32)]) {
    for (const [method, path, body] of [['POST', DEFINITIONS, acme('acme-other')], ['GET', DEFINITIONS], ['DELETE', `${DEFINITIONS}/int_def_00000000000000000000000000`]]) {
      assert.equal((await hub.api(method, path, body, { as })).status, 401, method);
    }
  }
});

test('a definition that is deleted takes no more deliveries, its events stay, and its name is free', async () => {
  const { data } = await hub.ok('GET', `${DEFINITIONS}?limit=200`);
  const { id } = data.find(({ name }) => name === 'acme-shop');
  const { id: connection, webhook_path: path } = await hub.ok('POST', '/api/v1/connections', { integration: 'acme-shop', config: { webhook_secret: secret } });
  assert.equal((await send(`${hub.url}${path}`, delivery([{ id: 'last', state: 'paid' }]))).status, 200);

  assert.equal((await hub.api('DELETE', `${DEFINITIONS}/${id}`)).status, 204);

  assert.equal((await hub.api('DELETE', `${DEFINITIONS}/${id}`)).status, 404);
  assert.equal((await send(`${hub.url}${path}`, delivery([{ id: 'too late', state: 'paid' }]))).status, 404);
  assert.equal((await hub.api('POST', '/api/v1/connections', { integration: 'acme-shop', config: { webhook_secret: secret } })).status, 404);
  assert.ok(!(await hub.ok('GET', '/api/v1/integrations')).data.some(({ name }) => name === 'acme-shop'));
  assert.deepEqual((await hub.ok('GET', `/api/v1/events?connection_id=${connection}`)).data.map(({ type }) => type), ['acme-shop.order.paid']);
  assert.equal((await publish(acme())).status, 201);
});
