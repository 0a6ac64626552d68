// Why a signature fails, what was refused, and how a delivery that was refused by mistake is taken after all.
import assert from 'node:assert/strict';
import { createHash, createHmac, randomBytes, randomUUID } from 'node:crypto';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { send } from '../support/client.mjs';
import { startFakeAgent } from '../support/fake-agent.mjs';
import { SETTINGS, startHub } from '../support/hub.mjs';
import { inParallel } from '../support/parallel.mjs';
import { until } from '../support/until.mjs';
import { makePlace, startWrangler } from '../support/wrangler-dev.mjs';

const hub = await startHub();
after(() => hub.close());

const hmac = (key, text, { hash = 'sha256', as = 'hex' } = {}) => createHmac(hash, key).update(text).digest(as);
const seconds = (offset = 0) => String(Math.floor(Date.now() / 1000) + offset);
const connect = (integration, config, on = hub) => on.ok('POST', '/api/v1/connections', { integration, config });
const explain = (question, options) => hub.api('POST', '/api/v1/webhooks/explain', question, options);

/** A secret as people have them. */
const SECRET = `s3cr3t-${randomBytes(12).toString('hex')}`;
const KEY = randomBytes(24);
const WHSEC = `whsec_${KEY.toString('base64')}`;

// Members in an order that is not that of the alphabet, as most services write them.
const BODY = '{"zen":"Keep it logically awesome.","action":"opened","hook":{"type":"Repository","id":30}}';
const SORTED = '{"action":"opened","hook":{"id":30,"type":"Repository"},"zen":"Keep it logically awesome."}';
const spaced = (body) => JSON.stringify(JSON.parse(body), undefined, 1).replace(/\n */g, ' ').replace(/([[{]) | ([\]}])/g, '$1$2');
const indented = (body) => JSON.stringify(JSON.parse(body), undefined, 2);

const github = (body, { key = SECRET, sent = body, name = 'X-Hub-Signature-256', as = (hex) => `sha256=${hex}`, type = 'application/json' } = {}) => ({
  headers: [['Content-Type', type], ['X-GitHub-Event', 'ping'], ['X-GitHub-Delivery', '1'], [name, as(hmac(key, body))]],
  body: sent,
});
const stripe = (body, { key = SECRET, time = seconds(), version = 'v1', sent = body } = {}) => ({
  headers: [['Stripe-Signature', `t=${time},${version}=${hmac(key, `${time}.${body}`)}`]], body: sent,
});
const slack = (body, { key = SECRET, time = seconds(), signed = time } = {}) => ({
  headers: [['X-Slack-Signature', `v0=${hmac(key, `v0:${signed}:${body}`)}`], ...(time === undefined ? [] : [['X-Slack-Request-Timestamp', time]])], body,
});
const standard = (body, { key = KEY, id = 'msg_1', time = seconds(), prefix = 'webhook' } = {}) => ({
  headers: [[`${prefix}-id`, id], [`${prefix}-timestamp`, time], [`${prefix}-signature`, `v1,${hmac(key, `${id}.${time}.${body}`, { as: 'base64' })}`]], body,
});
const trello = (body, { url, key = SECRET }) => ({ headers: [['X-Trello-Webhook', hmac(key, body + url, { hash: 'sha1', as: 'base64' })]], body });
const form = (fields) => new URLSearchParams(fields).toString();
const URL_ = 'https://hooks.example.com/in/here';

