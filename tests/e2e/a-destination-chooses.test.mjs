// What a destination asks for, in the runtime: filters, its own data, an order, replays, and a program that follows.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Webhook } from 'standardwebhooks';
import { follow, idAt, signed } from '../../scripts/listen.mjs';
import { startFakeAgent } from '../support/fake-agent.mjs';
import { startHub } from '../support/hub.mjs';
import { deliver } from '../support/payloads.mjs';
import { until } from '../support/until.mjs';

const hub = await startHub();
after(() => hub.close());
const secret = hub.settings.GITHUB_WEBHOOK_SECRET;
const send = async (event, payload) => {
  const reply = await deliver(`${hub.url}/api/integration/github/events`, { secret, event, payload });
  assert.equal(reply.status, 202, String(reply.bytes));
  return reply.body.id;
};

async function destination(t, settings) {
  const agent = await startFakeAgent();
  t.after(() => agent.close());
  const made = await hub.ok('POST', '/api/v1/destinations', { name: 'd', url: agent.url, ...settings });
  t.after(() => hub.ok('DELETE', `/api/v1/destinations/${made.id}`));
  agent.secret = made.secret;
  return Object.assign(agent, { id: made.id });
}

test('a filter and a mapping decide what arrives', async (t) => {
  const agent = await destination(t, {
    event_types: ['github.filtered'],
    filter: { body: { n: { $gte: 2 } }, headers: { 'x-github-event': 'filtered' } },
    payload: { text: 'number {{ body.n }}' },
  });
  for (const n of [1, 2, 3]) await send('filtered', { n });

  await until('two messages', () => agent.deliveries.length === 2);
  assert.deepEqual(agent.deliveries.map(({ message }) => message.data.text).sort(), ['number 2', 'number 3']);
});

test('an order is kept though the first one fails', async (t) => {
  const agent = await destination(t, { event_types: ['github.ordered'], ordering: '{{ body.key }}', retry: { waits_s: [1, 1, 1] } });
  agent.fail({ answer: { status: 500 } });
  for (const n of [1, 2, 3, 4]) await send('ordered', { key: 'a', n });

  await until('four messages', () => agent.deliveries.length === 4, { seconds: 60 });
  assert.deepEqual(agent.deliveries.map(({ message }) => message.data.n), [1, 2, 3, 4]);
});

test('a replay is marked and signed anew', async (t) => {
  const agent = await destination(t, { event_types: ['github.replayed'] });
  const event = await send('replayed', {});
  await until('the message', () => agent.deliveries.length === 1);

  const job = await hub.ok('POST', '/api/v1/events/replay', { filter: { type: 'github.replayed' } });
  await until('it again', () => agent.deliveries.length === 2);

  const [first, again] = agent.deliveries;
  assert.equal(again.id, event);
  assert.equal(first.headers['webhook-replay'], undefined);
  assert.equal(again.headers['webhook-replay'], 'true');
  assert.equal(again.message.replay, true);
  await until('the job to end', async () => (await hub.ok('GET', `/api/v1/replays/${job.id}`)).status === 'done');
});

test('a program that follows gets what came before and what comes', async () => {
  const began = Date.now();
  const first = await send('followed', { n: 1 });
  const stop = new AbortController();
  const seen = [];
  const following = (async () => {
    for await (const event of follow(hub.url, hub.settings.PATCHBAY_ADMIN_TOKEN, idAt(began - 1_000), stop.signal)) {
      if (event.type === 'github.followed') seen.push(event);
      if (seen.length === 2) return;
    }
  })();
  await until('the first one', () => seen.length === 1);
  await sleep(100);
  const second = await send('followed', { n: 2 });
  await following;
  stop.abort();

  assert.deepEqual(seen.map(({ id }) => id), [first, second]);
  const key = `whsec_${randomBytes(32).toString('base64')}`;
  const { id, data } = seen[1];
  assert.deepEqual(new Webhook(key).verify(data, signed(key, id, data)).data, { n: 2 });
});

test('metrics and the audit log answer', async () => {
  const metrics = await hub.api('GET', '/metrics');
  assert.match(String(metrics.bytes), /^patchbay_waiting\{kind="event"\} \d+$/m);
  const audit = await hub.ok('GET', '/api/v1/audit?act=destination.created');
  assert.ok(audit.data.length >= 3);
  await hub.tick();
  assert.equal((await hub.ok('GET', '/api/v1/audit/verify')).valid, true);
});
