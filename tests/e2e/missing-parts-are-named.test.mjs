// A hub that lacks a setting or its database says so, and takes nothing that it could not keep or check.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { startHub } from '../support/hub.mjs';
import { deliver } from '../support/payloads.mjs';

const bare = await startHub({ GITHUB_WEBHOOK_SECRET: undefined, PATCHBAY_ADMIN_TOKEN: undefined });
after(() => bare.close());
const empty = await startHub({}, { migrated: false });
after(() => empty.close());

const events = (hub) => `${hub.url}/api/integration/github/events`;
const ping = { event: 'ping', payload: { zen: 'Speak like a human.' } };

test('without a webhook secret nothing is accepted, signed or not', async () => {
  for (const secret of ['guess', ' ', 'undefined']) {
    const reply = await deliver(events(bare), { ...ping, secret });
    assert.equal(reply.status, 503);
    assert.equal(reply.body.code, 'TEMPORARY_ERROR');
    assert.match(reply.body.detail, /GITHUB_WEBHOOK_SECRET/);
    assert.ok(Number(reply.headers['retry-after']) > 0);
  }
});

test('without an admin token the management API is closed, never open', async () => {
  for (const as of [undefined, 'undefined', 'anything']) {
    const reply = await bare.api('GET', '/api/v1/events', undefined, { as });
    assert.equal(reply.status, 503);
    assert.match(reply.body.detail, /PATCHBAY_ADMIN_TOKEN/);
  }
});

test('without its database it asks GitHub to come back', async () => {
  const reply = await deliver(events(empty), { ...ping, secret: empty.settings.GITHUB_WEBHOOK_SECRET });

  assert.equal(reply.status, 503);
  assert.equal(reply.body.code, 'TEMPORARY_ERROR');
  assert.ok(Number(reply.headers['retry-after']) > 0);
  assert.doesNotMatch(String(reply.bytes), /SQL|no such table/i);
});

test('a forged delivery is refused before the database is asked', async () => {
  assert.equal((await deliver(events(empty), { ...ping, secret: 'wrong' })).status, 401);
});

test('health is about the Worker, readiness about what it needs', async () => {
  const health = await empty.api('GET', '/healthz', undefined, { as: null });
  assert.equal(health.status, 200);
  assert.equal(health.body.status, 'ok');
  assert.match(health.body.version, /^\d+\.\d+\.\d+/);
  assert.equal((await empty.api('GET', '/readyz', undefined, { as: null })).status, 503);
  assert.equal((await bare.api('GET', '/readyz', undefined, { as: null })).status, 200);
});