/** What is asked, and what is answered: the failed check, the likely cause, and whether that was tried and fits. */
const causes = {
  'another secret': ['github', {}, () => github(BODY, { key: 'another' }), 'wrong_signature', 'wrong_secret', false],
  'another secret, where a time is signed': ['slack', {}, () => slack(BODY, { key: 'another' }), 'wrong_signature', 'wrong_secret', false],
  'a body written again with blanks': ['github', {}, () => github(SORTED, { sent: spaced(SORTED) }), 'wrong_signature', 'reserialised', true],
  'a body written again with blanks, its members in the order of the service': ['github', {}, () => github(BODY, { sent: spaced(BODY) }), 'wrong_signature', 'reserialised', true],
  'a body written again with line breaks, its members in the order of the service': ['stripe', {}, () => stripe(BODY, { sent: indented(BODY) }), 'wrong_signature', 'reserialised', true],
  'a line break at the end': ['github', {}, () => github(BODY, { sent: `${BODY}\n` }), 'wrong_signature', 'trailing_newline', true],
  'a line break lost at the end': ['stripe', {}, () => stripe(`${BODY}\n`, { sent: BODY }), 'wrong_signature', 'trailing_newline_lost', true],
  'other line breaks': ['github', {}, () => github('{\r\n"a": 1,\r\n"b": 2\r\n}', { sent: '{\n"a": 1,\n"b": 2\n}' }), 'wrong_signature', 'line_endings', true],
  'a time long ago': ['slack', {}, () => slack(BODY, { time: seconds(-3600) }), 'stale_timestamp', 'age', true],
  'a time in the future': ['standard-webhooks', { webhook_secret: WHSEC }, () => standard(BODY, { time: seconds(3600) }), 'future_timestamp', 'age', true],
  'a time in milliseconds': ['slack', {}, () => slack(BODY, { time: String(Date.now()) }), 'future_timestamp', 'timestamp_unit_or_age', false],
  'a time that is none': ['slack', {}, () => slack(BODY, { time: 'yesterday' }), 'malformed_timestamp', 'timestamp_unit_or_age', false],
  'the header of another service': ['github', {}, () => github(BODY, { name: 'X-Gitea-Signature', as: (hex) => hex }), 'missing_signature', 'wrong_header', false],
  'no signature at all': ['shopify', {}, () => ({ headers: [['Content-Type', 'application/json']], body: BODY }), 'missing_signature', 'wrong_header', false],
  'the prefix of the secret kept': ['github', { webhook_secret: `whsec_${SECRET}` }, () => github(BODY), 'wrong_signature', 'secret_prefix_kept', true],
  'the prefix of the secret stripped': ['stripe', {}, () => stripe(BODY, { key: `whsec_${SECRET}` }), 'wrong_signature', 'secret_prefix_stripped', true],
  'a line break after the secret': ['github', { webhook_secret: `${SECRET}\n` }, () => github(BODY), 'wrong_signature', 'secret_whitespace', true],
  'a secret copied from a page': ['github', { webhook_secret: `${SECRET}&amp;1` }, () => github(BODY, { key: `${SECRET}&1` }), 'wrong_signature', 'secret_escaped', true],
  'a URL with another end': ['trello', { webhook_url: URL_ }, () => trello(BODY, { url: `${URL_}/` }), 'wrong_signature', 'url_slash', true],
  'a URL with another scheme': ['trello', { webhook_url: URL_ }, () => trello(BODY, { url: URL_.replace('https', 'http') }), 'wrong_signature', 'url_scheme', true],
  'a form where the JSON in it was signed': ['github', {}, () => github(BODY, { sent: form({ payload: BODY }), type: 'application/x-www-form-urlencoded' }), 'wrong_signature', 'form_or_json', true],
  'a signature in upper case': ['github', {}, () => github(BODY, { as: (hex) => `sha256=${hex.toUpperCase()}` }), 'malformed_signature', 'signature_case', true],
  'a signature of another version': ['stripe', {}, () => stripe(BODY, { version: 'v0' }), 'malformed_signature', 'other_scheme', false],
  'no secret': ['github', { webhook_secret: undefined, webhook_url: URL_ }, () => github(BODY), 'no_secret', 'no_secret', false],
};
for (const [name, [service, config, request, cause, code, proven]] of Object.entries(causes)) {
  test(`a refusal is explained: ${name} (${service})`, async () => {
    const secret = 'webhook_secret' in config ? config.webhook_secret : SECRET;
    const { id } = await connect(service, { webhook_secret: SECRET, ...config, ...(service === 'github' && !secret && { app_id: '1', private_key: 'k' }) });
    const asked = request();

    const { status, body, bytes } = await explain({ connection_id: id, request: asked });

    assert.equal(status, 200, String(bytes));
    assert.deepEqual([body.verified, body.cause], [false, cause], JSON.stringify(body));
    assert.ok(body.detail);
    const hint = body.likely.find((one) => one.code === code);
    assert.ok(hint, JSON.stringify(body));
    assert.equal(hint.proven, proven);
    assert.ok(hint.text.length > 20);
    assertDiscreet(bytes, secret ?? SECRET, asked);
  });
}

