// Where the platform's rate limits are bound, a flood is refused for its own source and key, and for nobody else.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { startHub } from '../support/hub.mjs';
import { deliver } from '../support/payloads.mjs';
import { until } from '../support/until.mjs';

const LIMIT = 20;
// The window may turn once while a test runs: twice the limit can pass then, and never this many.
const FLOOD = 3 * LIMIT;

const hub = await startHub({}, { config: 'limited.toml' });
after(() => hub.close());

const events = `${hub.url}/api/integration/github/events`;
const ping = { event: 'ping', payload: { zen: 'Speak like a human.' } };

const flood = (ask) => Promise.all(Array.from({ length: FLOOD }, ask));
const header = ({ headers }, name) => (headers.get ? headers.get(name) : headers[name]);

function slowedDown(replies, otherwise) {
  const refused = replies.filter(({ status }) => status === 429);
  assert.ok(refused.length >= FLOOD - 2 * LIMIT, `${refused.length} of ${FLOOD} refused`);
  assert.equal(replies.filter(({ status }) => status === otherwise).length, FLOOD - refused.length);
  for (const reply of refused) {
    assert.equal(reply.body.code, 'RATE_LIMIT_EXCEEDED');
    const wait = Number(header(reply, 'retry-after'));
    assert.ok(wait > 0 && wait <= 60, `${wait} s`);
  }
}

test('forged deliveries are slowed down like any, and cost no other source its share', async () => {
  const secret = 'a secret of the connection';
  const config = { webhook_secret: secret };
  const { webhook_path: path } = await hub.ok('POST', '/api/v1/connections', { integration: 'github', config });

  slowedDown(await flood(() => deliver(events, { ...ping, secret: 'wrong' })), 401);

  assert.equal((await deliver(`${hub.url}${path}`, { ...ping, secret })).status, 202);
});

test('a delivery that was slowed down is taken when it comes again', async () => {
  const secret = 'another secret';
  const { webhook_path: path } = await hub.ok('POST', '/api/v1/connections', { integration: 'github', config: { webhook_secret: secret } });
  slowedDown(await flood(() => deliver(`${hub.url}${path}`, { ...ping, secret })), 202);
  const taken = async () => (await deliver(`${hub.url}${path}`, { ...ping, secret })).status === 202;

  await until('the delivery to be taken', taken);
});

test('a caller of the API who asks too often is told when to come back; another key goes on', async () => {
  const key = await hub.ok('POST', '/api/v1/keys', { name: 'busy', scopes: ['events:read'] });
  const other = await hub.ok('POST', '/api/v1/keys', { name: 'calm', scopes: ['events:read'] });
  const read = ({ token }) => hub.api('GET', '/api/v1/events', undefined, { as: token });
  const replies = await flood(() => read(key));

  slowedDown(replies, 200);
  const refused = replies.find(({ status }) => status === 429);
  assert.ok(header(refused, 'ratelimit-policy') ?? header(refused, 'ratelimit-limit'));
  assert.equal((await read(other)).status, 200);
});