/** Neither the secret nor a signature that would have been right. */
function assertDiscreet(bytes, secret, { body }) {
  const said = String(bytes);
  for (const one of [secret.trim(), secret.replace('whsec_', ''), SECRET, KEY.toString('base64')]) assert.ok(!said.includes(one));
  for (const text of [body, BODY, SORTED]) {
    for (const as of ['hex', 'base64']) assert.ok(!said.includes(hmac(secret, text, { as })));
  }
  assert.doesNotMatch(said, /[0-9a-f]{40}|[A-Za-z0-9+/]{27}=/);
}

test('what verifies is said to, by connection or by app, as text or base64, at the time that is given', async () => {
  const { id } = await connect('slack', { webhook_secret: SECRET });
  const asked = slack(BODY, { time: '1700000000' });
  const at = (received_at) => explain({ connection_id: id, request: asked, received_at });

  assert.deepEqual((await at('2023-11-14T22:13:21Z')).body, { verified: true, likely: [] });
  assert.equal((await at('2023-11-14T22:23:21Z')).body.cause, 'stale_timestamp');
  assert.equal((await at(undefined)).body.cause, 'stale_timestamp');
  const { headers } = asked;
  const encoded = await explain({ connection_id: id, request: { method: 'POST', query: '', headers, body_base64: Buffer.from(BODY).toString('base64') }, received_at: '2023-11-14T22:13:21Z' });
  assert.equal(encoded.body.verified, true);
  const app = await explain({ service: 'github', request: github(BODY, { key: hub.settings.GITHUB_WEBHOOK_SECRET }) });
  assert.equal(app.body.verified, true);
});

test('asking stores nothing and counts as no refusal', async () => {
  assert.deepEqual([(await hub.ok('GET', '/api/v1/events')).data, (await hub.ok('GET', '/api/v1/rejections')).data], [[], []]);
});

test('who may ask, and about what, is checked', async () => {
  const { id } = await connect('slack', { webhook_secret: SECRET });
  const request = slack(BODY);
  const cases = [
    [{ request }, 400, 'VALIDATION_ERROR'],
    [{ connection_id: id }, 400, 'VALIDATION_ERROR'],
    [{ connection_id: id, request: { body: '' } }, 400, 'VALIDATION_ERROR'],
    [{ connection_id: id, request: { ...request, body_base64: '' } }, 400, 'VALIDATION_ERROR'],
    [{ connection_id: id, request: { headers: [], body_base64: '!' } }, 400, 'VALIDATION_ERROR'],
    [{ connection_id: id, request, received_at: 'now' }, 400, 'VALIDATION_ERROR'],
    [{ connection_id: id, request, more: 1 }, 400, 'VALIDATION_ERROR'],
    [{ service: 'nosuch', request }, 404, 'INTEGRATION_NOT_FOUND'],
    [{ service: 'github', connection_id: id, request }, 404, 'NOT_FOUND'],
    [{ connection_id: 'con_00000000000000000000000000', request }, 404, 'NOT_FOUND'],
  ];
  for (const [question, status, code] of cases) {
    const reply = await explain(question);
    assert.deepEqual([reply.status, reply.body.code], [status, code], JSON.stringify(question));
  }
  for (const as of [null, 'x'.repeat(32)]) {
    assert.equal((await explain({ connection_id: id, request }, { as })).status, 401);
    assert.equal((await hub.api('GET', '/api/v1/rejections', undefined, { as })).status, 401);
    assert.equal((await hub.api('POST', '/api/v1/rejections/rej_00000000000000000000000000/release', {}, { as })).status, 401);
  }
});

const post = (url, { headers, body }) => send(url, { headers, body });

test('a refused delivery is listed with its cause, size, time and hash, and nothing of what it said', async () => {
  const { id, webhook_path: path } = await connect('stripe', { webhook_secret: SECRET });
  const marker = randomUUID();
  const request = stripe(JSON.stringify({ id: 'evt_1', note: marker }), { key: 'another' });
  const before = Date.now();

  const reply = await post(`${hub.url}${path}`, request);

  assert.equal(reply.status, 401);
  const { data } = await hub.ok('GET', '/api/v1/rejections?service=stripe');
  assert.equal(data.length, 1);
  const { id: rejection, received_at: at, detail, ...rest } = data[0];
  assert.match(rejection, /^rej_[0-9A-HJKMNP-TV-Z]{26}$/);
  assert.ok(Date.parse(at) >= before - 1000 && Date.parse(at) <= Date.now());
  assert.ok(detail);
  assert.deepEqual(rest, {
    service: 'stripe', connection_id: id, cause: 'wrong_signature', size: Buffer.byteLength(request.body),
    body_sha256: createHash('sha256').update(request.body).digest('hex'), trace_id: reply.body.trace_id,
    releasable: false, event_id: null,
  });
  assert.ok(!JSON.stringify(data).includes(marker));
  assert.deepEqual((await hub.ok('GET', `/api/v1/events?connection_id=${id}`)).data, []);
});

test('a refusal that is no fault of the delivery is not listed', async () => {
  const { webhook_path: path } = await connect('linear', { webhook_url: URL_ });

  const reply = await post(`${hub.url}${path}`, { headers: [['linear-signature', 'a'.repeat(64)]], body: BODY });

  assert.equal(reply.status, 503);
  assert.deepEqual((await hub.ok('GET', '/api/v1/rejections?service=linear')).data, []);
});

test('a forger fills no table: of each cause five samples are kept in a minute', async () => {
  const { webhook_path: path } = await connect('shopify', { webhook_secret: SECRET });
  const forged = { headers: [['x-shopify-hmac-sha256', 'A'.repeat(43) + '=']], body: BODY };
  const unsigned = { headers: [], body: BODY };

  await inParallel(8, Array.from({ length: 100 }), async () => assert.equal((await post(`${hub.url}${path}`, forged)).status, 401));
  await inParallel(8, Array.from({ length: 20 }), async () => assert.equal((await post(`${hub.url}${path}`, unsigned)).status, 401));

  const { data } = await hub.ok('GET', '/api/v1/rejections?service=shopify&limit=200');
  assert.deepEqual([...new Set(data.map(({ cause }) => cause))].sort(), ['missing_signature', 'wrong_signature']);
  for (const rows of Map.groupBy(data, ({ cause, received_at: at }) => `${cause} ${at.slice(0, 16)}`).values()) {
    assert.ok(rows.length <= 5, `${rows.length} rows`);
  }
  assert.ok(data.filter(({ cause }) => cause === 'missing_signature').every(({ size }) => size === null), 'a body that nothing could verify is not read');
});

test('refusals can be listed by service and cause, page by page, newest first', async () => {
  const all = (await hub.ok('GET', '/api/v1/rejections?limit=200')).data;
  assert.deepEqual(all.map(({ id }) => id), all.map(({ id }) => id).sort().reverse());

  const paged = [];
  let cursor = '';
  do {
    const page = await hub.ok('GET', `/api/v1/rejections?limit=3&cursor=${encodeURIComponent(cursor)}`);
    assert.ok(page.data.length <= 3);
    paged.push(...page.data);
    cursor = page.next_cursor;
  } while (cursor);
  assert.deepEqual(paged, all);

  const narrowed = (await hub.ok('GET', '/api/v1/rejections?service=shopify&cause=missing_signature')).data;
  assert.deepEqual(narrowed, all.filter(({ service, cause }) => service === 'shopify' && cause === 'missing_signature'));
  assert.deepEqual((await hub.ok('GET', '/api/v1/rejections?service=nosuch')).data, []);
  for (const query of ['limit=0', 'limit=201', 'cursor=!!', 'colour=red']) {
    assert.equal((await hub.api('GET', `/api/v1/rejections?${query}`)).status, 400, query);
  }
});

test('without the setting nothing can be released', async () => {
  const [{ id }] = (await hub.ok('GET', '/api/v1/rejections?service=stripe')).data;

  const reply = await hub.api('POST', `/api/v1/rejections/${id}/release`, {});

  assert.deepEqual([reply.status, reply.body.code], [409, 'CONFLICT']);
  assert.match(reply.body.detail, /PATCHBAY_KEEP_REJECTED_HOURS/);
  assert.equal((await hub.api('POST', '/api/v1/rejections/rej_00000000000000000000000000/release', {})).status, 404);
});

test('with the setting a delivery is released once the secret is corrected, and dispatched', async (t) => {
  const keeping = await startHub({ PATCHBAY_KEEP_REJECTED_HOURS: '24' });
  const agent = await startFakeAgent();
  t.after(async () => { agent.close(); await keeping.close(); });
  const destination = await keeping.ok('POST', '/api/v1/destinations', { name: 'd', url: agent.url, event_types: ['slack.*'], role: 'subscriber' });
  agent.secret = destination.secret;
  const { id, webhook_path: path } = await connect('slack', { webhook_secret: 'from before the rotation' }, keeping);
  const body = JSON.stringify({ type: 'event_callback', event_id: 'Ev1', event: { type: 'app_mention', text: 'naïve ✓' } });
  assert.equal((await post(`${keeping.url}${path}`, slack(body))).status, 401);
  const [sample] = (await keeping.ok('GET', '/api/v1/rejections')).data;
  assert.equal(sample.releasable, true);
  const release = () => keeping.api('POST', `/api/v1/rejections/${sample.id}/release`, {});

  const tooSoon = await release();
  assert.deepEqual([tooSoon.status, tooSoon.body.code], [409, 'CONFLICT']);
  assert.deepEqual((await keeping.ok('GET', '/api/v1/events')).data, []);

  await keeping.ok('PATCH', `/api/v1/connections/${id}`, { config: { webhook_secret: SECRET } });
  const released = await release();

  assert.equal(released.status, 202, String(released.bytes));
  assert.equal(released.body.duplicate, false);
  const { message } = await until('the event to be delivered', () => agent.deliveries[0]);
  assert.equal(message.type, 'slack.app_mention');
  const raw = await keeping.api('GET', `/api/v1/events/${released.body.id}/payload`);
  assert.deepEqual(raw.bytes, Buffer.from(body));
  const [now] = (await keeping.ok('GET', '/api/v1/rejections')).data;
  assert.deepEqual([now.id, now.releasable, now.event_id], [sample.id, false, released.body.id]);
  assert.equal((await release()).status, 409, 'once is enough');
  assert.equal((await keeping.ok('GET', '/api/v1/events')).data.length, 1);
});

test('what is kept is kept encrypted, and an app secret that is corrected releases it too', async (t) => {
  const settings = { ...SETTINGS, PATCHBAY_KEEP_REJECTED_HOURS: '24', GITHUB_WEBHOOK_SECRET: 'from before the rotation' };
  const place = await makePlace(settings);
  t.after(() => place.remove());
  const marker = randomUUID();
  const body = JSON.stringify({ zen: marker });
  let server = await startWrangler(place);
  t.after(() => server.kill());
  assert.equal((await post(`${server.url}/webhooks/github`, github(body))).status, 401);
  const [{ id, trace_id: trace }] = (await server.ok('GET', '/api/v1/rejections')).data;
  await server.kill();
  const stored = filesUnder(join(place.folder, 'state'));
  assert.ok(stored.some((bytes) => bytes.includes(trace)), 'this is where it is');
  assert.ok(!stored.some((bytes) => bytes.includes(marker) || bytes.includes(Buffer.from(body).toString('base64'))));

  const vars = join(place.folder, '.dev.vars');
  writeFileSync(vars, readFileSync(vars, 'utf8').replace(settings.GITHUB_WEBHOOK_SECRET, SECRET));
  server = await startWrangler(place);
  const released = await server.api('POST', `/api/v1/rejections/${id}/release`, {});

  assert.equal(released.status, 202, String(released.bytes));
  assert.equal((await server.ok('GET', `/api/v1/events/${released.body.id}`)).type, 'github.ping');
});

const filesUnder = (folder) => readdirSync(folder, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => readFileSync(join(entry.parentPath, entry.name)));
